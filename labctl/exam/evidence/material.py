"""What there is of one candidate's work, and where: the plain facts that collecting turns into evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from labctl.lab.frozen import taken
from labctl.topology.hardware import System
from labctl.topology.variants import Value

SMALL = 24 << 20  # bytes for each machine: description, picture, differences; more than was ever seen
CONSOLE_MOST = 64 << 20  # bytes of a console's log that are kept, from its end


class Recorder(Protocol):
    """The hypervisor, for those who write down what a machine is and shows."""

    def describe_domain(self, name: str, lab: str) -> str: ...  # noqa: D102  a Protocol's method is named after the need
    def take_picture(self, name: str, lab: str) -> bytes: ...  # noqa: D102


@dataclass(frozen=True)
class KeptDisk:
    """A disk of a machine: the file of its frozen copy, and what that stands on, nearest first."""

    file: Path
    base: tuple[Path, ...] = ()

    @property
    def chain(self) -> tuple[Path, ...]:
        """Return all its files, the topmost first."""
        return (self.file, *self.base)


@dataclass(frozen=True)
class Machine:
    """One machine. `name` and `seat` are libvirt's; `disks` are the frozen ones, that of its system first.

    `paths` are watched beside /etc; `console` is the log of its serial console. `board` are the frozen files of what a
    UEFI machine remembers beside its disk, by what they are called in the evidence.
    """

    node: str
    name: str
    seat: str
    disks: tuple[KeptDisk, ...]
    console: Path
    paths: tuple[str, ...] = ()
    system: System = System.DEBIAN
    board: Mapping[str, Path] = field(default_factory=dict)

    @property
    def root(self) -> KeptDisk:
        """Return the disk that its system is on."""
        return self.disks[0]

    @property
    def is_read(self) -> bool:
        """Return whether labctl reads files from its system's disk: those of Debian lie on ext4."""
        return self.system is System.DEBIAN and self.root.file.exists()


@dataclass(frozen=True)
class Material:
    """One candidate. `folder` is the name of the folder of evidence, `copy` that of the frozen copy.

    `history` is what labctl did with the lab, `log` the candidate's own lines of the audit log as they stand there.
    `drawn` are the values of all candidates by number; `resets` counts what this one made anew.
    `results` are files by their name in the evidence; `start` has the trees of before the work, by node, where they
    were kept. `flows` has the files of the flows that were seen, by network of the kind `internet`.
    """

    number: str
    folder: str
    lab: str
    golden: str
    machines: tuple[Machine, ...]
    copy: str = ""
    history: tuple[Mapping[str, JsonValue], ...] = ()
    log: bytes = b""
    values: Mapping[str, JsonValue] = field(default_factory=dict)
    drawn: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    resets: int = 0
    results: Mapping[str, Path] = field(default_factory=dict)
    start: Mapping[str, Path] = field(default_factory=dict)
    flows: Mapping[str, Path] = field(default_factory=dict)
    screenshots: bool = True


@dataclass(frozen=True)
class Size:
    """How many bytes evidence will take: `all` of it, and `fresh`, what is not on this disk already."""

    all: int
    fresh: int


def estimate(material: Material, *, linked: bool) -> Size:
    """Return about how much the evidence takes; `linked` tells that disks are on the same file system already."""
    files = [disk.file for machine in material.machines for disk in machine.disks]
    disks = sum(taken(file) for file in files if file.exists())
    others = [*(machine.console for machine in material.machines), *material.results.values()]
    others += material.flows.values()
    rest = sum(min(path.stat().st_size, CONSOLE_MOST) for path in others if path.exists())
    rest += len(material.machines) * SMALL
    return Size(disks + rest, rest if linked else disks + rest)
