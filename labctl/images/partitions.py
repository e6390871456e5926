"""A disk to the places where its file systems begin, from a partition table of either kind."""

import struct
from collections.abc import Iterator

from labctl.images.qcow2 import Blocks

SECTOR = 512
MBR_ENTRY = struct.Struct("<B3sB3sII")
PROTECTIVE = 0xEE
GPT_HEADER, GPT_MAGIC = struct.Struct("<8sIIIIQQQQ16sQII"), b"EFI PART"
MOST_ENTRIES, SMALLEST_ENTRY, LARGEST_ENTRY = 128, 128, 4096


def find_partitions(disk: Blocks) -> Iterator[int]:
    """Yield the byte offsets at which a file system may begin: of the whole disk, then of each partition in order."""
    yield 0
    first = disk.read(0, SECTOR)
    if first[510:] != b"\x55\xaa":
        return
    for number in range(4):
        _state, _head, kind, _end, start, length = MBR_ENTRY.unpack_from(first, 446 + number * MBR_ENTRY.size)
        if kind == PROTECTIVE:
            yield from find_gpt_partitions(disk)
            return
        if kind and length:
            yield start * SECTOR


def find_gpt_partitions(disk: Blocks) -> Iterator[int]:
    """Yield the byte offsets of the partitions of a GPT (UEFI 2.10, 5.3)."""
    header = GPT_HEADER.unpack(disk.read(SECTOR, GPT_HEADER.size))
    magic, table, count, size = header[0], header[10], header[11], header[12]
    if magic != GPT_MAGIC or not SMALLEST_ENTRY <= size <= LARGEST_ENTRY:
        return
    for number in range(min(count, MOST_ENTRIES)):
        entry = disk.read(table * SECTOR + number * size, SMALLEST_ENTRY)
        if any(entry[:16]):
            yield int(struct.unpack_from("<Q", entry, 32)[0]) * SECTOR
