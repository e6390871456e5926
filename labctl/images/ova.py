"""An OVA, a tar with one virtual machine, to the disk inside it; nothing is written but that disk."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from labctl.checks.lines import printable
from labctl.errors import Refused
from labctl.images.foreign import LARGEST, invalid
from labctl.language import _

DISK, DESCRIPTION = ".vmdk", ".ovf"
MOST_MEMBERS = 64  # an appliance has a handful: a description, a manifest, a certificate, a disk or a few


def extract_disk(archive: Path, target: Path) -> Path:
    """Write the only disk of an OVA to `target` and return it.

    Raises InvalidFile for an archive that is broken or has no disk or several, Refused for one that tries to write
    elsewhere or that would fill the host.
    """
    with open_archive(archive) as tar:
        disks = [member for member in check_members(archive, tar) if member.name.lower().endswith(DISK)]
        if len(disks) != 1:
            text = _("it holds {count} disks of type vmdk, and exactly one is needed")
            raise invalid(archive, text.format(count=len(disks)))
        source = tar.extractfile(disks[0])
        if source is None:
            raise invalid(archive, _("its disk is not a file"))
        with source, target.open("wb") as file:
            while chunk := source.read(1 << 20):
                file.write(chunk)
    return target


@contextmanager
def open_archive(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar that is not compressed, as an OVA must be (DSP0243). Raises InvalidFile for a broken one."""
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise invalid(archive, _("the archive is broken or was cut off")) from exc


def check_members(archive: Path, tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Return the files of an archive, the description first. Raises as `extract_disk` does."""
    members: list[tarfile.TarInfo] = []
    for member in tar:
        members.append(member)
        if len(members) > MOST_MEMBERS:
            raise invalid(archive, _("it holds more than {most} files").format(most=MOST_MEMBERS))
        check_member(archive, member)
    if sum(member.size for member in members) > LARGEST:
        raise invalid(archive, _("what is inside is larger than any disk of a node"))
    if not any(member.name.lower().endswith(DESCRIPTION) for member in members):
        raise invalid(archive, _("it is a tar without an OVF description, so no OVA"))
    return members


def check_member(archive: Path, member: tarfile.TarInfo) -> None:
    """Raise Refused for a member that leads out of the archive, or is no plain file."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not member.isreg() or member.issparse():
        text = _('the archive "{path}" is refused: its member "{name}" is no plain file inside it')
        raise Refused(text.format(path=archive, name=printable(member.name)), hint=f"tar -tvf {archive}")
