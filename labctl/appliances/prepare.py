"""Turns a disk of the school's into a golden image by driving its console once: boot, script, power off, keep.

An installation disc is installed onto an empty disk first, by a script of its own.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labctl.appliances.drive import Screen, drive, wait_end
from labctl.appliances.live_disc import copy_serial
from labctl.appliances.script import Recipe
from labctl.errors import LabctlError
from labctl.images.folder import hash_file
from labctl.images.foreign import inspect_disk
from labctl.images.given import Fact, Given
from labctl.images.importing import ImportWish, check_room, unpack_disk
from labctl.images.overlay import settle
from labctl.images.steps import Steps
from labctl.images.store import Image, ImageStore
from labctl.monitor import Monitor
from labctl.plan.observed import WORKBENCH, Observed, Tag
from labctl.program import run
from labctl.render.workbench import render_workbench

INSTALLED_DISK = "16G"  # the vendor asks for 4 GB at least; what is not written takes no room
INSPECTED, INSTALLED = 0.25, 0.6  # how far the whole is after these steps
OFF_SECONDS = 300.0  # a system that was told to stop writes what it has to and switches itself off


class ConsoleLine(AbstractContextManager["ConsoleLine"], Protocol):
    """A serial line that is given back at the end."""

    def fileno(self) -> int: ...
    def read(self, size: int = ...) -> bytes: ...
    def write(self, data: bytes) -> None: ...


class Leftovers(Protocol):
    """The hypervisor, as far as it tells which machines are there, and removes ours."""

    def observe(self, start: str = "") -> Observed: ...
    def remove_domain(self, name: str, lab: str) -> None: ...


class Workbench(Leftovers, Protocol):
    """The hypervisor, as far as one machine without a lab needs it."""

    def qemu_owner(self) -> tuple[int, int]: ...
    def define_domain(self, xml: str) -> None: ...
    def start_domain(self, name: str, lab: str) -> None: ...
    def open_console(self, name: str, lab: str, force: bool = False) -> ConsoleLine: ...


@dataclass(frozen=True)
class Preparation:
    """What is prepared, and how: the file of the school, the recipe, and the values that its script types.

    With `installer`, the file is an installation disc, and that recipe's script is how it is installed. `secrets` are
    values that no error may show; `pace` stretches deadlines, `accelerator` is "kvm" or "tcg". `home` is the mark
    of the installation and `prefix` starts libvirt's names, as for labs.
    """

    wish: ImportWish
    recipe: Recipe
    home: str
    prefix: str = ""
    installer: Recipe | None = None
    values: Mapping[str, str] | None = None
    secrets: Sequence[str] = ()
    accelerator: str = "tcg"
    pace: float = 1.0

    @property
    def tag(self) -> Tag:
        """Return the mark of the machine: whose it is, so that nothing else is touched."""
        lab = f"image-{self.wish.name}"
        return Tag(lab=lab, topology=WORKBENCH, owner=self.wish.name, member="workbench", spec="", home=self.home)

    @property
    def domain(self) -> str:
        """Return libvirt's name of the machine, unlike that of any machine of a lab."""
        return f"{self.prefix}{self.tag.lab}"


def prepare_image(store: ImageStore, machines: Workbench, asked: Preparation, monitor: Monitor) -> Image:
    """Convert or install the disk, drive its console through the script, wait until it is off, hash and keep it.

    Raises as `import_image` does, DeadlineMissed or LabctlError where the script does not get through: what the
    console showed is then kept beside the images.
    """
    wish = asked.wish
    steps = Steps(monitor, wish.name, "inspect")
    with steps.failing(), store.workshop(wish.name, monitor) as work:
        remove_killed(machines, asked.home, asked.prefix)
        steps.tell("inspect", 0.0)
        if asked.installer:
            source, disk = "iso", install_disc(store, machines, asked, asked.installer, work, steps)
        else:
            source, disk = unpack_disk(wish.file, work, steps.scaled(0.0, INSPECTED))
        digest = hash_file(wish.file)
        begun = INSTALLED if asked.installer else INSPECTED
        steps.tell("console", begun)
        with machine(machines, asked, disk, asked.recipe.memory):
            run_script(store, machines, asked, asked.recipe, steps.scaled(begun, 0.9))
        steps.tell("keep", 0.95)
        inspect_disk(disk)  # its guest has written to it
        facts: dict[str, Fact] = {**wish.facts, "title": asked.recipe.title.en}
        given = Given(wish.system, wish.file.name, digest, source, wish.minimum_memory, asked.recipe.hardware, facts)
        os.chown(disk, os.geteuid(), os.getegid())
        image = store.register(disk, wish.name, given)
    steps.done()
    return image


def install_disc(
    store: ImageStore, machines: Workbench, asked: Preparation, installer: Recipe, work: Path, steps: Steps
) -> Path:
    """Install from a copy of the disc that speaks on the serial line; return the new disk.

    Raises InvalidFile for a disc that is not the vendor's, Refused without room, and as `prepare_image` does.
    """
    disc, disk = work / "disc.iso", work / "disk.qcow2"
    check_room(work, 2 * asked.wish.file.stat().st_size)  # the copy, and about as much that is installed
    copy_serial(asked.wish.file, disc)
    run(["qemu-img", "create", "-q", "-f", "qcow2", disk, INSTALLED_DISK])
    steps.tell("install", INSPECTED)
    with machine(machines, asked, disk, installer.memory, disc):
        run_script(store, machines, asked, installer, steps.scaled(INSPECTED, INSTALLED))
    disc.unlink()
    return disk


def remove_killed(machines: Leftovers, home: str, prefix: str) -> None:
    """Remove the machines of image builds that were killed. Call it only while holding the build's lock."""
    for left in machines.observe(prefix).workbenches:
        if left.tag and left.tag.home == home:
            machines.remove_domain(left.name, left.tag.seat_name)


@contextmanager
def machine(
    machines: Workbench, asked: Preparation, disk: Path, memory: int, disc: Path | None = None
) -> Iterator[None]:
    """Have the machine exist and run, started from the disc if there is one; it goes with the block."""
    tag = asked.tag
    disk.parent.chmod(0o711)
    for file in (disk, disc) if disc else (disk,):
        os.chown(file, *machines.qemu_owner())
    machines.define_domain(
        render_workbench(
            asked.domain, tag, disk, asked.recipe.hardware, max(memory, asked.wish.minimum_memory), asked.accelerator,
            disc,
        )
    )  # fmt: skip
    try:
        machines.start_domain(asked.domain, tag.lab)
        yield
    finally:
        machines.remove_domain(asked.domain, tag.lab)


def run_script(
    store: ImageStore, machines: Workbench, asked: Preparation, recipe: Recipe, told: Callable[[float, str], None]
) -> None:
    """Drive the console to its end, when the machine is off; keep its words where it does not come to that."""
    screen = Screen()
    try:
        with machines.open_console(asked.domain, asked.tag.lab) as line:
            drive(line, recipe.script, asked.values or {}, told, screen, pace=asked.pace, secrets=asked.secrets)
            wait_end(line, screen, OFF_SECONDS * asked.pace, asked.secrets)
    except LabctlError as exc:
        kept = keep_words(store, asked, screen)
        exc.hint = f"less {kept}"
        raise
    told(1.0, "")


def keep_words(store: ImageStore, asked: Preparation, screen: Screen) -> Path:
    """Write down what the console showed, without secrets; return where."""
    path = store.folder / f"{asked.wish.name}.console.log"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(screen.told(asked.secrets), encoding="utf-8")
    settle(temporary, path)
    return path
