"""A world of labs and consoles that tests can look into, and acts on it that can be cut short at any call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labctl.errors import LabctlError
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Conduct
from labctl.exam.doors import Burst, Copied
from labctl.exam.moments import Reading
from labctl.exam.session import Session
from tests.exam.sessions import HandClock
from tests.lab.doubles import Fault

NODES = ("client", "server")
RUNNING, PAUSED = "running", "paused"


@dataclass
class World:
    """What there is: the state of each machine, the links of each lab, consoles that are cut, copies that were made."""

    clock: HandClock
    machines: dict[str, dict[str, str]] = field(default_factory=dict)
    links: dict[str, bool] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    copies: dict[str, float] = field(default_factory=dict)
    resets: dict[str, float] = field(default_factory=dict)
    refusing: set[str] = field(default_factory=set)
    pulled: set[tuple[str, str]] = field(default_factory=set)
    clocks_set: set[str] = field(default_factory=set)
    full: bool = False
    takes: float = 0.0

    def add(self, lab: str) -> None:
        """Put a lab there, as `prepare` leaves it."""
        self.machines[lab] = dict.fromkeys(NODES, PAUSED)
        self.links[lab] = True

    def state(self, lab: str) -> set[str]:
        """Return the states of a lab's machines."""
        return set(self.machines[lab].values())


@dataclass
class FakeLabs:
    """The labs of a world; each call counts twice, before it does something and after."""

    world: World
    fault: Fault = field(default_factory=Fault)

    def set_links(self, lab: str, *, up: bool) -> tuple[str, ...]:
        self.fault.count()
        self.refuse(lab)
        self.world.links[lab] = up
        self.fault.count()
        return ("client/management", "server/management")

    def pins(self) -> Mapping[str, Sequence[str]]:
        return {}

    def resume(self, labs: Sequence[str]) -> Burst:
        self.fault.count()
        first = self.world.clock.hour
        failures = {lab: f"{lab} does not run" for lab in labs if lab in self.world.refusing}
        for lab in labs:
            if lab not in failures:
                self.world.machines[lab] = dict.fromkeys(NODES, RUNNING)
        self.fault.count()
        return Burst(first, self.world.clock.hour, len(labs) * len(NODES), failures)

    def suspend(self, lab: str) -> None:
        self.fault.count()
        self.refuse(lab)
        self.world.machines[lab] = dict.fromkeys(NODES, PAUSED)
        self.fault.count()

    def calm(self, lab: str) -> None:
        self.refuse(lab)

    def copy(self, lab: str, name: str) -> Copied:
        self.fault.count()
        assert self.world.state(lab) == {PAUSED}, "only what stands still is copied"
        if self.world.full:
            raise LabctlError("the disk is full", hint="df -h")
        self.world.clock.go(self.world.takes)
        self.world.copies.setdefault(name, self.world.clock.steady)
        self.fault.count()
        return Copied(f"frozen/{name}", 1000)

    def set_clocks(self, labs: Sequence[str]) -> None:
        self.fault.count()
        self.world.clocks_set.update(labs)

    def refuse_no_machine(self, lab: str, node: str) -> None:
        if node not in self.world.machines[lab]:
            raise LabctlError(f"{lab} has no machine {node}")

    def cut_power(self, lab: str, node: str) -> None:
        self.fault.count()
        self.world.machines[lab][node] = "stopped"

    def set_cables(self, lab: str, node: str, *, up: bool) -> None:
        (self.world.pulled.discard if up else self.world.pulled.add)((lab, node))

    def remove(self, lab: str) -> None:
        self.fault.count()
        self.refuse(lab)
        self.world.machines.pop(lab, None)
        self.fault.count()

    def states(self, labs: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {lab: dict(self.world.machines.get(lab, {})) for lab in labs}

    def busy(self, lab: str) -> bool:
        return self.world.resets.get(lab, 0.0) > self.world.clock.steady

    def refuse(self, lab: str) -> None:
        if lab in self.world.refusing:
            raise LabctlError(f"{lab} does not answer")


@dataclass
class FakeConsoles:
    """The consoles of a world."""

    world: World
    fault: Fault = field(default_factory=Fault)

    def cut(self, lab: str) -> None:
        self.fault.count()
        self.world.cut.add(lab)

    def allow(self, lab: str) -> None:
        self.fault.count()
        self.world.cut.discard(lab)


@dataclass
class FaultyClock(HandClock):
    """A world's clock, read through a fault: a line of the log is never written without a look at it."""

    of: HandClock = field(default_factory=HandClock)
    fault: Fault = field(default_factory=Fault)

    def read(self) -> Reading:
        self.fault.count()
        return self.of.read()

    def sleep(self, seconds: float) -> None:
        self.of.sleep(seconds)


def conduct(session: Session, world: World, fault: Fault | None = None) -> Conduct:
    """Return a conduct of a session, as a fresh process has it: it remembers nothing, and may fail at one call."""
    counted = fault or Fault()
    clock = FaultyClock(of=world.clock, fault=counted) if fault else world.clock
    fresh = Session(session.folder, clock, patience=0.5)
    return Conduct(fresh, FakeLabs(world, counted), FakeConsoles(world, counted), patience=0.2)


def open_session(session: Session, world: World) -> None:
    """Bring a session to where it can start: everybody's lab is there, paused."""
    for one in session.read().candidates.values():
        world.add(one.lab)
        with session.doing(Act.PREPARE, one.number) as told:
            told["result"] = "ready"
    with session.writing() as log:
        for act in (Act.PREPARE, Act.SEAL, Act.OPEN):
            log.add(act, Step.BEGUN)
            log.add(act, Step.DONE)
