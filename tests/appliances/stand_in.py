"""A guest of one program that plays an appliance on a real serial line: it prints, listens, compares, goes on."""

from collections.abc import Sequence
from pathlib import Path

SECTORS = 32
# Reads 32 sectors to 8000h. They hold pairs of strings: what is printed, and the line that must be typed then ("*" for
# any); another line gets the same words again. An empty string at the end switches the machine off (ACPI, port 604h).
_PROGRAM = bytes.fromhex(
    "31c08ed88ec08ed0bc007cfcbe8c7cb442b280cd13be0080803c00744689f589eeac84c07405e84400ebf6bf00d0e84b003c"
    "0d7406aae83400ebf3c60500b00de82a00b00ae82500803c2a740f89f3bf00d0acae75c984c075f8ebbcac84c075fbebb5ba"
    "0406b80020eff4ebfd50bafd03eca82074fb58baf803eec3bafd03eca80174fbbaf803ecc38d740010002000008000000100"
    "000000000000"
)


def write_stand_in(path: Path, talk: Sequence[tuple[str, str]]) -> Path:
    """Write a raw disk of 1 MiB whose guest holds this talk on its serial port and switches itself off."""
    words = b"".join(said.encode() + b"\0" + typed.encode() + b"\0" for said, typed in talk) + b"\0"
    assert len(words) <= SECTORS * 512
    disk = _PROGRAM.ljust(510, b"\0") + b"\x55\xaa" + words
    path.write_bytes(disk.ljust(1 << 20, b"\0"))
    return path
