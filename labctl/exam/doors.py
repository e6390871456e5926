"""What the life of an exam session needs of the labs, the consoles and the proofs: one narrow Protocol each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue


@dataclass(frozen=True)
class Burst:
    """Machines that were let run together: when the first and the last one did, and why some do not (by lab)."""

    first: datetime
    last: datetime
    machines: int
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def spread(self) -> float:
        """Return how many seconds the last machine ran after the first."""
        return (self.last - self.first).total_seconds()


@dataclass(frozen=True)
class Copied:
    """A consistent copy of a lab: its folder, how many bytes it takes, and which nodes have no memory in it: off."""

    folder: str
    size: int
    off: tuple[str, ...] = ()


@dataclass(frozen=True)
class Built:
    """What became of a lab that was to be made; `spare` names the ready lab that became it, if one did."""

    ready: bool
    reason: str = ""
    spare: str = ""


class Resetter(Protocol):
    """Makes machines of a candidate's lab anew. Their links must be plugged in: the gate logs in to each."""

    def reset(self, lab: str, nodes: Sequence[str]) -> Built:
        """Make machines anew, all of them where none is named."""


class Remover(Protocol):
    """Removes labs that were made for a session and never worked on."""

    def remove(self, lab: str) -> None:
        """Remove a lab with its disks; one that is gone is what was wanted. Raises LabctlError, Busy among them."""


class Faults(Protocol):
    """What may happen to a machine in a rehearsal. All raise LabctlError where libvirt says no."""

    def refuse_no_machine(self, lab: str, node: str) -> None:
        """Raise LabctlError for a machine that the lab does not have."""

    def cut_power(self, lab: str, node: str) -> None:
        """Switch a machine off as a power cut does."""

    def set_cables(self, lab: str, node: str, *, up: bool) -> None:
        """Pull the links of a machine to the networks of its lab, or plug them in; not those that the exam pulls."""


class Labs(Protocol):
    """The labs of candidates, by name. Every act may be repeated; all raise LabctlError where libvirt says no."""

    def set_links(self, lab: str, *, up: bool) -> tuple[str, ...]:
        """Pull the links that the exam forbids, management and Internet, or plug management in; return which.

        Where the exam allows names, a link to the Internet may stay plugged in: it leads to these names alone.
        """

    def pins(self) -> Mapping[str, Sequence[str]]:
        """Return the addresses of the names of the Internet that the exam allows, none for one that is not known."""

    def resume(self, labs: Sequence[str]) -> Burst:
        """Let all machines of all labs run on, in one burst; one that fails holds back no other."""

    def suspend(self, lab: str) -> None:
        """Stop the processors of all machines of a lab at the same time; those that are off stay off."""

    def calm(self, lab: str) -> None:
        """Ask running machines to write to their disks what they hold in memory; within two seconds or not at all."""

    def copy(self, lab: str, name: str) -> Copied:
        """Copy disks and memory of a lab that stands still; its machines stand still afterwards too."""

    def set_clocks(self, labs: Sequence[str]) -> None:
        """Set the clocks of machines that stood still; one that does not answer keeps its own."""

    def states(self, labs: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Return the state of each machine, by lab and node: running, paused, stopped, crashed, or missing."""

    def busy(self, lab: str) -> bool:
        """Return whether another run works on the lab now: a reset, a checkpoint."""


class Workshop(Protocol):
    """Makes the labs of one session, each with the values drawn for its owner."""

    def exists(self, lab: str) -> bool:
        """Return whether there is a lab of this name."""

    def refuse_no_room(self, labs: Sequence[str]) -> None:
        """Raise Refused where the disk cannot carry these labs, those that exist too, with a frozen copy of each."""

    def build(self, owners: Sequence[str]) -> Mapping[str, Built]:
        """Bring up the labs of owners, from whatever is there. Raises Refused where they do not fit on the host."""

    def mend(self, owner: str) -> Built:
        """Make all machines of a lab anew."""

    def exchange(self, owner: str) -> Built:
        """Remove a lab, and let a spare take its place where there is one."""


class Consoles(Protocol):
    """The ways of candidates to their machines through the portal."""

    def cut(self, lab: str) -> None:
        """Close all consoles of a lab, and let none be opened."""

    def allow(self, lab: str) -> None:
        """Let consoles be opened."""


@dataclass(frozen=True)
class Proof:
    """Whether something that must hold does. `reason` says why not, in the reader's words; `facts` go to the log.

    `holds` is None where it could not be checked: that is neither a yes nor a no.
    """

    holds: bool | None
    reason: str = ""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)


class Proofs(Protocol):
    """What shows that a candidate's lab is as it must be. The machines run, and their management links are up."""

    def recette_at_start(self, number: str) -> Proof:
        """Run the checks of the recette: those that must fail before the work do, those that must pass do."""

    def isolation(self, number: str) -> Proof:
        """Probe from inside the lab that it reaches no other lab, nor host, management, school network or Internet."""
