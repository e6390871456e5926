"""Faults of a rehearsal: each leaves what a real one leaves, what finds and mends it does, and none is for an exam."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act
from labctl.exam.model import Phase
from labctl.exam.moments import HostClock
from labctl.exam.rehearsing import Fault, break_freeze, break_machine, kill_supervisor
from labctl.exam.session import create_session
from labctl.exam.standing import Frozen
from labctl.exam.start import start
from labctl.exam.supervise import Beat, only_one, write_beat
from labctl.process import birth
from tests.exam.doubles import PAUSED, FakeLabs
from tests.exam.sessions import about
from tests.exam.test_acts import Room, make_room
from tests.exam.test_supervise import supervisor

WHY = "to see what we do"


def labs(room: Room) -> FakeLabs:
    assert isinstance(room.conduct.labs, FakeLabs)
    return room.conduct.labs


def begun(home: Path, *, rehearsal: bool = True) -> Room:
    room = make_room(home, rehearsal=rehearsal)
    start(room.conduct, (), Phase.PRACTICAL)
    return room


def beat(home: Path, pid: int, *sessions: str) -> None:
    now = HostClock().read()
    write_beat(home, Beat(pid, birth(pid), now.hour, now.steady, now.boot, sessions))


ACTS: tuple[Callable[[Room, Path], object], ...] = (
    lambda room, _home: break_machine(room.conduct, labs(room), Fault.POWER_CUT, "001", "server", WHY),
    lambda room, _home: break_machine(room.conduct, labs(room), Fault.CABLE_OUT, "001", "server", WHY),
    lambda room, _home: break_freeze(room.conduct, "001", WHY),
    lambda room, home: kill_supervisor(room.conduct, home, WHY),
)


@pytest.mark.parametrize("act", ACTS)
def test_nothing_of_it_happens_in_a_session_that_counts(act: Callable[[Room, Path], object], tmp_path: Path) -> None:
    room = begun(tmp_path, rehearsal=False)
    before = room.session.audit.read_bytes()
    with subprocess.Popen(["sleep", "60"]) as other:
        beat(tmp_path, other.pid, "e6")
        with pytest.raises(Refused, match="this session counts"):
            act(room, tmp_path)
        assert other.poll() is None
        other.kill()
    assert room.session.audit.read_bytes() == before
    assert room.world.state("small-c001") == {"running"}


def test_a_machine_loses_its_power_or_its_cables_and_the_log_says_so(tmp_path: Path) -> None:
    room = begun(tmp_path)
    break_machine(room.conduct, labs(room), Fault.POWER_CUT, "001", "server", WHY)
    assert room.world.machines["small-c001"]["server"] == "stopped"
    break_machine(room.conduct, labs(room), Fault.CABLE_OUT, "001", "client", WHY)
    assert room.world.pulled == {("small-c001", "client")}
    break_machine(room.conduct, labs(room), Fault.CABLE_IN, "001", "client", WHY)
    assert room.world.pulled == set()
    told = [entry.facts for entry in room.one("001").entries(Act.INCIDENT)]
    assert [(one["fault"], one["node"]) for one in told] == [
        ("power cut", "server"), ("cable pulled", "client"), ("cable plugged in", "client")
    ]  # fmt: skip
    with pytest.raises(LabctlError, match="no machine"):
        break_machine(room.conduct, labs(room), Fault.POWER_CUT, "001", "nothing", WHY)
    assert len(room.one("001").entries(Act.INCIDENT)) == len(told)


def test_a_freeze_that_was_broken_off_is_taken_up_by_the_supervisor(tmp_path: Path) -> None:
    room = begun(tmp_path)
    break_freeze(room.conduct, "001", WHY)
    one = room.one("001")
    assert (one.frozen, one.unfinished, one.running) == (Frozen.UNDER_WAY, frozenset({Act.FREEZE}), False)
    assert room.world.state(one.lab) == {PAUSED}
    assert room.world.copies == {}
    supervisor(room, tmp_path).look()
    assert room.one("001").frozen is Frozen.YES
    assert list(room.world.copies) == ["001/freeze-1"]
    with pytest.raises(Refused, match="nothing to freeze"):
        break_freeze(room.conduct, "001", WHY)


def test_the_supervisor_is_killed_and_another_one_can_begin(tmp_path: Path) -> None:
    room = begun(tmp_path)
    with pytest.raises(Refused, match="no supervisor"):
        kill_supervisor(room.conduct, tmp_path, WHY)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        assert one.stdout.readline() == "held\n"
        beat(tmp_path, one.pid, "e6")
        assert kill_supervisor(room.conduct, tmp_path, WHY) == one.pid
        assert one.wait(30) == -9
    with only_one(tmp_path):
        pass
    assert room.session.read().history[-1].facts["fault"] == "supervisor killed"


HOLD = """
import sys, time
from pathlib import Path
from labctl.exam.supervise import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_supervisor_that_keeps_the_time_of_an_exam_that_counts_lives(tmp_path: Path) -> None:
    room = begun(tmp_path)
    other = create_session(tmp_path, "e7", about(1), room.clock)
    with other.doing(Act.START, "001", phase="practical"):
        pass
    with subprocess.Popen(["sleep", "60"]) as one:
        beat(tmp_path, one.pid, "e6", "e7")
        with pytest.raises(Refused, match='the session "e7" too'):
            kill_supervisor(room.conduct, tmp_path, WHY)
        assert one.poll() is None
        one.kill()
