"""Forty candidates on libvirt's test driver: a whole session by the clock of this host, with very short minutes."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import libvirt
import pytest

from labctl.crew import Crew
from labctl.exam.acts import close, extend, pause, resume
from labctl.exam.audit import Act, Step, read_entries
from labctl.exam.conduct import Conduct
from labctl.exam.doors import Copied
from labctl.exam.machines import HostConsoles, HostLabs
from labctl.exam.model import Phase
from labctl.exam.moments import HostClock
from labctl.exam.session import create_session
from labctl.exam.standing import Frozen, Stage, fold
from labctl.exam.start import start
from labctl.exam.supervise import Supervisor
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.pool import start_event_loop
from labctl.lab.wish import Pace
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from tests.exam.sessions import about
from tests.hypervisor.descriptions import domain_xml
from tests.lab.doubles import World, make_place
from tests.lab.test_golden import SMALL

MINUTE = 0.1  # seconds: the hour of work lasts six
COUNT = 40


@contextmanager
def driver_world() -> Iterator[Hypervisor]:
    """Give the test driver's world, and empty it at the end: it would live on with the process."""
    start_event_loop()
    connection = libvirt.open("test:///default")
    with Hypervisor("test:///default") as door:
        yield door
    for domain in connection.listAllDomains():
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    connection.close()


@pytest.fixture
def hypervisor() -> Iterator[Hypervisor]:
    with driver_world() as door:
        yield door


@dataclass(frozen=True)
class DriverLabs(HostLabs):
    """Labs whose machines the test driver runs: it has no agents, no links to pull, and no memory to save."""

    pulled: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set_links(self, lab: str, *, up: bool) -> tuple[str, ...]:
        with self.lock:
            if up:
                self.pulled.discard(lab)
            else:
                self.pulled.add(lab)
        return ()

    def set_clocks(self, labs: Sequence[str]) -> None:
        """Set nothing: no agent is there."""

    def calm(self, lab: str) -> None:
        """Ask nobody: no agent is there."""

    def copy(self, lab: str, name: str) -> Copied:
        assert set(self.states([lab])[lab].values()) == {"paused"}
        path = self.folder / "frozen" / name
        path.mkdir(parents=True, exist_ok=True)
        time.sleep(0.05)
        return Copied(f"frozen/{name}", 1)


def make_labs(
    place: Workplace, door: Hypervisor, conduct_folder: Path, numbers: list[str], scenario: Path = SMALL
) -> DriverLabs:
    """Define and pause the machines of all candidates."""
    connection = libvirt.open("test:///default")
    labs = DriverLabs(place, door, conduct_folder, lambda _image: Pace("tcg", 1.0), Silent())
    for number in numbers:
        lab = f"small-c{number}"
        folder = place.folders(lab)
        folder.top.mkdir(parents=True)
        folder.topology.write_bytes(scenario.read_bytes())
        for node in labs.layout(lab).nodes:
            domain = connection.defineXML(domain_xml(node.name, node.tag))
            domain.create()
            domain.suspend()
    connection.close()
    return labs


@pytest.mark.slow  # a whole class
def test_forty_candidates_have_their_hour(tmp_path: Path, hypervisor: Hypervisor) -> None:
    home = tmp_path / "home"
    place = replace(make_place(home, World()), machines=hypervisor, freezer=hypervisor)
    clock = HostClock()
    session = create_session(home, "e6", about(COUNT, rehearsal=True, minute=MINUTE), clock)
    numbers = list(session.read().candidates)
    labs = make_labs(place, hypervisor, session.folder, numbers)
    for number in numbers:
        with session.doing(Act.PREPARE, number) as told:
            told["result"] = "ready"
    with session.writing() as log:
        for act in (Act.PREPARE, Act.SEAL, Act.OPEN):
            log.add(act, Step.DONE)
    conduct = Conduct(session, labs, HostConsoles(home))
    ended = threading.Event()
    with Crew(max_workers=8) as crew:
        watcher = Supervisor(home, clock, lambda: [conduct], crew, Silent())
        with Crew(max_workers=1) as other:
            watching = other.submit(watcher.run, ended.is_set)
            results, burst = start(conduct, (), Phase.PRACTICAL)
            assert {str(result.became) for result in results.values()} == {"done"}
            assert burst
            assert (burst.machines, len(labs.pulled)) == (80, COUNT)
            assert burst.spread <= 2.0
            pause(conduct, ["005"], "unwell")
            extend(conduct, ["006"], timedelta(seconds=2), "late")
            time.sleep(1)
            resume(conduct, ["005"], "well")
            until = time.monotonic() + 60
            while any(one.frozen is not Frozen.YES for one in session.read().candidates.values()):
                assert time.monotonic() < until, session.read().candidates
                time.sleep(0.1)
            ended.set()
            watching.result()
    standing = session.read()
    for number, one in standing.candidates.items():
        (still,) = [entry for entry in one.entries(Act.FREEZE) if entry.step is Step.NOTED]
        # Within a second on a host that is not overloaded; tests may run beside much else.
        assert 0 <= float(str(still.facts["late"])) <= 3.0, number
        assert one.practical
        assert one.practical.ended
        passed = (one.practical.ended - one.practical.begun - one.practical.paused).total_seconds()
        more = {"002": 2.0, "006": 2.0}.get(number, 0.0)
        assert passed == pytest.approx(6 + 0.05 + more, abs=3.0), number
    assert set(labs.states([f"small-c{number}" for number in numbers])["small-c001"].values()) == {"paused"}
    assert {str(result.became) for result in close(conduct, ()).values()} == {"done"}
    assert session.read().stage is Stage.CLOSED
    assert fold(read_entries(session.audit)) == session.read()
