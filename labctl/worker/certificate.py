"""A certificate for the portal: the school's own, looked at before it is used, or one of ours for this host's names."""

import ipaddress
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labctl.errors import LabctlError, Refused
from labctl.lab.keys import write_secret
from labctl.language import _

LASTS = 397  # days; browsers refuse longer ones
RENEW = 30  # days before the end
FOLDER = "portal/tls"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key as files. `names` are those that it is for; `own` is the school's, not ours."""

    chain: Path
    key: Path
    names: tuple[str, ...]
    fingerprint: str
    ends: datetime
    own: bool


def host_names() -> tuple[str, ...]:
    """Return the names and addresses that this host may be reached by, without asking any server."""
    name = socket.gethostname()
    addresses = [
        str(ipaddress.ip_address(one.address.partition("%")[0]))
        for found in psutil.net_if_addrs().values()
        for one in found
        if one.family in {socket.AF_INET, socket.AF_INET6}
    ]
    reached = [one for one in addresses if not ipaddress.ip_address(one).is_link_local]
    return tuple(dict.fromkeys(["localhost", name, name.partition(".")[0], "127.0.0.1", "::1", *sorted(reached)]))


def ensure_certificate(home: Path, names: tuple[str, ...]) -> Certificate:
    """Return our certificate, a new one where there is none for these names or it ends soon."""
    folder = home / FOLDER
    chain, key = folder / "certificate.pem", folder / "key.pem"
    try:
        found = read_certificate(chain, key, own=False)
    except LabctlError:
        found = None
    soon = datetime.now(UTC) + timedelta(days=RENEW)
    if found is None or found.ends < soon or not {*names} <= {*found.names}:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        write_certificate(chain, key, names)
        found = read_certificate(chain, key, own=False)
    return found


def write_certificate(chain: Path, key: Path, names: tuple[str, ...]) -> None:
    """Write a new key, and a certificate that it signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "labctl")])
    start = datetime.now(UTC) - timedelta(hours=1)  # a student's clock may be late
    alternative = x509.SubjectAlternativeName([general_name(name) for name in names])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=LASTS))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    write_secret(key, pem)
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def general_name(name: str) -> x509.GeneralName:
    """Return a name or an address as certificates have them."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def read_certificate(chain: Path, key: Path, *, own: bool = True) -> Certificate:
    """Return a certificate whose key fits and that has not ended. Raises LabctlError, Refused."""
    try:
        found = x509.load_pem_x509_certificate(chain.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        text = _('the certificate "{chain}" or its key "{key}" cannot be read: {error}')
        raise LabctlError(text.format(chain=chain, key=key, error=exc), hint=f"openssl x509 -in {chain}") from exc
    raw = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*raw) != found.public_key().public_bytes(*raw):
        raise Refused(_('the key "{key}" is not that of "{chain}"').format(key=key, chain=chain))
    if found.not_valid_after_utc < datetime.now(UTC):
        text = _('the certificate "{chain}" has ended on {day}')
        raise Refused(text.format(chain=chain, day=found.not_valid_after_utc.date()))
    mark = found.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(chain, key, names_of(found), mark, found.not_valid_after_utc, own)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress)))


def lend_to(certificate: Certificate, home: Path, user: int, group: int) -> Certificate:
    """Return a certificate whose files the web process can read: copies for its user alone."""
    folder = home / FOLDER
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    chain, key = folder / "web-certificate.pem", folder / "web-key.pem"
    key.unlink(missing_ok=True)
    write_secret(key, certificate.key.read_bytes())
    chain.write_bytes(certificate.chain.read_bytes())
    chain.chmod(0o644)
    os.chown(key, user, group)
    return Certificate(chain, key, certificate.names, certificate.fingerprint, certificate.ends, certificate.own)
