"""A qcow2 file and the files it stands on to bytes at an offset, read here and by no program that a disk could trick.

The format is QEMU's docs/interop/qcow2.txt. Only reading, and only what QEMU writes for machines of ours: which file
stands below is told by the caller and never by the file.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from labctl.errors import LabctlError
from labctl.images.overlay import MAGIC
from labctl.language import _

HEADER = struct.Struct(">4sIQIIQIIQ")  # up to the offset of the L1 table
INCOMPATIBLE = struct.Struct(">Q")
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
COMPRESSED, ZERO = 1 << 62, 1
DIRTY, COMPRESSION_TYPE = 1, 8  # incompatible features that change nothing for a reader
SMALLEST_CLUSTER, LARGEST_CLUSTER = 9, 21  # bits
LARGEST_L1 = 32 << 20  # bytes, as QEMU has it
TABLES_KEPT = 64  # L2 tables, of 64 KiB mostly


class DiskUnreadable(LabctlError):
    """A disk or file system is not of a kind that is read here, or it is damaged."""


class Blocks(Protocol):
    """Bytes that can be read at an offset; beyond the end there are zeros."""

    @property
    def size(self) -> int: ...  # noqa: D102  a Protocol's method is named after the consumer's need
    def read(self, offset: int, length: int) -> bytes: ...  # noqa: D102


class RawBlocks:
    """A file as it is."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes, zeros beyond the end."""
        return os.pread(self._file, length, offset).ljust(length, b"\0")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Qcow2Blocks:
    """What a guest sees of a qcow2 file that stands on `below`; None where it stands on nothing."""

    def __init__(self, path: Path, below: Blocks | None) -> None:
        self.path = path
        self._below = below
        self._file = RawBlocks(path)
        self._tables: dict[int, tuple[int, ...]] = {}
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        magic, version, _backing, _length, bits, size, crypt, entries, l1 = HEADER.unpack(
            self._file.read(0, HEADER.size)
        )
        features = INCOMPATIBLE.unpack(self._file.read(72, 8))[0] if version > 2 else 0  # noqa: PLR2004  its version
        kind = self._file.read(104, 1)[0] if features & COMPRESSION_TYPE else 0
        if magic != MAGIC or version not in {2, 3}:
            raise self._unreadable(_("it is not a qcow2 file"))
        if crypt or kind or features & ~(DIRTY | COMPRESSION_TYPE):
            raise self._unreadable(_("it uses what labctl's machines never use"))
        if not SMALLEST_CLUSTER <= bits <= LARGEST_CLUSTER or entries * 8 > LARGEST_L1:
            raise self._unreadable(_("its header makes no sense"))
        self.size = int(size)
        self._bits, self._cluster = bits, 1 << bits
        self._l1 = struct.unpack(f">{entries}Q", self._file.read(l1, entries * 8))

    def _unreadable(self, why: str) -> DiskUnreadable:
        text = _('the disk "{path}" cannot be read: {why}')
        return DiskUnreadable(text.format(path=self.path, why=why), hint=f"qemu-img check {self.path}")

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes as the guest sees them."""
        parts = []
        while length > 0:
            inside = offset % self._cluster
            count = min(length, self._cluster - inside)
            parts.append(self._read_cluster(offset >> self._bits, inside, count))
            offset, length = offset + count, length - count
        return b"".join(parts)

    def _read_cluster(self, number: int, inside: int, count: int) -> bytes:
        entry = self._entry(number)
        if entry & COMPRESSED:
            return self._decompress(entry)[inside : inside + count].ljust(count, b"\0")
        if entry & ZERO:
            return bytes(count)
        if position := entry & OFFSET_MASK:
            return self._file.read(position + inside, count)
        return self._below.read(number * self._cluster + inside, count) if self._below else bytes(count)

    def _entry(self, number: int) -> int:
        per_table = self._cluster // 8
        index = number // per_table
        position = self._l1[index] & OFFSET_MASK if index < len(self._l1) else 0
        if not position:
            return 0
        table = self._tables.get(position)
        if table is None:
            table = struct.unpack(f">{per_table}Q", self._file.read(position, self._cluster))
            if len(self._tables) >= TABLES_KEPT:
                self._tables.clear()
            self._tables[position] = table
        return int(table[number % per_table])

    def _decompress(self, entry: int) -> bytes:
        shift = 62 - (self._bits - 8)
        position = entry & ((1 << shift) - 1)
        sectors = (entry & (COMPRESSED - 1)) >> shift
        packed = self._file.read(position, (sectors + 1) * 512 - position % 512)
        try:
            return zlib.decompressobj(-12).decompress(packed, self._cluster)
        except zlib.error as exc:
            raise self._unreadable(str(exc)) from exc

    def close(self) -> None:
        """Close the file; what it stands on is its opener's."""
        self._file.close()


class Disk:
    """A chain of qcow2 files, the topmost first, as one disk. A context manager."""

    def __init__(self, chain: Sequence[Path]) -> None:
        self._open = ExitStack()
        below: Qcow2Blocks | None = None
        try:
            for path in reversed(chain):
                below = Qcow2Blocks(path, below)
                self._open.callback(below.close)
        except OSError as exc:
            self._open.close()
            text = _('the disk "{path}" cannot be read: {why}')
            raise DiskUnreadable(text.format(path=path, why=exc.strerror), hint=f"ls -l {path}") from exc
        except BaseException:
            self._open.close()
            raise
        if below is None:
            raise ValueError(chain)
        self._top = below
        self.size = below.size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes as the guest sees them."""
        return self._top.read(offset, length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
