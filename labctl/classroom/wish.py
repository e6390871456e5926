"""What is wished for a class, and what became of each owner's lab."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labctl.errors import LabctlError
from labctl.lab.own_values import Owned
from labctl.lab.wish import Progressed
from labctl.monitor import Event, Monitor
from labctl.plan.model import Plan
from labctl.topology.model import Topology

LAB_STEP = "lab"  # the step of events whose subject is an owner: begun, ready or failed as a whole


@dataclass(frozen=True)
class ClassWish:
    """What a person asked for: a topology, where it came from, for whom, and what may be lost or made anew.

    `only_unfinished` leaves alone, unlooked at, the labs that need no act. `spares` is how many ready labs are
    to be kept for those who come later, None for as many as before. `own` has the topologies of those owners that
    have values of their own; `topology` is that of the golden lab.
    """

    topology: Topology
    source: Path
    owners: tuple[str, ...]
    replace: bool = False
    reset: tuple[str, ...] = ()
    only_unfinished: bool = False
    spares: int | None = None
    own: Mapping[str, Owned] = field(default_factory=dict)


@dataclass(frozen=True)
class LabResult:
    """What became of one owner's lab; `error` where it could not even be tried."""

    owner: str
    plan: Plan | None = None
    progress: Progressed | None = None
    error: LabctlError | None = None

    @property
    def ready(self) -> bool:
        """Return whether every node of the lab passed the gate."""
        return self.progress is not None and not self.progress.failures


@dataclass(frozen=True)
class ForOwner:
    """A monitor that puts the owner before each subject, where several labs are under way."""

    owner: str
    monitor: Monitor

    def tell(self, event: Event) -> None:
        """Pass the event on."""
        self.monitor.tell(replace(event, subject=f"{self.owner}/{event.subject}"))
