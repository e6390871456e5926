"""Turns an image into the disk of one node: a qcow2 overlay; and finds the overlays that depend on a file."""

import errno
import os
import pwd
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from labctl.errors import LabctlError
from labctl.language import _
from labctl.program import ProgramFailed, run

MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQII Q")  # magic, version, offset and length of the backing file's name, cluster bits, size
LONGEST_NAME = 1023  # of a backing file, in bytes (QEMU's docs/interop/qcow2.txt)
QEMU_USERS = ("libvirt-qemu", "qemu")
ROOM = 64 << 20  # bytes that a node needs at least to boot on its overlay


def create_overlay(base: Path | None, path: Path, size_gib: int) -> None:
    """Create a qcow2 overlay on `base` (qcow2), writable by QEMU's user, under its final name only when it is complete.

    Without a base, the disk is empty. An overlay that is there already is replaced. Raises LabctlError where the disk
    of the host is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    below: list[str | Path] = ["-F", "qcow2", "-b", base] if base else []
    try:
        check_room(path.parent)
        run(["qemu-img", "create", "-q", "-f", "qcow2", *below, temporary, f"{size_gib}G"])
        hand_over(temporary)
        settle(temporary, path)
    except (OSError, ProgramFailed) as exc:
        temporary.unlink(missing_ok=True)
        raise explain(exc, path) from exc


def check_room(folder: Path) -> None:
    """Raise OSError where a disk could be created and never be filled."""
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def explain(exc: OSError | ProgramFailed, path: Path) -> LabctlError:
    """Return the error for a disk that could not be written."""
    if isinstance(exc, ProgramFailed) and os.strerror(errno.ENOSPC) not in str(exc):
        return exc
    if isinstance(exc, OSError) and exc.errno not in (errno.ENOSPC, errno.EDQUOT):
        text = _('the disk "{path}" cannot be created: {reason}').format(path=path, reason=exc.strerror)
        return LabctlError(text, hint=f"ls -ld {path.parent}")
    text = _('there is no room left for the disk "{path}"').format(path=path)
    return LabctlError(text, hint=f"df -h {path.parent}")


def hand_over(path: Path) -> None:
    """Give a disk to the user that QEMU runs as, where the host has one, and to nobody else."""
    path.chmod(0o600)
    for name in QEMU_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(path, user.pw_uid, user.pw_gid)
        return


def settle(temporary: Path, path: Path) -> None:
    """Give a complete file its final name so that it is there whole, or not at all, after a power cut."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_header(path: Path) -> tuple[Path | None, int] | None:
    """Return the backing file (None if there is none) and virtual size of a qcow2 file; None for any other file.

    Read here and not by qemu-img: it opens the whole chain, and a chain is what a student's disk may lie about.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
            if len(head) < HEADER.size or not head.startswith(MAGIC):
                return None
            _magic, _version, offset, length, _bits, size = HEADER.unpack(head)
            if not offset or not 0 < length <= LONGEST_NAME:
                return None, size
            file.seek(offset)
            name = os.fsdecode(file.read(length))
    except OSError:
        return None
    return Path(os.path.normpath(path.parent / name)), size


def find_disks(folder: Path) -> Iterator[Path]:
    """Yield every qcow2 file under a folder that has a backing file."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink() and (header := read_header(path)) and header[0]:
                yield path


def find_dependents(base: Path, disks: Iterable[Path]) -> tuple[Path, ...]:
    """Return which of the disks stand on `base`, directly or through other disks, or are `base` itself."""
    return tuple(disk for disk in disks if base in chain(disk))


def chain(disk: Path) -> tuple[Path, ...]:
    """Return a disk and the files it stands on, the nearest first."""
    files: list[Path] = []
    current: Path | None = disk
    while current is not None and current not in files:
        files.append(current)
        header = read_header(current)
        current = header[0] if header else None
    return tuple(files)
