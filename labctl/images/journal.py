"""The journal of an ext4 file system to the blocks that the kernel would put in their place at the next mount.

Without it, a machine that was stopped while it wrote would show an older state than the one that it restarts in. The
format is that of Linux's fs/jbd2, as fs/jbd2/recovery.c reads it; every number in it may be a lie.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MAGIC = 0xC03B3998
HEAD = struct.Struct(">III")  # magic, kind, sequence
SUPERBLOCK = struct.Struct(">IIIIIIIIIIII")  # head, block size, blocks, first, sequence, start, error, features
DESCRIPTOR, COMMIT, REVOKE = 1, 2, 5
SUPERBLOCKS = frozenset({3, 4})
WIDE, CHECKSUM_2, CHECKSUM_3 = 0x2, 0x8, 0x10  # incompatible features
ESCAPED, SAME_ID, LAST = 1, 2, 8  # flags of a tag
MOST_BLOCKS = 1 << 20  # of a journal: 4 GiB, more than mke2fs makes


@dataclass(frozen=True)
class Replay:
    """Where the newest copy of each block is: `copies` maps a block to (a block of the journal, whether escaped)."""

    copies: dict[int, tuple[int, bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class Journal:
    """A journal by its own blocks: `read` gives the bytes of one by its number in the journal."""

    read: Callable[[int], bytes]
    size: int  # of a block, in bytes
    count: int

    def replay(self) -> Replay:
        """Return what is committed and perhaps not yet in its place; nothing where the journal is empty or no journal.

        A transaction without its commit never was.
        """
        found = SUPERBLOCK.unpack(self.read(0)[: SUPERBLOCK.size])
        magic, kind, _own, size, blocks, first, sequence, start, _error, _compatible, features, _read_only = found
        blocks = min(blocks, self.count, MOST_BLOCKS)
        if magic != MAGIC or kind not in SUPERBLOCKS or size != self.size or not 0 < first <= start < blocks:
            return Replay()
        copies: dict[int, tuple[int, bool]] = {}
        logged: list[tuple[int, int, int, bool]] = []  # sequence, block, its copy, escaped
        revoked: dict[int, int] = {}
        for number, tags, gone in self._transactions(start, first, blocks, sequence, features):
            logged += [(number, *tag) for tag in tags]
            revoked.update(dict.fromkeys(gone, number))
        for number, block, copy, escaped in logged:
            if revoked.get(block, -1) < number:
                copies[block] = (copy, escaped)
        return Replay(copies)

    def _transactions(
        self, start: int, first: int, blocks: int, sequence: int, features: int
    ) -> Iterator[tuple[int, list[tuple[int, int, bool]], list[int]]]:
        """Yield each committed transaction: its number, its tags with the copies, and the blocks that it revokes."""
        position, seen = start, 0
        tags: list[tuple[int, int, bool]] = []
        gone: list[int] = []

        def after(step: int) -> int:
            return first + (position - first + step) % (blocks - first)

        while seen < blocks:
            data = self.read(position)
            magic, kind, own = HEAD.unpack(data[: HEAD.size])
            if magic != MAGIC or own != sequence:
                return
            step = 1
            if kind == DESCRIPTOR:
                for block, escaped in read_tags(data, features):
                    tags.append((block, after(step), escaped))
                    step += 1
            elif kind == REVOKE:
                gone += read_revoked(data, features)
            elif kind == COMMIT:
                yield sequence, tags, gone
                tags, gone = [], []
                sequence = (sequence + 1) & 0xFFFF_FFFF
            else:
                return
            position = after(step)
            seen += step


def read_tags(data: bytes, features: int) -> Iterator[tuple[int, bool]]:
    """Yield the blocks that follow a descriptor, and whether the first bytes of each had to be escaped."""
    third = bool(features & CHECKSUM_3)
    size = 16 if third else 8 + (4 if features & WIDE else 0) + (2 if features & CHECKSUM_2 else 0)
    end = len(data) - (4 if features & (CHECKSUM_2 | CHECKSUM_3) else 0)
    offset = HEAD.size
    while offset + size <= end:
        low = int.from_bytes(data[offset : offset + 4], "big")
        flags = int.from_bytes(data[offset + 4 : offset + 8] if third else data[offset + 6 : offset + 8], "big")
        high = int.from_bytes(data[offset + 8 : offset + 12], "big") if features & WIDE else 0
        yield high << 32 | low, bool(flags & ESCAPED)
        if flags & LAST:
            return
        offset += size + (0 if flags & SAME_ID else 16)


def read_revoked(data: bytes, features: int) -> list[int]:
    """Return the blocks that a revocation names: older copies of them must not be put in their place."""
    size = 8 if features & WIDE else 4
    end = min(int.from_bytes(data[12:16], "big"), len(data))
    return [int.from_bytes(data[at : at + size], "big") for at in range(16, end - size + 1, size)]
