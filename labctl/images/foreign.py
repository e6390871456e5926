"""A disk image of somebody else to what is known of it before any program opens it: format and virtual size.

Formats: QEMU's docs/interop/qcow2.txt, VMware's "Virtual Disk Format 5.0", DMTF DSP0243 (OVF and OVA).
"""

import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from oslo_utils.imageutils import format_inspector

from labctl.errors import InvalidFile, LabctlError, Refused
from labctl.language import _

SECTOR = 512
LARGEST = 2 << 40  # bytes that a disk may show its guest: the largest that a node may have
KINDS = {"qcow2": "qcow2", "vmdk": "vmdk", "raw": "raw", "gpt": "raw"}  # what is inspected to QEMU's name
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
FIRST = 4096
HINT = "qemu-img convert -O qcow2 FILE NEW.qcow2"

logging.getLogger("oslo_utils").addHandler(logging.NullHandler())  # what it says comes as exceptions too


@dataclass(frozen=True)
class ForeignDisk:
    """A disk that passed inspection. `format` is "qcow2", "vmdk" or "raw"; `size` what its guest sees, in bytes."""

    path: Path
    format: str
    size: int


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar, as an OVA is."""
    return read_start(path)[TAR_MAGIC_AT:].startswith(TAR_MAGIC)


def inspect_disk(path: Path) -> ForeignDisk:
    """Return what a disk image is, from its own bytes and not from its name.

    Raises InvalidFile for one that is no disk image or broken, Refused for one that leads to other files or is too
    large.
    """
    start = read_start(path)
    if not start.strip(b"\0"):
        raise invalid(path, _("it is empty"))
    found = detect(path)
    if found is None or found.NAME not in KINDS:
        name = found.NAME if found else _("unknown")
        raise invalid(path, _("its format ({format}) is not qcow2, vmdk, ova or raw").format(format=name))
    kind = KINDS[found.NAME]
    if kind == "raw":
        check_raw(path, start)  # whatever its partition table says concerns its guest alone
    else:
        check_safety(path, found)
    size = path.stat().st_size if kind == "raw" else found.virtual_size
    check_size(path, size)
    return ForeignDisk(path, kind, size)


def read_start(path: Path) -> bytes:
    """Return the first bytes of a regular file. Raises InvalidFile."""
    try:
        if not path.is_file():
            raise invalid(path, _("it is not a file") if path.exists() else _("there is no such file"))
        with path.open("rb") as file:
            return file.read(FIRST)
    except OSError as exc:
        raise invalid(path, os.strerror(exc.errno or 0)) from exc


def detect(path: Path) -> format_inspector.FileInspector | None:
    """Return the inspector that knows the file. Raises InvalidFile where two do, or where one stumbles."""
    try:
        return format_inspector.detect_file_format(str(path))
    except format_inspector.ImageFormatError as exc:
        raise invalid(path, _("it is of several formats at once, or broken ({reason})").format(reason=exc)) from exc
    except (ValueError, KeyError, IndexError, struct.error) as exc:
        raise invalid(path, _("its header is broken")) from exc


def check_safety(path: Path, found: format_inspector.FileInspector) -> None:
    """Raise Refused for a disk that would make QEMU open other files of the host, InvalidFile for a broken one."""
    try:
        found.safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        if exc.failures.keys() & {"backing_file", "data_file"}:
            raise leads_elsewhere(path) from exc
        reasons = "; ".join(str(reason) for reason in exc.failures.values())
        raise Refused(_('the file "{path}" is refused: {reason}').format(path=path, reason=reasons), hint=HINT) from exc
    except (format_inspector.ImageFormatError, ValueError, KeyError, IndexError, struct.error) as exc:
        raise invalid(path, _("its header is broken")) from exc
    # What the inspector accepts and QEMU follows: a parent, or extents in files beside a bare description.
    if isinstance(found, format_inspector.VMDKInspector):
        text = found.desc_text or ""
        if "parentfilenamehint" in text or not found.has_region("header"):
            raise leads_elsewhere(path)


def check_raw(path: Path, start: bytes) -> None:
    """Raise InvalidFile for a file that is no disk: a boot sector or a partition table ends its first sector."""
    if start[SECTOR - 2 : SECTOR] != b"\x55\xaa" or path.stat().st_size % SECTOR:
        raise invalid(path, _("it is no disk image: it has no boot sector"))


def check_size(path: Path, size: int) -> None:
    """Raise Refused for a disk that no node could have, InvalidFile for one of no size."""
    if size > LARGEST:
        text = _('the disk "{path}" shows its guest {size} TiB; at most {most} are taken')
        raise Refused(text.format(path=path, size=-(-size >> 40), most=LARGEST >> 40), hint=f"ls -l {path}")
    if size <= 0:
        raise invalid(path, _("its header is broken"))


def leads_elsewhere(path: Path) -> Refused:
    """Return the refusal of a disk that is only a part, and whose other part is a file that it names itself."""
    text = _('the disk "{path}" names another file that QEMU would open: only a disk that stands alone is taken')
    return Refused(text.format(path=path), hint=HINT)


def invalid(path: Path, reason: str) -> LabctlError:
    """Return the error for a file that cannot be imported."""
    text = _('the file "{path}" cannot be imported: {reason}').format(path=path, reason=reason)
    return InvalidFile(text, hint=f"ls -l {path}")
