"""Makes a lab's secrets, once: its login key, its nodes' host keys, its known_hosts and its certificate authority.

All of it lies in the lab's `secrets` folder (0700, files 0600) and dies with the lab.
"""

import base64
import datetime
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.x509.oid import NameOID

from labctl.plan.model import Folders, PlannedNode
from labctl.plan.names import MANAGEMENT, MANAGEMENT_PORT
from labctl.render.identity import Keys
from labctl.render.inventory import Access
from labctl.ssh import Login

CA_DAYS = 3650  # a lab lives for weeks; a school keeps its golden labs for years


def access(folders: Folders) -> Access:
    """Return where the lab's keys are."""
    secrets = folders.secrets
    return Access(secrets / "login_ed25519", secrets / "known_hosts", secrets / "ca.pem", secrets / "ca.key")


def login(folders: Folders, node: PlannedNode) -> Login:
    """Return how to log in to a node."""
    keys = access(folders)
    return Login(node.member, node.address, keys.key, keys.known_hosts, node.system)


def ensure_keys(folders: Folders, lab: str, nodes: Sequence[PlannedNode]) -> dict[str, Keys]:
    """Make what is missing of the lab's secrets and return each node's keys."""
    folders.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = access(folders)
    pairs = {
        node.member: [folders.secrets / f"{kind}_{node.member}_ed25519" for kind in ("host", MANAGEMENT)]
        for node in nodes
    }
    wanted = [paths.key, *(path for pair in pairs.values() for path in pair)]
    write_secrets({path: generate_key() for path in wanted if not path.exists()})
    authorized = read_public(paths.key, f"labctl@{lab}")
    ensure_authority(paths, lab)
    keys, lines = {}, []
    for node in nodes:
        host, management = pairs[node.member]
        public, pinned = (read_public(path, f"root@{node.member}") for path in (host, management))
        private = (path.read_text(encoding="ascii") for path in (host, management))
        keys[node.member] = Keys(next(private), public, next(private), authorized)
        lines.append(f"[{node.address}]:{MANAGEMENT_PORT} {' '.join(pinned.split()[:2])}\n")
    write_secret(paths.known_hosts, "".join(lines).encode(), lasting=False)
    ensure_tunnel_keys(folders, [node.member for node in nodes if "vpn_gateway" in node.services])
    return keys


def copy_inherited(source: Path, target: Path) -> None:
    """Copy what a clone shares with its golden lab into another secrets folder.

    Its machines hold certificates of the golden lab's authority, and accounts whose passwords come from the secret of
    its directory: the clone's are the same. And labctl's own SSH servers run on with the keys that they have in memory:
    a server's start costs as much as a login, and who holds one machine of a lab reaches no other lab's link.
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = ("ca.*", "*.password", "*.appliance", "wireguard_*", f"{MANAGEMENT}_*")
    issued = list(source.glob("issued-*"))
    inherited = [*(path for pattern in kept for path in source.glob(pattern)), *issued]
    write_secrets({target / path.name: path.read_bytes() for path in inherited})
    for path in issued:
        (target / path.name).chmod(0o644)  # as the role leaves them: a second run of it must change nothing


def ensure_password(folders: Folders, node: str) -> str:
    """Return the password of a Windows node's Administrator, drawn once for each lab and machine."""
    path = folders.secrets / f"administrator_{node}"
    folders.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    ensure_file(path, lambda: draw_password().encode())
    return path.read_text(encoding="ascii")


def draw_password() -> str:
    """Return a password that Windows takes and that people can copy from paper: 59 bits, four kinds of characters."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another one
    groups = ["".join(secrets.choice(letters) for _letter in range(4)) for _group in range(3)]
    return f"L{'-'.join(groups)}7"


def ensure_tunnel_keys(folders: Folders, members: Iterable[str]) -> None:
    """Draw the WireGuard keys of gateways, once: the role and the firewalls' configurations read them here."""
    for member in members:
        private, public = tunnel_key_paths(folders, member)
        ensure_file(private, generate_tunnel_key)
        ensure_file(public, partial(derive_tunnel_key, private))


def tunnel_key_paths(folders: Folders, member: str) -> tuple[Path, Path]:
    """Return where the private and the public key of a gateway are, as wg(8) writes them."""
    return folders.secrets / f"wireguard_{member}", folders.secrets / f"wireguard_{member}.pub"


def generate_tunnel_key() -> bytes:
    """Return a new X25519 private key in base64."""
    raw = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return base64.b64encode(raw) + b"\n"


def derive_tunnel_key(private: Path) -> bytes:
    """Return the public key in base64 of the private one at a path."""
    key = x25519.X25519PrivateKey.from_private_bytes(base64.b64decode(private.read_bytes()))
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw) + b"\n"


def generate_key() -> bytes:
    """Return a new Ed25519 key in OpenSSH's format."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def read_public(path: Path, comment: str) -> str:
    """Return the public line of the key at `path` (OpenSSH formats)."""
    private = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.decode()} {comment}\n"


def ensure_authority(paths: Access, lab: str) -> None:
    """Make the lab's certificate authority (P-256, self-signed) if it does not exist."""

    def generate() -> bytes:
        return ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    ensure_file(paths.ca_key, generate)
    ensure_file(paths.ca_certificate, lambda: self_signed(paths.ca_key.read_bytes(), lab))


def self_signed(key: bytes, lab: str) -> bytes:
    """Return the authority's certificate in PEM, extensions as RFC 5280, 4.2.1 asks of a CA."""
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(type(private))
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "labctl"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"{lab} CA"[:64]),
    ])  # fmt: skip
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)  # guests' clocks may be behind
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def ensure_file(path: Path, generate: Callable[[], bytes]) -> None:
    """Write a secret if it does not exist."""
    if not path.exists():
        write_secret(path, generate())


def write_secret(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file for its owner alone; it is whole or absent, a crash leaves no half key.

    What is not `lasting` may be lost in a power cut: it is written anew before anything needs it.
    """
    write_secrets({path: content}, lasting=lasting)


def write_secrets(files: Mapping[Path, bytes], *, lasting: bool = True) -> None:
    """Write files as `write_secret` does. Together: the first fsync(2) commits the journal for all of them."""
    with ExitStack() as stack:
        streams = [stack.enter_context(open_for_owner(temporary(path))) for path in files]
        for stream, content in zip(streams, files.values(), strict=True):
            stream.write(content)
            stream.flush()
        for stream in streams if lasting else ():
            os.fsync(stream.fileno())
    for path in files:
        temporary(path).rename(path)


def temporary(path: Path) -> Path:
    """Return where a file is written before it has its name."""
    return path.with_name(f".{path.name}.new")


def open_for_owner(path: Path) -> BinaryIO:
    """Open a new file that its owner alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
