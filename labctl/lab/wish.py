"""What is wished for one lab, how fast guests run here, and what became of each node."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from labctl.checks.model import Outcome
from labctl.errors import Interrupted, LabctlError
from labctl.lab.frozen import Frozen
from labctl.lab.own_values import Own
from labctl.language import _
from labctl.plan.model import Plan
from labctl.topology.model import Topology


@dataclass(frozen=True)
class Pace:
    """How fast guests run here: "kvm" or "tcg", and by how much deadlines are stretched."""

    accelerator: str
    factor: float


@dataclass
class Progressed:
    """What became of each node: the error of those that failed, and the outcomes of the ready checks.

    `spare` is the spare that became the lab, "" where none did.
    """

    failures: dict[str, LabctlError] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    changed: bool = False
    seconds: float = 0.0
    spare: str = ""

    def ready(self, plan: Plan) -> tuple[str, ...]:
        """Return the nodes that passed the gate."""
        return tuple(node.member for node in plan.nodes if node.member not in self.failures)


class Stop:
    """A person's wish to stop: the step under way ends, the next one does not begin."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Wish to stop."""
        self._asked.set()

    def raise_if_asked(self, lab: str) -> None:
        """Raise Interrupted between two steps."""
        if self._asked.is_set():
            text = _('stopped; the lab "{lab}" keeps what is done').format(lab=lab)
            raise Interrupted(text, hint=_("type the same command again to continue"))


@dataclass(frozen=True)
class Wish:
    """What is asked for: a topology, the file it was read from, and the owner of the lab.

    Machines are cloned from `golden` where it is given, else built; those named in `reset` are cloned
    anew; `replace` accepts that changed ones lose their disks. Where the owner has values of their own, `topology`
    has them, `own` tells them, and `base` is the golden lab's topology.
    """

    topology: Topology
    source: Path
    owner: str
    golden: Frozen | None = None
    replace: bool = False
    reset: tuple[str, ...] = ()
    base: Topology | None = None
    own: Own | None = None

    @property
    def lab(self) -> str:
        """Return the name of the lab."""
        return f"{self.topology.name}-{self.owner}"
