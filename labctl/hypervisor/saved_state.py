"""The head of a file that `virsh save` wrote to a SavedState and back, byte for byte.

Layout, all numbers little-endian and of 32 bits (libvirt, src/qemu/qemu_saveimage.h, since version 0.9.2)::

    16 bytes  magic: LibvirtQemudSave, or LibvirtQemudPart until the save is complete
     4        version: 2
     4        length of the data that follow the header
     4        1 if the machine ran when it was saved
     4        compression of the memory
     4        where the cookie begins in the data, 0 without one
    56        zeros
    data      domain XML, NUL [, cookie XML, NUL], zeros to the length: room for an XML that was edited
              then the memory, as QEMU's migration stream
"""

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Self

from labctl.errors import LabctlError
from labctl.language import _

MAGIC = b"LibvirtQemudSave"
MAGIC_PARTIAL = b"LibvirtQemudPart"
VERSION = 2
HEADER = struct.Struct("<16s5I56s")
LARGEST_DATA = 16 << 20  # bytes; libvirt writes the XML and 64 KiB, about 75 KiB for a machine of ours
RESERVED = bytes(56)


class StateNotUsable(LabctlError):
    """A saved state is whole, but this host cannot run it: another QEMU, processor or format than it was saved with."""


class StateDamaged(LabctlError):
    """A file is no saved state, or not all of one."""


class Compression(IntEnum):
    """How the memory is stored (virQEMUSaveFormat); SPARSE lies at fixed places of the file and cannot be streamed."""

    RAW = 0
    GZIP = 1
    BZIP2 = 2
    XZ = 3
    LZOP = 4
    ZSTD = 5
    SPARSE = 6


@dataclass(frozen=True)
class SavedState:
    """What stands before the memory. `payload_offset` is the byte at which the memory begins; `cookie` may be empty."""

    version: int
    was_running: bool
    compression: Compression
    xml: str
    cookie: str
    payload_offset: int

    def with_xml(self, xml: str, cookie: str | None = None) -> Self:
        """Return the state of another machine; the memory stays at its place if there is room, as there always was."""
        changed = replace(self, xml=xml, cookie=self.cookie if cookie is None else cookie)
        needed = HEADER.size + len(_document(changed.xml)) + len(_document(changed.cookie))
        return replace(changed, payload_offset=max(self.payload_offset, needed))


def load_saved_state(path: Path) -> SavedState:
    """Return the head of a file. Raises StateDamaged or StateNotUsable with the file's name."""
    try:
        with path.open("rb") as stream:
            return read_saved_state(stream, str(path))
    except OSError as exc:
        text = _('the saved state "{path}" cannot be read: {reason}')
        raise StateDamaged(text.format(path=path, reason=exc.strerror), hint=f"ls -l {path}") from exc


def read_saved_state(stream: BinaryIO, name: str = "") -> SavedState:
    """Read the head of a saved state and leave the stream where the memory begins; `name` is for messages.

    Raises StateDamaged for what is no complete saved state, StateNotUsable for a format that is not known here.
    """
    fields = HEADER.unpack(_read(stream, HEADER.size, name))
    magic, version, length, running, compression, cookie_at, reserved = fields
    _check_format(magic, version, reserved, name)
    if running not in (0, 1) or not 0 < length <= LARGEST_DATA or not (cookie_at == 0 or 1 < cookie_at < length):
        raise damaged(name, _("its header makes no sense"))
    if compression not in tuple(Compression):
        text = _('the saved state "{name}" is compressed in a way that is not known here ({number})')
        raise StateNotUsable(text.format(name=name, number=compression))
    data = _read(stream, length, name)
    xml, cookie = _split(data, cookie_at, name)
    return SavedState(version, bool(running), Compression(compression), xml, cookie, HEADER.size + length)


def write_header(state: SavedState) -> bytes:
    """Return the bytes that stand before the memory, `payload_offset` of them.

    Raises ValueError for texts that do not fit there or hold a NUL: `with_xml` makes room.
    """
    xml, cookie = _document(state.xml), _document(state.cookie)
    room = state.payload_offset - HEADER.size
    if len(xml) + len(cookie) > room:
        raise ValueError(state.payload_offset)
    numbers = (state.version, room, int(state.was_running), int(state.compression), len(xml) if cookie else 0)
    return HEADER.pack(MAGIC, *numbers, RESERVED) + (xml + cookie).ljust(room, b"\0")


def is_complete(path: Path) -> bool:
    """Tell whether a save into this file came to its end, by the magic that libvirt writes last."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def damaged(name: str, reason: str) -> StateDamaged:
    """Return the error for a file that is not what `virsh save` writes."""
    return StateDamaged(_('the saved state "{name}" is damaged: {reason}').format(name=name, reason=reason))


def _read(stream: BinaryIO, size: int, name: str) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise damaged(name, _("the file ends too early"))
    return data


def _check_format(magic: bytes, version: int, reserved: bytes, name: str) -> None:
    if magic == MAGIC_PARTIAL:
        raise damaged(name, _("it was never completed"))
    if magic != MAGIC:
        raise damaged(name, _("it is another kind of file"))
    if int.from_bytes(version.to_bytes(4, "little"), "big") == VERSION:
        text = _('the saved state "{name}" comes from a computer with another byte order')
        raise StateNotUsable(text.format(name=name))
    if version != VERSION or reserved != RESERVED:
        text = _('the saved state "{name}" has a format that is not known here (version {version})')
        raise StateNotUsable(text.format(name=name, version=version))


def _split(data: bytes, cookie_at: int, name: str) -> tuple[str, str]:
    """Return the two texts of the data; their ends and the padding must be as libvirt writes them."""
    xml, end, rest = data.partition(b"\0")
    cookie = b""
    if cookie_at:
        cookie, end, rest = rest.partition(b"\0")
    if not xml or not end or rest.strip(b"\0") or (cookie_at and (cookie_at != len(xml) + 1 or not cookie)):
        raise damaged(name, _("its header makes no sense"))
    try:
        return xml.decode(), cookie.decode()
    except UnicodeDecodeError as exc:
        raise damaged(name, _("its description is not text")) from exc


def _document(text: str) -> bytes:
    """Return a text as it stands in the file; nothing for no text."""
    if "\0" in text:
        raise ValueError(text)
    return text.encode() + b"\0" if text else b""
