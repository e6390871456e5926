"""Bytes to a signature by the key of a session, and back to whether they are still the same (Ed25519)."""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from labctl.errors import Refused
from labctl.language import _

KEY = "key.pem"  # in the session's folder, for root alone


def session_key(folder: Path) -> Ed25519PrivateKey:
    """Return the key of the session of a folder, made when it is first asked for. Raises Refused where it is spoilt."""
    path = folder / KEY
    if not path.exists():
        fresh = folder / f".{KEY}.{os.getpid()}"
        words = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(words)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            path.hardlink_to(fresh)  # another process may be faster: theirs is the key then
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as exc:
        raise spoilt(path) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise spoilt(path)
    return key


def spoilt(path: Path) -> Refused:
    """Return the error about a key that is none."""
    return Refused(_('"{path}" is no Ed25519 key: it was changed').format(path=path), hint=f"ls -l {path}")


def public_pem(folder: Path) -> bytes:
    """Return the public key of a session as PEM; it lies beside each manifest."""
    return session_key(folder).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(pem: bytes) -> str:
    """Return what a public key is called on the proctor's sheet: the first 32 digits of its SHA-256."""
    return hashlib.sha256(read_public(pem).public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


def sign(folder: Path, content: bytes) -> bytes:
    """Return the signature of bytes by the key of a session: 64 bytes."""
    return session_key(folder).sign(content)


def is_signed(pem: bytes, content: bytes, signature: bytes) -> bool:
    """Return whether a signature is that of these bytes by the owner of a public key. Raises Refused for no key."""
    try:
        read_public(pem).verify(signature, content)
    except InvalidSignature:
        return False
    return True


def read_public(pem: bytes) -> Ed25519PublicKey:
    """Return a public key. Raises Refused where it is none."""
    try:
        key = load_pem_public_key(pem)
    except ValueError as exc:
        raise Refused(_("the public key of the session cannot be read: it was changed")) from exc
    if not isinstance(key, Ed25519PublicKey):
        raise Refused(_("the public key of the session cannot be read: it was changed"))
    return key
