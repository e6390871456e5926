"""An ext4 file system on a disk to its files, read without the kernel: the disk is whoever's who had root in a guest.

Nothing is mounted, no program parses it, and nothing in it is believed: sizes, depths and counts have limits, and what
is not as it should be raises DiskUnreadable. The format is that of Linux's Documentation/filesystems/ext4.
"""

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labctl.images.journal import MAGIC as JOURNAL_MAGIC
from labctl.images.journal import Journal, Replay
from labctl.images.partitions import find_partitions
from labctl.images.qcow2 import Blocks, DiskUnreadable
from labctl.language import _

SUPERBLOCK, MAGIC = 1024, 0xEF53
RECOVER, WIDE = 0x4, 0x80
# filetype, recover, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir
READABLE = 0x2 | RECOVER | 0x40 | WIDE | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000
EXTENTS, EXTENT_MAGIC, UNWRITTEN = 0x80000, 0xF30A, 32768
EXTENT_HEAD, EXTENT, EXTENT_INDEX = struct.Struct("<HHHHI"), struct.Struct("<IHHI"), struct.Struct("<IIHH")
ROOT, JOURNAL = 2, 8
FAST_LINK = 60  # bytes of a link's target that fit into the inode
DEEPEST_TREE, DEEPEST_FOLDER, LONGEST_LINK = 5, 64, 4096
MOST_RUNS, MOST_NAMES, LARGEST_FOLDER = 1 << 16, 1 << 18, 64 << 20


@dataclass(frozen=True)
class Inode:
    """What a file system knows of a file. `mode` is that of stat(2), `size` in bytes."""

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    flags: int
    body: bytes

    @property
    def is_folder(self) -> bool:
        """Return whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Return whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Return whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


def damaged(detail: str) -> DiskUnreadable:
    """Return the error for a file system whose parts contradict one another."""
    return DiskUnreadable(_("the file system is damaged: {detail}").format(detail=detail))


class Ext4:
    """A file system that begins at an offset of a disk, in the state in which its machine would start again."""

    def __init__(self, disk: Blocks, start: int = 0) -> None:
        self._disk, self._start = disk, start
        block = disk.read(start + SUPERBLOCK, 1024)

        def word(offset: int, form: str = "<I") -> int:
            return int(struct.unpack_from(form, block, offset)[0])

        if word(56, "<H") != MAGIC:
            raise DiskUnreadable(_("there is no ext4 file system"))
        features = word(96)
        if features & ~READABLE or word(24) > 6 or not word(40):  # noqa: PLR2004  64 KiB blocks
            raise DiskUnreadable(_("the file system uses what labctl does not read"))
        self.label = block[120:136].rstrip(b"\0").decode("utf-8", "replace")
        self._size = 1024 << word(24)
        self._inodes, self._per_group = word(0), word(40)
        self._inode_size = word(88, "<H") if word(76) else 128
        self._descriptor = max(32, word(254, "<H")) if features & WIDE else 32
        self._wide = bool(features & WIDE)
        self._first = word(20)
        self._replay = Replay()
        if features & RECOVER:
            self._recover()

    def _recover(self) -> None:
        journal = self.inode(JOURNAL)
        runs = list(self._runs(journal))
        self._journal = {
            logical + step: physical + step
            for logical, physical, count in runs
            for step in range(min(count, MOST_RUNS))
            if physical
        }

        def read(number: int) -> bytes:
            return self._raw(self._journal.get(number, 0))

        self._replay = Journal(read, self._size, len(self._journal)).replay()

    def _raw(self, number: int) -> bytes:
        return self._disk.read(self._start + number * self._size, self._size)

    def block(self, number: int) -> bytes:
        """Return a block of the file system, as the journal has it."""
        copy = self._replay.copies.get(number)
        if copy is None:
            return self._raw(number)
        position, escaped = copy
        data = self._raw(self._journal.get(position, 0))
        return JOURNAL_MAGIC.to_bytes(4, "big") + data[4:] if escaped else data

    def inode(self, number: int) -> Inode:
        """Return an inode. Raises DiskUnreadable for a number that there is not."""
        if not 0 < number <= self._inodes:
            raise damaged(f"inode {number}")
        group, index = divmod(number - 1, self._per_group)
        data = self._bytes((self._first + 1) * self._size + group * self._descriptor, self._descriptor)
        table = int.from_bytes(data[8:12], "little")
        if self._wide and len(data) >= 44:  # noqa: PLR2004  where the high half of the address ends
            table |= int.from_bytes(data[40:44], "little") << 32
        raw = self._bytes(table * self._size + index * self._inode_size, 128)
        mode, uid, low, gid = (*struct.unpack_from("<HHI", raw, 0), struct.unpack_from("<H", raw, 24)[0])
        flags, high = struct.unpack_from("<I", raw, 32)[0], struct.unpack_from("<I", raw, 108)[0]
        uid_high, gid_high = struct.unpack_from("<HH", raw, 120)
        size = high << 32 | low if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else low
        return Inode(number, mode, uid_high << 16 | uid, gid_high << 16 | gid, size, flags, raw[40:100])

    def _bytes(self, offset: int, length: int) -> bytes:
        """Return bytes of the file system by their offset; they may cross blocks."""
        first, last = offset // self._size, (offset + length - 1) // self._size
        data = b"".join(self.block(number) for number in range(first, last + 1))
        return data[offset % self._size :][:length]

    def _runs(self, inode: Inode) -> Iterator[tuple[int, int, int]]:
        """Yield the runs of a file: first block in the file, first block of the disk (0 for zeros), and how many."""
        if not inode.flags & EXTENTS:
            raise DiskUnreadable(_("the file system uses what labctl does not read"))
        for number, run in enumerate(self._leaves(inode.body, DEEPEST_TREE)):
            if number >= MOST_RUNS:
                raise damaged(f"inode {inode.number}")
            yield run

    def _leaves(self, node: bytes, depth_left: int) -> Iterator[tuple[int, int, int]]:
        magic, count, _most, depth, _generation = EXTENT_HEAD.unpack_from(node, 0)
        if magic != EXTENT_MAGIC or depth > depth_left or (count + 1) * 12 > len(node):
            raise damaged("extent")
        for number in range(1, count + 1):
            if depth:
                _logical, low, high, _unused = EXTENT_INDEX.unpack_from(node, number * 12)
                yield from self._leaves(self.block(high << 32 | low), depth - 1)
            else:
                logical, length, high, low = EXTENT.unpack_from(node, number * 12)
                written = length <= UNWRITTEN
                yield logical, (high << 32 | low) if written else 0, length if written else length - UNWRITTEN

    def read(self, inode: Inode, most: int) -> Iterator[bytes]:
        """Yield the content of a file or folder in parts, `most` bytes of it at the most; holes are zeros."""
        left, position = min(inode.size, most), 0  # position is in bytes
        for logical, physical, count in self._runs(inode):
            begin = logical * self._size
            if begin < position:
                raise damaged(f"inode {inode.number}")
            hole = min(left, begin - position)
            yield from zeros(hole)
            left, position = left - hole, begin
            for step in range(count):
                if left <= 0:
                    return
                part = (self.block(physical + step) if physical else bytes(self._size))[:left]
                yield part
                left, position = left - len(part), position + len(part)
        yield from zeros(left)

    def target(self, inode: Inode) -> bytes:
        """Return where a symbolic link leads; it is never followed."""
        if inode.size < FAST_LINK and not inode.flags & EXTENTS:
            return inode.body[: inode.size]
        return b"".join(self.read(inode, LONGEST_LINK))

    def names(self, folder: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the names in a folder, each with its inode's number; `.` and `..` are left out."""
        if folder.size > LARGEST_FOLDER:
            raise damaged(f"inode {folder.number}")
        pending = b""
        for part in self.read(folder, folder.size):
            pending += part
            while len(pending) >= self._size:
                yield from block_names(pending[: self._size])
                pending = pending[self._size :]

    def find(self, path: bytes) -> Inode | None:
        """Return what is at an absolute path, None where nothing is. A link on the way leads nowhere."""
        inode = self.inode(ROOT)
        for name in filter(None, path.split(b"/")):
            number = next((found for one, found in self.names(inode) if one == name), 0) if inode.is_folder else 0
            if not number:
                return None
            inode = self.inode(number)
        return inode

    def walk(self, path: bytes) -> Iterator[tuple[bytes, Inode]]:
        """Yield what is at and below a path, each with its own path; a folder comes before what is in it."""
        top = self.find(path)
        waiting = [(path.rstrip(b"/") or b"/", top, 0)] if top else []
        seen: set[int] = set()
        count = 0
        while waiting:
            name, inode, depth = waiting.pop()
            count += 1
            if count > MOST_NAMES or depth > DEEPEST_FOLDER or inode.number in seen:
                raise damaged(name.decode("utf-8", "replace"))
            yield name, inode
            if inode.is_folder:
                seen.add(inode.number)
                inside = [(name.rstrip(b"/") + b"/" + one, number) for one, number in self.names(inode)]
                waiting += [(one, self.inode(number), depth + 1) for one, number in sorted(inside, reverse=True)]


def block_names(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the names in one block of a folder; blocks of its index look like ones without names."""
    offset = 0
    while offset + 8 <= len(block):
        number, length, size, _kind = struct.unpack_from("<IHBB", block, offset)
        length = length or len(block)  # 65536 does not fit into two bytes
        if length < 8 or offset + length > len(block) or size > length - 8:  # noqa: PLR2004  an entry's head
            raise damaged("directory")
        name = block[offset + 8 : offset + 8 + size]
        if number and name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name:
            yield name, number
        offset += length


def zeros(count: int) -> Iterator[bytes]:
    """Yield zeros in parts."""
    while count > 0:
        yield bytes(min(count, 1 << 20))
        count -= 1 << 20


def find_root(disk: Blocks) -> Ext4:
    """Return the file system of a disk that has /etc, by which a root is known. Raises DiskUnreadable."""
    reason = DiskUnreadable(_("there is no ext4 file system"))
    for start in find_partitions(disk):
        try:
            found = Ext4(disk, start)
            if found.find(b"/etc"):
                return found
        except DiskUnreadable as exc:
            reason = exc if start else reason
    raise reason
