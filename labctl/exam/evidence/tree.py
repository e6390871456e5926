"""The configuration on a machine's disk to a Tree: each file's rights and hash, with the text of those one can read.

It is read from the frozen disk by labctl itself (`images.ext4`): no mount, no program of the machine and no agent has a
say in it, so that a candidate who had root cannot make it tell something else.
"""

import hashlib
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from labctl.images.ext4 import Ext4, Inode, find_root
from labctl.images.qcow2 import Disk, DiskUnreadable
from labctl.language import _

CONFIGURATION = "/etc"  # always read, beside what the exam file names
MOST_TEXT = 256 << 10  # bytes of a file whose text is kept
LARGEST_FILE = 64 << 20  # bytes; a larger one is told by its size alone
LARGEST_TREE = 512 << 20  # bytes of all files that are read together
HISTORY, MOST_HOMES, LARGEST_HISTORY = b"/.bash_history", 100, 1 << 20


class EntryKind(StrEnum):
    """What stands in a file system under a name."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True)
class Entry:
    """What stands at a path. `mode` has the rights alone; `target` is a link's.

    `sha256` is empty for what is no file or was too large; `text` is None for what is no text, or too long.
    """

    path: str
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    size: int = 0
    sha256: str = ""
    target: str = ""
    text: str | None = field(default=None, repr=False)

    @property
    def facts(self) -> tuple[object, ...]:
        """Return what makes it the same as another one; a folder's own size says nothing."""
        size = self.size if self.kind is EntryKind.FILE else 0
        return self.kind, self.mode, self.uid, self.gid, size, self.sha256, self.target

    def to_dict(self) -> dict[str, JsonValue]:
        """Return it as JSON has it, without its text."""
        found: dict[str, JsonValue] = {
            "kind": str(self.kind), "mode": f"{self.mode:04o}", "uid": self.uid, "gid": self.gid, "size": self.size,
        }  # fmt: skip
        known = {"sha256": self.sha256, "target": self.target}
        return {**found, **{key: value for key, value in known.items() if value}}


@dataclass(frozen=True)
class Tree:
    """The entries below some paths of one disk, by path; `unread` says what could not be read, and why."""

    entries: Mapping[str, Entry]
    unread: tuple[str, ...] = ()


def read_tree(chain: Sequence[Path], paths: Sequence[str]) -> Tree:
    """Return what stands at /etc and below `paths` on a disk; `chain` has its files, the topmost first.

    A disk that cannot be read gives an empty tree that says why.
    """
    entries: dict[str, Entry] = {}
    unread: list[str] = []
    try:
        with Disk(chain) as disk:
            system, budget = find_root(disk), Budget(LARGEST_TREE)
            for path in dict.fromkeys((CONFIGURATION, *paths)):
                for entry in read_entries(system, path, budget, unread):
                    entries[entry.path] = entry
    except (DiskUnreadable, OSError) as exc:
        unread.append(str(exc))
    return Tree(entries, tuple(unread))


@dataclass
class Budget:
    """How many bytes may still be read."""

    left: int

    def take(self, count: int) -> bool:
        """Return whether so many may be read, and take them."""
        fits = count <= self.left
        self.left -= count if fits else 0
        return fits


def read_entries(system: Ext4, path: str, budget: Budget, unread: list[str]) -> Iterator[Entry]:
    """Yield what stands at and below one path; what cannot be read is noted, and ends this path alone."""
    try:
        for name, inode in system.walk(path.encode()):
            shown = name.decode("utf-8", "backslashreplace")
            try:
                yield read_entry(system, shown, inode, budget, unread)
            except DiskUnreadable as exc:
                unread.append(f"{shown}: {exc}")
    except DiskUnreadable as exc:
        unread.append(f"{path}: {exc}")


def read_entry(system: Ext4, path: str, inode: Inode, budget: Budget, unread: list[str]) -> Entry:
    """Return one entry. Raises DiskUnreadable."""
    rights = stat.S_IMODE(inode.mode), inode.uid, inode.gid
    if inode.is_folder:
        return Entry(path, EntryKind.FOLDER, *rights)
    if inode.is_link:
        return Entry(path, EntryKind.LINK, *rights, target=system.target(inode).decode("utf-8", "backslashreplace"))
    if not inode.is_file:
        return Entry(path, EntryKind.OTHER, *rights)
    if inode.size > LARGEST_FILE or not budget.take(inode.size):
        unread.append(_("{path}: {size} bytes are too many to be read").format(path=path, size=inode.size))
        return Entry(path, EntryKind.FILE, *rights, inode.size)
    digest, kept = hashlib.sha256(), bytearray()
    for part in system.read(inode, LARGEST_FILE):
        digest.update(part)
        kept += part[: max(0, MOST_TEXT + 1 - len(kept))]
    return Entry(path, EntryKind.FILE, *rights, inode.size, digest.hexdigest(), text=read_text(bytes(kept)))


def read_text(content: bytes) -> str | None:
    """Return the text of a file, None for what is no text or too long."""
    if len(content) > MOST_TEXT or b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def dump_tree(tree: Tree) -> JsonValue:
    """Return a tree as JSON, with its texts, so that it can be compared later."""
    entries: dict[str, JsonValue] = {
        path: {**entry.to_dict(), **({"text": entry.text} if entry.text is not None else {})}
        for path, entry in tree.entries.items()
    }
    return {"version": 1, "entries": entries, "unread": [*tree.unread]}


def load_tree(data: JsonValue) -> Tree:
    """Return a tree from its JSON. Raises ValueError, KeyError or TypeError where it is none."""
    if not isinstance(data, dict) or not isinstance(entries := data["entries"], dict):
        raise TypeError(data)
    unread = data["unread"]
    return Tree(
        {path: load_entry(path, one) for path, one in entries.items()},
        tuple(map(str, unread)) if isinstance(unread, list) else (),
    )


def load_entry(path: str, data: JsonValue) -> Entry:
    """Return one entry from its JSON."""
    if not isinstance(data, dict):
        raise TypeError(data)
    text = data.get("text")
    return Entry(
        path, EntryKind(str(data["kind"])), int(str(data["mode"]), 8), int(str(data["uid"])), int(str(data["gid"])),
        int(str(data["size"])), str(data.get("sha256", "")), str(data.get("target", "")),
        text if isinstance(text, str) else None,
    )  # fmt: skip


def read_histories(chain: Sequence[Path]) -> Mapping[str, bytes]:
    """Return what shells wrote down of the commands that were typed, by path. Raises DiskUnreadable.

    It is a claim: who has root can write anything there, and a shell that is still open has written nothing yet.
    """
    found: dict[str, bytes] = {}
    with Disk(chain) as disk:
        system = find_root(disk)
        homes = system.find(b"/home")
        names = sorted(name for name, _number in system.names(homes)) if homes and homes.is_folder else []
        for folder in (b"/root", *(b"/home/" + name for name in names[:MOST_HOMES])):
            inode = system.find(folder + HISTORY)
            if inode and inode.is_file:
                path = (folder + HISTORY).decode("utf-8", "backslashreplace")
                found[path] = b"".join(system.read(inode, LARGEST_HISTORY))
    return found
