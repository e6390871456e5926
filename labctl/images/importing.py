"""Turns a disk image that a school owns (qcow2, vmdk, ova, raw) into an image of the store."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import LabctlError, Refused
from labctl.images.folder import hash_file
from labctl.images.foreign import SECTOR, ForeignDisk, inspect_disk, invalid, is_archive
from labctl.images.given import Fact, Given
from labctl.images.ova import extract_disk
from labctl.images.overlay import HEADER
from labctl.images.recipe import RECIPES
from labctl.images.steps import Steps
from labctl.images.store import Image, ImageStore
from labctl.language import _, decimal
from labctl.monitor import Monitor
from labctl.program import ProgramFailed, run, stream
from labctl.topology.hardware import COMMON, Hardware, System
from labctl.topology.values import NAME_PATTERN, PATTERNS

PERCENT = re.compile(r"\((\d+(?:\.\d+)?)/100%\)")
# qemu-img reads a file of somebody else: it dies with labctl, and cannot take the host's memory or processor for ever.
MEMORY, PROCESSOR = 2 << 30, 4 * 3600  # bytes, seconds
LIMITS = ("setpriv", "--pdeathsig", "KILL", "prlimit", f"--as={MEMORY}", f"--cpu={PROCESSOR}", "--core=0")
RESERVE = 1 << 30  # bytes of the host's disk that stay free
OPTIONS = "compat=1.1"


@dataclass(frozen=True)
class ImportWish:
    """What a person says of the file: the name that topologies use, and the machine that it wants.

    `minimum_memory` is in MiB; `facts` are what else is to be shown with the image.
    """

    file: Path
    name: str
    hardware: Hardware = COMMON
    minimum_memory: int = 256
    system: System = System.IMPORT
    facts: dict[str, Fact] = field(default_factory=dict)


def import_image(store: ImageStore, wish: ImportWish, monitor: Monitor) -> Image:
    """Inspect, convert, hash and keep a disk image; the file that was given stays as it is.

    Raises InvalidFile, Refused or HostNotReady with nothing left behind.
    """
    if wish.system is System.IMPORT:  # else it is made by the recipe of that name
        check_name(wish.name)
    steps = Steps(monitor, wish.name, "inspect")
    with steps.failing(), store.workshop(wish.name, monitor) as work:
        steps.tell("inspect", 0.0)
        source, disk = unpack_disk(wish.file, work, steps.scaled(0.0, 0.8))
        steps.tell("hash", 0.85)
        digest = hash_file(wish.file)
        steps.tell("keep", 0.95)
        given = Given(wish.system, wish.file.name, digest, source, wish.minimum_memory, wish.hardware, wish.facts)
        image = store.register(disk, wish.name, given)
    steps.done()
    return image


def unpack_disk(file: Path, work: Path, told: Callable[[float, str], None]) -> tuple[str, Path]:
    """Inspect a file and write its disk as qcow2 in a workshop; return the file's format and the new disk.

    Raises as `import_image` does.
    """
    archived = is_archive(file)
    if archived:
        check_room(work, file.stat().st_size)
        told(0.0, _("unpacked"))
    disk = inspect_disk(extract_disk(file, work / "disk.vmdk") if archived else file)
    check_room(work, disk.path.stat().st_blocks * SECTOR)
    check_whole(disk)
    return "ova" if archived else disk.format, convert_disk(disk, work / "disk.qcow2", told)


def check_name(name: str) -> None:
    """Raise Refused for a name that no topology could use, or that is a recipe's."""
    if not re.fullmatch(NAME_PATTERN, name):
        text = _('an image cannot be named "{name}": {expected} is needed')
        raise Refused(
            text.format(name=name, expected=_(PATTERNS[NAME_PATTERN])), hint="labctl image import FILE --name fw-school"
        )
    if name in RECIPES:
        text = _('the name "{name}" is that of a recipe of labctl; choose another one')
        raise Refused(text.format(name=name), hint=f"labctl image import FILE --name {name[:22]}-import")


def check_room(folder: Path, needed: int) -> None:
    """Raise Refused where the disk of the host could not hold that many more bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise no_room(folder, needed, free)


def no_room(folder: Path, needed: int, free: int) -> Refused:
    """Return the refusal to write these bytes into a folder with so many free ones."""
    text = _('importing needs {needed} GiB in "{folder}"; {free} GiB are free')
    gib = 1 << 30
    said = text.format(needed=decimal((needed + RESERVE) / gib), folder=folder.parent, free=decimal(free / gib))
    return Refused(said, hint=f"df -h {folder.parent}")


def check_whole(disk: ForeignDisk) -> None:
    """Raise InvalidFile for a qcow2 that was cut off or is corrupt: where data is missing, QEMU would read zeros."""
    if disk.format != "qcow2":
        return
    done = run([*LIMITS, "qemu-img", "check", "--output=json", *source_options(disk)], timeout=PROCESSOR, check=False)
    try:
        seen = json.loads(done.stdout)
    except ValueError as exc:
        raise invalid(disk.path, (done.stderr.strip().splitlines() or [_("it is broken")])[-1]) from exc
    # The last cluster may be short where nothing was written to its end.
    missing = seen.get("image-end-offset", 0) - disk.path.stat().st_size >= cluster_size(disk.path)
    if seen.get("corruptions") or seen.get("check-errors") or missing:
        raise invalid(disk.path, _("it is broken, or was cut off while it was copied"))


def cluster_size(path: Path) -> int:
    """Return the size of a qcow2 file's clusters in bytes."""
    with path.open("rb") as file:
        return 1 << int(HEADER.unpack(file.read(HEADER.size))[4])


def source_options(disk: ForeignDisk) -> list[str]:
    """Return what makes qemu-img read a disk as what it is, with nothing below it."""
    return ["--image-opts", f"driver={disk.format},file.driver=file,file.filename={escape(disk.path)}"]


def convert_disk(disk: ForeignDisk, target: Path, tell: Callable[[float, str], None]) -> Path:
    """Write an inspected disk as qcow2 and return it.

    Raises LabctlError where qemu-img stumbles over it, Refused where it does not fit: how much a compressed disk holds,
    nobody knows before it is unpacked.
    """
    free = shutil.disk_usage(target.parent).free
    largest = f"--fsize={max(0, free - RESERVE)}"

    def line_seen(line: str) -> None:
        for found in PERCENT.findall(line.replace("\r", "\n")):
            tell(float(found) / 100, f"{float(found):.0f} %")

    # The format is told and never probed: what the guest of the old disk wrote into it decides nothing.
    words = ["-p", "-O", "qcow2", "-o", OPTIONS, *source_options(disk), str(target)]
    try:
        stream([*LIMITS, largest, "qemu-img", "convert", *words], line_seen)
    except ProgramFailed as exc:
        if any(os.strerror(number) in exc.message for number in (errno.EFBIG, errno.ENOSPC)):
            raise no_room(target.parent, disk.size, free) from exc
        raise explain(disk, exc) from exc
    return target


def escape(path: Path) -> str:
    """Return a path as qemu-img's options take it: absolute, with commas doubled."""
    return str(path.absolute()).replace(",", ",,")


def explain(disk: ForeignDisk, exc: ProgramFailed) -> LabctlError:
    """Return the error for a disk that passed inspection and that qemu-img cannot read to its end."""
    lines = [line.strip() for line in exc.message.splitlines()[1:] if line.strip() and not PERCENT.search(line)]
    return invalid(disk.path, lines[-1] if lines else exc.message)
