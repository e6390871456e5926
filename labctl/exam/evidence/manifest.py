"""The files of one candidate's evidence to a manifest: what they are, whose, from when, and the SHA-256 of each."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import JsonValue

MANIFEST, SIGNATURE, KEY, SUMS, README = "MANIFEST.json", "MANIFEST.sig", "KEY.pem", "SHA256SUMS", "README.txt"
OUTSIDE = frozenset({MANIFEST, SIGNATURE})  # what a manifest cannot list: itself and what signs it
KIND, VERSION = "labctl exam evidence", 1
LARGEST = 16 << 20  # bytes of a manifest; more is none of ours
HEX = frozenset("0123456789abcdef")


class NoManifest(ValueError):
    """A file is not a manifest of evidence."""


@dataclass(frozen=True)
class Listed:
    """One file as it was when it was collected."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was collected of one candidate.

    `entries` and `head` tell how far the audit log went. `facts` has the rest for people and programs: versions, the
    golden lab, what could not be had and why.
    """

    session: str
    candidate: str
    collected: str
    rehearsal: bool
    entries: int
    head: str
    files: Mapping[str, Listed]
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the bytes that are signed."""
        files = {path: {"bytes": one.bytes, "sha256": one.sha256} for path, one in sorted(self.files.items())}
        data = {
            "kind": KIND, "version": VERSION, "session": self.session, "candidate": self.candidate,
            "collected": self.collected, "rehearsal": self.rehearsal,
            "audit": {"entries": self.entries, "head": self.head}, "facts": dict(self.facts), "files": files,
        }  # fmt: skip
        return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()


def load_manifest(content: bytes) -> Manifest:
    """Return a manifest from its bytes. Raises NoManifest."""
    try:
        data = json.loads(content)
        if data["kind"] != KIND or data["version"] != VERSION:
            raise NoManifest(data["kind"])
        return Manifest(
            session=str(data["session"]), candidate=str(data["candidate"]), collected=str(data["collected"]),
            rehearsal=bool(data["rehearsal"]), entries=int(data["audit"]["entries"]), head=str(data["audit"]["head"]),
            files={check_path(path): load_listed(one) for path, one in data["files"].items()},
            facts=dict(data["facts"]),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as exc:
        raise NoManifest(str(exc)) from exc


def load_listed(data: Mapping[str, JsonValue]) -> Listed:
    """Return one file of a manifest. Raises NoManifest."""
    size, digest = data["bytes"], data["sha256"]
    if not isinstance(size, int) or not isinstance(digest, str) or len(digest) != 64 or set(digest) - HEX:  # noqa: PLR2004  of SHA-256
        raise NoManifest(str(data))
    return Listed(size, digest)


def check_path(path: str) -> str:
    """Return a path of a manifest. Raises NoManifest for one that would lead out of its folder."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or str(pure) != path or "\0" in path:
        raise NoManifest(path)
    return path


def hash_file(path: Path) -> Listed:
    """Return the size and SHA-256 of a file. A link is never followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return Listed(file.tell(), digest.hexdigest())


def find_names(folder: Path) -> Iterator[str]:
    """Yield all that is in a folder and is not a folder itself, as a path from there; links are not followed."""
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        with os.scandir(current) as found:
            for one in sorted(found, key=lambda entry: entry.name):
                if one.is_dir(follow_symlinks=False):
                    waiting.append(Path(one.path))
                else:
                    yield Path(one.path).relative_to(folder).as_posix()


def write_sums(files: Mapping[str, Listed]) -> str:
    """Return the lines by which `sha256sum --check` verifies the same without labctl."""
    return "".join(f"{one.sha256}  {path}\n" for path, one in sorted(files.items()))
