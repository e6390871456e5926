"""The supervisor on a world of labs, driven by a clock that goes on by hand: deadlines are kept, whoever dies."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from labctl.crew import Crew
from labctl.errors import Busy
from labctl.exam.acts import close, extend, pause, resume
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import hold_candidate
from labctl.exam.freezing import freeze
from labctl.exam.model import Phase
from labctl.exam.session import find_session
from labctl.exam.standing import Frozen
from labctl.exam.start import start
from labctl.exam.supervise import Beat, Supervisor, Watch, only_one, read_beat
from labctl.monitor import Event, Silent
from tests.exam.doubles import PAUSED, RUNNING, World, conduct
from tests.exam.test_acts import ALL, Room, begin, make_room
from tests.lab.doubles import Crash, Fault, Kill

P = ParamSpec("P")
T = TypeVar("T")
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


class AtOnce(Crew):
    """A crew whose work is done when it is given."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@dataclass
class Heard:
    """A monitor that remembers."""

    events: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        self.events.append(event)


def supervisor(room: Room, home: Path, fault: Fault | None = None) -> Supervisor:
    """Return a supervisor as a fresh process has it."""
    fresh = conduct(room.session, room.world, fault)
    return Supervisor(home, room.clock, lambda: [fresh], AtOnce(), Silent())


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return make_room(tmp_path)


def go_to(room: Room, one: Supervisor, seconds: float, step: float = 0.2) -> None:
    """Let time pass with a look every so often."""
    end = room.clock.steady + seconds
    while room.clock.steady < end:
        room.clock.go(min(step, end - room.clock.steady))
        one.look()


def test_each_candidate_is_frozen_at_their_own_deadline_with_its_grace(room: Room, tmp_path: Path) -> None:
    begin(room)
    pause(room.conduct, ["003"], "unwell")
    room.clock.go(600)
    resume(room.conduct, ["003"], "well")
    one = supervisor(room, tmp_path)
    room.clock.go(3025 - 20)
    for number, at in (("001", 3630), ("003", 4230), ("002", 4830)):
        now = (room.clock.hour - room.session.read().history[0].at.hour).total_seconds()
        room.clock.go(at - now - 1)
        one.look()
        assert room.one(number).frozen is Frozen.NO
        go_to(room, one, 2)
        assert room.one(number).frozen is Frozen.YES
        stopped = next(entry for entry in room.one(number).entries(Act.FREEZE) if entry.step is Step.NOTED)
        assert 0 <= float(str(stopped.facts["late"])) <= 0.5
        assert room.world.state(room.one(number).lab) == {PAUSED}
        assert room.one(number).entries(Act.FREEZE)[0].facts["reason"] == "deadline"
    assert sorted(room.world.copies) == [f"{number}/freeze-1" for number in ALL]


def test_nothing_happens_to_who_has_more_time(room: Room, tmp_path: Path) -> None:
    begin(room)
    room.clock.go(3640)
    supervisor(room, tmp_path).look()
    assert room.one("001").frozen is Frozen.YES
    assert room.world.state("small-c002") == {RUNNING}


def test_more_time_in_the_last_second_is_time(room: Room, tmp_path: Path) -> None:
    begin(room)
    one = supervisor(room, tmp_path)
    room.clock.go(3629.9)
    one.look()
    extend(room.conduct, ["001"], 5 * MINUTE, "late")
    go_to(room, one, 10)
    assert (room.one("001").frozen, room.one("003").frozen) == (Frozen.NO, Frozen.YES)
    assert room.world.state("small-c001") == {RUNNING}
    go_to(room, one, 300)
    assert room.one("001").frozen is Frozen.YES


def test_more_time_between_a_look_and_the_freeze_is_time(room: Room, tmp_path: Path) -> None:
    begin(room)
    room.clock.go(3630)
    one = supervisor(room, tmp_path)
    (watch,) = [one.watches.setdefault("e6", w) for w in [_watch(room)]]
    extend(room.conduct, ["001"], 5 * MINUTE, "late")
    one.freeze(watch, ["001", "003"])  # what a look before the extension found
    assert (room.one("001").frozen, room.one("003").frozen) == (Frozen.NO, Frozen.YES)
    assert not [entry for entry in room.one("001").history if entry.act is Act.FREEZE]


def _watch(room: Room) -> Watch:
    return Watch(conduct(room.session, room.world))


@pytest.mark.parametrize("jump", [-7200.0, -90.0, 45.0, 3600.0])
def test_a_jump_of_the_host_clock_moves_nobodys_end(room: Room, tmp_path: Path, jump: float) -> None:
    begin(room)
    one = supervisor(room, tmp_path)
    go_to(room, one, 1800, step=100)
    room.clock.set(jump)
    one.look()
    assert room.left("001") == 30 * MINUTE
    assert room.session.read().last[Act.CLOCK].facts == {"seconds": jump}
    go_to(room, one, 1829, step=100)
    assert room.one("001").frozen is Frozen.NO
    go_to(room, one, 2)
    assert room.one("001").frozen is Frozen.YES
    assert room.session.read().jumps == timedelta(seconds=jump)


def test_a_clock_that_is_slowly_put_right_is_no_jump(room: Room, tmp_path: Path) -> None:
    begin(room)
    one = supervisor(room, tmp_path)
    for _second in range(300):
        room.clock.go(1)
        room.clock.set(0.0005)
        one.look()
    assert room.session.read().jumps == timedelta()


def test_after_a_restart_of_the_host_the_hour_counts(room: Room, tmp_path: Path) -> None:
    begin(room)
    room.clock.go(600)
    room.clock.boot, room.clock.steady = "boot-2", 20.0
    supervisor(room, tmp_path).look()
    assert room.left("001") == 50 * MINUTE
    assert not room.session.read().jumps


def test_a_candidate_who_is_held_by_another_act_delays_nobody(room: Room, tmp_path: Path) -> None:

    begin(room)
    room.clock.go(3631)
    one = supervisor(room, tmp_path)
    with hold_candidate(room.session, "001", 1.0):
        one.look()
        assert (room.one("001").frozen, room.one("003").frozen) == (Frozen.NO, Frozen.YES)
    one.look()
    assert room.one("001").frozen is Frozen.YES


def test_machines_that_were_made_anew_lose_their_links_again(room: Room, tmp_path: Path) -> None:
    begin(room)
    one = supervisor(room, tmp_path)
    room.world.resets["small-c001"] = room.clock.steady + 5
    go_to(room, one, 3, step=1)
    room.world.links |= dict.fromkeys(room.world.links, True)  # what a new machine comes with
    go_to(room, one, 4, step=1)
    assert room.world.links == {"small-c001": False, "small-c002": True, "small-c003": True}


def test_a_fault_in_one_session_costs_no_other_its_end(tmp_path: Path) -> None:
    good, bad = make_room(tmp_path / "good"), make_room(tmp_path / "bad")
    for room in (good, bad):
        begin(room)
        room.clock.go(3631)
    broken = conduct(bad.session, bad.world)
    broken.session.audit.write_bytes(b"{}\n" + broken.session.audit.read_bytes())
    heard = Heard()
    conducts = [broken, conduct(good.session, good.world)]
    one = Supervisor(tmp_path / "good", good.clock, lambda: conducts, AtOnce(), heard)
    one.watches = {"bad": Watch(conducts[0]), "e6": Watch(conducts[1])}
    for _look in range(5):
        one.look()
    assert good.one("001").frozen is Frozen.YES
    assert len(heard.events) == 1
    assert "was changed" in heard.events[0].detail


def test_a_full_disk_is_tried_again(room: Room, tmp_path: Path) -> None:
    begin(room)
    room.world.full = True
    room.clock.go(3631)
    one = supervisor(room, tmp_path)
    one.look()
    assert room.one("001").frozen is Frozen.FAILED
    assert room.world.state("small-c001") == {PAUSED}
    room.world.full = False
    room.clock.go(30)
    one.look()
    assert room.one("001").frozen is Frozen.YES


def calls(act: Callable[[Room, Fault], object], home: Path, *, begun: bool) -> int:
    """Return how many calls to the outside an act makes."""
    room, fault = make_room(home), Fault()
    if begun:
        begin(room)
    act(room, fault)
    return fault.calls


def start_all(room: Room, fault: Fault) -> object:
    return start(conduct(room.session, room.world, fault), (), Phase.PRACTICAL)


def pause_all(room: Room, fault: Fault) -> object:
    return pause(conduct(room.session, room.world, fault), (), "fire alarm")


def freeze_all(room: Room, fault: Fault) -> object:
    return freeze(conduct(room.session, room.world, fault), (), "by hand")


@pytest.mark.parametrize("act", [start_all, pause_all, freeze_all])
def test_a_crash_at_any_call_is_finished_by_the_supervisor(
    act: Callable[[Room, Fault], object], tmp_path: Path
) -> None:
    begun = act is not start_all
    total = calls(act, tmp_path / "count", begun=begun)
    assert total > 15
    for number in range(1, total + 1):
        room = make_room(tmp_path / str(number))
        if begun:
            begin(room)
            room.clock.go(600)
        with pytest.raises(Crash):
            act(room, Fault(number))
        one = supervisor(room, tmp_path / str(number))
        for _look in range(3):
            room.clock.go(30)
            one.look()
        act(room, Fault())  # what was not even begun is asked for again
        for name in ALL:
            candidate = room.one(name)
            assert not candidate.unfinished, number
            seen, wanted = room.world.state(candidate.lab), RUNNING if act is start_all else PAUSED
            assert seen == {wanted}, number
            assert candidate.practical
            if act is freeze_all:
                assert candidate.frozen is Frozen.YES
                assert candidate.lab in room.world.cut
                assert f"{name}/freeze-1" in room.world.copies
            if act is pause_all:
                assert candidate.practical.left(room.clock.hour) >= candidate.times[Phase.PRACTICAL] - 700 * SECOND
                assert candidate.paused


def test_a_supervisor_that_is_killed_at_any_call_moves_no_deadline(tmp_path: Path) -> None:
    room, fault = make_room(tmp_path / "count"), Fault()
    begin(room)
    room.clock.go(3631)
    supervisor(room, tmp_path / "count", fault).look()
    for number in range(1, fault.calls + 1):
        home = tmp_path / str(number)
        room = make_room(home)
        begin(room)
        room.clock.go(3631)
        with pytest.raises(Crash):
            supervisor(room, home, Fault(number)).look()
        fresh = supervisor(room, home)
        go_to(room, fresh, 45, step=15)
        for name in ("001", "003"):
            assert room.one(name).frozen is Frozen.YES, number
            assert room.world.state(room.one(name).lab) == {PAUSED}
            ended = room.one(name).practical
            assert ended
            assert ended.allotted + ended.extended == HOUR
        assert room.one("002").frozen is Frozen.NO


@pytest.mark.parametrize("at", range(1, 30, 4))
def test_kill_9_in_a_real_process_leaves_a_chain_that_goes_on(tmp_path: Path, at: int) -> None:
    room = make_room(tmp_path)
    begin(room)
    pid = os.fork()
    if pid == 0:  # nothing below returns to pytest
        try:
            freeze_all(room, Kill(at))
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    found = find_session(tmp_path, "e6", room.clock)
    found.read()
    for lab in room.world.machines:  # the world of the dead process died with it
        room.world.machines[lab] = dict.fromkeys(room.world.machines[lab], RUNNING)
    again = Room(found, World(**vars(room.world)), conduct(found, room.world))
    one = supervisor(again, tmp_path)
    for _look in range(3):
        room.clock.go(30)
        one.look()
    for candidate in again.session.read().candidates.values():
        assert not candidate.unfinished
        assert candidate.frozen in {Frozen.NO, Frozen.YES}


def test_there_is_one_supervisor(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(Busy, match="one is enough"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_the_heartbeat_tells_whether_it_lives_and_what_comes_next(room: Room, tmp_path: Path) -> None:
    assert read_beat(tmp_path) is None
    begin(room)
    supervisor(room, tmp_path).look()
    beat = read_beat(tmp_path)
    assert beat
    assert beat.sessions == ("e6",)
    assert beat.next_freeze == room.clock.hour + HOUR + 30 * SECOND
    assert beat.alive(room.clock.read())
    room.clock.go(6)
    assert not beat.alive(room.clock.read())
    assert not Beat(2**22 + 1, "0@x", beat.looked, room.clock.steady, "boot-1").alive(room.clock.read())


def test_a_closed_session_is_left_alone(room: Room, tmp_path: Path) -> None:
    begin(room)
    freeze(room.conduct, (), "by hand")

    close(room.conduct, ())
    head = room.session.read().head
    room.clock.go(10_000)
    supervisor(room, tmp_path).look()
    assert room.session.read().head == head
