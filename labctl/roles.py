"""What the roles are, told by their files: one hash for each, so that a lab only follows the roles that it uses."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from posixpath import normpath
from typing import NamedTuple

GOOD_FOR = 1.0  # seconds for which what was seen of the roles holds
FOLDER = "roles/"

# How a role reads what is not its own: lookup('…', role_path ~ '/../OTHER/files/NAME').
BORROWED = re.compile(rb"role_path ~ '(/\.\./[^']+)'")


class Stamp(NamedTuple):
    """A file below a folder as a walk sees it: name from the folder on, path, and what changes with its content."""

    name: str
    path: str
    inode: int
    size: int
    modified: int


@dataclass
class WatchedRoles:
    """A folder of playbooks, whose roles every lab of a class asks for; its files are looked at once a second."""

    playbooks: Path
    _hashes: Mapping[str, str] = field(default_factory=dict)
    _until: float = 0.0

    def hashes(self) -> Mapping[str, str]:
        """Return the hash of each role as it was within the last second."""
        now = time.monotonic()
        if now >= self._until:
            self._hashes, self._until = role_hashes(self.playbooks), now + GOOD_FOR
        return self._hashes


def role_hashes(playbooks: Path) -> Mapping[str, str]:
    """Return for each role the SHA-256 of its files, by name and content, and of those that it reads elsewhere."""
    return hash_roles(tuple(sorted(stamp_files(str(playbooks), ""))))


def stamp_files(folder: str, below: str) -> Iterator[Stamp]:
    """Yield the files below a folder; `below` is what stands before their names."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from stamp_files(entry.path, f"{below}{entry.name}/")
            elif entry.is_file():  # an editor's lock is a link that leads nowhere
                found = entry.stat()
                yield Stamp(f"{below}{entry.name}", entry.path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=8)
def hash_roles(files: Sequence[Stamp]) -> Mapping[str, str]:
    """Return the hash of each role; its files are read once, and again when a stamp is another one."""
    texts = {file.name: Path(file.path).read_bytes() for file in files}
    roles = {name.split("/")[1] for name in texts if name.startswith(FOLDER) and name.count("/") > 1}
    hashes: dict[str, str] = {}
    for role in roles:
        own = {name for name in texts if name.startswith(f"{FOLDER}{role}/")}
        borrowed = {
            normpath(f"{FOLDER}{role}{found.decode()}") for name in own for found in BORROWED.findall(texts[name])
        }
        total = sha256()
        for name in sorted(own | (borrowed & texts.keys())):
            total.update(name.encode() + b"\0" + sha256(texts[name]).digest())
        hashes[role] = total.hexdigest()
    return hashes
