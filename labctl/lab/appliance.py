"""What labctl does with machines that have neither its guest agent nor Ansible: firewalls and imported images."""

import datetime
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from labctl.appliances.api import OPNsense
from labctl.appliances.web import connect, wait_for
from labctl.lab.keys import ensure_file, ensure_tunnel_keys, tunnel_key_paths
from labctl.plan.model import Folders, PlannedNode
from labctl.render import opnsense, pfsense
from labctl.render.firewall import Credentials, GatewaySecrets
from labctl.render.medium import render_medium
from labctl.topology.hardware import System

WITHOUT_AGENT = frozenset({System.OPNSENSE, System.PFSENSE, System.IMPORT})
RENDERERS = {System.OPNSENSE: opnsense.render_config, System.PFSENSE: pfsense.render_config}
SECRET_BYTES = 30  # 40 characters: bcrypt reads 72
DAYS = 3650  # as long as the lab's own authority


@dataclass(frozen=True)
class Secrets:
    """What labctl keeps of one firewall: the password of its console, its API's key, its web server's certificate.

    Hashes are kept, for each has a salt of its own: the same configuration must be the same bytes, or a firewall would
    read it again at its next start and forget what students changed.
    """

    password: str
    password_hash: str
    api_key: str
    api_secret: str
    api_secret_hash: str
    certificate: str
    private_key: str


def has_agent(node: PlannedNode) -> bool:
    """Return whether a node answers the guest agent and is configured by Ansible."""
    return node.system not in WITHOUT_AGENT


def ensure_secrets(folders: Folders, node: PlannedNode) -> Secrets:
    """Return the secrets of a firewall, made where it has none."""
    folders.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folders.secrets / f"{node.member}.appliance"
    ensure_file(path, lambda: json.dumps(make_secrets(node.member)).encode())
    return Secrets(**json.loads(path.read_text(encoding="utf-8")))


def make_secrets(name: str) -> dict[str, str]:
    """Return new secrets."""
    certificate, private_key = make_certificate(name)
    password, secret = secrets.token_urlsafe(12), secrets.token_urlsafe(SECRET_BYTES)
    return {
        "password": password, "password_hash": hash_secret(password),
        "api_key": secrets.token_urlsafe(SECRET_BYTES), "api_secret": secret, "api_secret_hash": hash_secret(secret),
        "certificate": certificate, "private_key": private_key,
    }  # fmt: skip


def make_certificate(name: str) -> tuple[str, str]:
    """Return a certificate that a web server signed itself, and its key, as PEM texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)  # guests' clocks may be behind
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def appliance_identity(folders: Folders, node: PlannedNode) -> bytes:
    """Return the medium that a firewall reads its configuration from; nothing for an imported image."""
    if node.system not in RENDERERS:
        return b""
    kept = ensure_secrets(folders, node)
    credentials = Credentials(
        kept.password_hash, kept.api_key, kept.api_secret_hash, kept.certificate, kept.private_key,
        gateway_secrets(folders, node),
    )  # fmt: skip
    return render_medium({"config.xml": RENDERERS[node.system](node, credentials)})


def gateway_secrets(folders: Folders, node: PlannedNode) -> GatewaySecrets:
    """Return what a firewall shares with the other routers of its lab, made where there is none."""
    vpn: Mapping[str, Any] = node.services.get("vpn_gateway", {})
    ends = [node.member, *(peer["node"] for peer in vpn["peers"])] if vpn else []
    ensure_tunnel_keys(folders, ends)
    paths = {end: tunnel_key_paths(folders, end) for end in ends}
    texts = {end: tuple(path.read_text(encoding="ascii").strip() for path in pair) for end, pair in paths.items()}
    password = folders.secrets / "virtual_address.password"
    ensure_file(password, lambda: secrets.token_hex(9).encode())  # CARP takes 20 characters
    return GatewaySecrets(
        private_key=texts[node.member][0] if vpn else "",
        public_keys={end: public for end, (_private, public) in texts.items()},
        password=password.read_text(encoding="ascii"),
    )


def hash_secret(secret: str) -> str:
    """Return a secret as PHP's password_verify() takes it."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(10)).decode()


def wait_appliance(folders: Folders, node: PlannedNode, deadline: float) -> None:
    """Return once a firewall answers on labctl's own link; an imported image has nothing to be asked.

    OPNsense is asked by its API; pfSense has none, and shows its certificate once it has read its configuration.

    Raises DeadlineMissed after `deadline` seconds.
    """
    if node.system is System.OPNSENSE:
        firewall_api(folders, node).wait_ready(deadline)
    elif node.system is System.PFSENSE:
        certificate = ensure_secrets(folders, node).certificate
        wait_for(lambda: connect(node.address, certificate).close(), deadline)


def firewall_api(folders: Folders, node: PlannedNode) -> OPNsense:
    """Return the API of a lab's firewall, which answers on labctl's own link."""
    kept = ensure_secrets(folders, node)
    return OPNsense(node.address, kept.api_key, kept.api_secret, kept.certificate)
