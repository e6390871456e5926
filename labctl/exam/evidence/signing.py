"""A session's own key to signatures by which anybody can tell its evidence, with openssl as well as with labctl."""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from labctl.errors import LabctlError
from labctl.lab.keys import write_secret
from labctl.language import _

PRIVATE = "evidence.key"  # in the session's folder, for root alone; it is never copied with the evidence


def ensure_key(folder: Path) -> Ed25519PrivateKey:
    """Return the key that signs a session's evidence, made at first use."""
    path = folder / PRIVATE
    if not path.exists():
        fresh = path.with_name(f".{PRIVATE}.{os.getpid()}")
        key = Ed25519PrivateKey.generate()
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        write_secret(fresh, pem)
        try:
            path.hardlink_to(fresh)  # somebody else may be faster: theirs is the key then
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, UnsupportedAlgorithm) as exc:
        text = _('the key "{path}" cannot be read')
        raise LabctlError(text.format(path=path), hint=f"ls -l {path}") from exc
    if not isinstance(found, Ed25519PrivateKey):
        raise LabctlError(_('the key "{path}" cannot be read').format(path=path), hint=f"ls -l {path}")
    return found


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """Return the public half as PEM."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_public(pem: bytes) -> Ed25519PublicKey:
    """Return a public key. Raises ValueError for what is none."""
    try:
        found = serialization.load_pem_public_key(pem)
    except UnsupportedAlgorithm as exc:
        raise ValueError(pem) from exc
    if not isinstance(found, Ed25519PublicKey):
        raise ValueError(pem)  # noqa: TRY004  it is a value of a file
    return found


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a key in groups that people compare: it stands on the proctor's sheet."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    text = digest.finalize().hex()
    return " ".join(text[at : at + 4] for at in range(0, 32, 4))


def is_signed(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Return whether a signature is of this key and this content."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
