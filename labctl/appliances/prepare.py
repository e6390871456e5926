"""Turns a disk of the school's into a golden image by driving its console once: boot, script, power off, keep."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labctl.appliances.drive import Screen, drive, wait_end
from labctl.appliances.script import Recipe
from labctl.errors import LabctlError
from labctl.images.folder import hash_file
from labctl.images.foreign import inspect_disk
from labctl.images.given import Fact, Given
from labctl.images.importing import ImportWish, unpack_disk
from labctl.images.overlay import settle
from labctl.images.steps import Steps
from labctl.images.store import Image, ImageStore
from labctl.monitor import Monitor
from labctl.plan.observed import WORKBENCH, Observed, Tag
from labctl.render.workbench import render_workbench

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

    `secrets` are values that no error may show; `pace` stretches deadlines, `accelerator` is "kvm" or "tcg".
    `home` is the mark of the installation and `prefix` starts libvirt's names, as for labs.
    """

    wish: ImportWish
    recipe: Recipe
    home: str
    prefix: str = ""
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
    """Convert the disk, drive its console through the script, wait until it is off, hash and keep it.

    Raises as `import_image` does, DeadlineMissed or LabctlError where the script does not get through: what the
    console showed is then kept beside the images.
    """
    wish = asked.wish
    steps = Steps(monitor, wish.name, "inspect")
    with steps.failing(), store.workshop(wish.name, monitor) as work:
        remove_killed(machines, asked.home, asked.prefix)
        steps.tell("inspect", 0.0)
        source, disk = unpack_disk(wish.file, work, steps.scaled(0.0, 0.25))
        digest = hash_file(wish.file)
        steps.tell("console", 0.3)
        with machine(machines, asked, disk):
            run_script(store, machines, asked, steps.scaled(0.3, 0.9))
        steps.tell("keep", 0.95)
        inspect_disk(disk)  # its guest has written to it
        facts: dict[str, Fact] = {**wish.facts, "title": asked.recipe.title.en}
        given = Given(wish.system, wish.file.name, digest, source, wish.minimum_memory, asked.recipe.hardware, facts)
        os.chown(disk, os.geteuid(), os.getegid())
        image = store.register(disk, wish.name, given)
    steps.done()
    return image


def remove_killed(machines: Leftovers, home: str, prefix: str) -> None:
    """Remove the machines of image builds that were killed. Call it only while holding the build's lock."""
    for left in machines.observe(prefix).workbenches:
        if left.tag and left.tag.home == home:
            machines.remove_domain(left.name, left.tag.seat_name)


@contextmanager
def machine(machines: Workbench, asked: Preparation, disk: Path) -> Iterator[None]:
    """Have the machine exist and run; it goes with the block."""
    tag = asked.tag
    disk.parent.chmod(0o711)
    os.chown(disk, *machines.qemu_owner())
    machines.define_domain(
        render_workbench(
            asked.domain, tag, disk, asked.recipe.hardware, max(asked.recipe.memory, asked.wish.minimum_memory),
            asked.accelerator,
        )
    )  # fmt: skip
    try:
        machines.start_domain(asked.domain, tag.lab)
        yield
    finally:
        machines.remove_domain(asked.domain, tag.lab)


def run_script(store: ImageStore, machines: Workbench, asked: Preparation, told: Callable[[float, str], None]) -> None:
    """Drive the console to its end, when the machine is off; keep its words where it does not come to that."""
    screen = Screen()
    try:
        with machines.open_console(asked.domain, asked.tag.lab) as line:
            drive(line, asked.recipe.script, asked.values or {}, told, screen, pace=asked.pace, secrets=asked.secrets)
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
