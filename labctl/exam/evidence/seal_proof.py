"""The sealed papers of a session to what is wrong with them, without the passphrase: they stay closed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from labctl.errors import Refused
from labctl.exam.audit import Act, Entry, Step
from labctl.exam.evidence.findings import Finding, Trouble
from labctl.exam.evidence.manifest import hash_file
from labctl.exam.seal import Parts
from labctl.exam.signing import is_signed

FOLDER = "sealed"


def prove_seal(top: Path, entries: tuple[Entry, ...]) -> Iterator[Finding]:
    """Yield what is wrong with the seal of a session: nothing where it was never sealed."""
    sealed = [entry for entry in entries if entry.act is Act.SEAL and entry.step is Step.DONE]
    if not sealed:
        return
    parts = Parts(top / FOLDER)
    try:
        content, signature, pem = (path.read_bytes() for path in (parts.manifest, parts.signature, parts.public))
    except OSError:
        missing = next(path for path in (parts.manifest, parts.signature, parts.public) if not path.is_file())
        yield Finding(Trouble.MISSING, name_of(missing))
        return
    if hashlib.sha256(content).hexdigest() != sealed[-1].facts.get("checksum"):
        yield Finding(Trouble.CHANGED, name_of(parts.manifest))
    if not signed(pem, content, signature):
        yield Finding(Trouble.SIGNATURE, name_of(parts.manifest))
    try:
        wanted = json.loads(content)["bundle"]["sha256"]
        if hash_file(parts.bundle).sha256 != wanted:
            yield Finding(Trouble.CHANGED, name_of(parts.bundle))
    except OSError:
        yield Finding(Trouble.MISSING, name_of(parts.bundle))
    except (ValueError, KeyError, TypeError):
        yield Finding(Trouble.CHANGED, name_of(parts.manifest))


def signed(pem: bytes, content: bytes, signature: bytes) -> bool:
    """Return whether the manifest has its signature."""
    try:
        return is_signed(pem, content, signature)
    except Refused:
        return False


def name_of(path: Path) -> str:
    """Return a file of the seal as seen from the session's folder."""
    return f"{FOLDER}/{path.name}"
