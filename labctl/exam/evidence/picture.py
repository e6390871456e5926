"""The picture of a screen, as QEMU gives it (PPM), to a PNG of our own: what a machine drew is written anew.

A picture that a program of a guest could have shaped is never passed on as it came: only its points are taken over.
"""

import re
import struct
import zlib

from labctl.errors import LabctlError
from labctl.language import _

HEAD = re.compile(rb"P6\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s+(\d{1,5})\s+255\s", re.DOTALL)
MOST_POINTS = 7680 * 4320
SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR = 2  # red, green, blue of 8 bits each


def make_png(picture: bytes) -> bytes:
    """Return the PNG of a PPM. Raises LabctlError for what is none."""
    found = HEAD.match(picture)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not found or not 0 < width * height <= MOST_POINTS or len(picture) - found.end() < width * height * 3:
        raise LabctlError(_("the hypervisor gave a picture of the screen that is none"))
    start, line = found.end(), width * 3
    rows = b"".join(b"\0" + picture[start + row * line : start + (row + 1) * line] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, COLOUR, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(kind, data) for kind, data in parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
