"""What a proctor does, on a world of labs: who may be meant, what is written, and what can be said again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from labctl.errors import Refused
from labctl.exam.acts import close, extend, message, note_incident, pause, resume
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Became, Conduct, Results
from labctl.exam.doors import Built
from labctl.exam.freezing import freeze
from labctl.exam.model import Phase
from labctl.exam.resetting import reset
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding, Frozen, Stage
from labctl.exam.start import start
from tests.exam.doubles import PAUSED, RUNNING, World, conduct, open_session
from tests.exam.sessions import HandClock, make_session

ALL = ("001", "002", "003")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dataclass
class Room:
    """A session on a world."""

    session: Session
    world: World
    conduct: Conduct

    @property
    def clock(self) -> HandClock:
        return self.world.clock

    def one(self, number: str) -> CandidateStanding:
        return self.session.read().candidate(number)

    def left(self, number: str) -> timedelta:
        clock = self.one(number).clock
        assert clock
        return clock.left(self.clock.hour)


def make_room(home: Path, count: int = 3, **changes: JsonValue) -> Room:
    clock = HandClock()
    session, world = make_session(home, clock, count, **changes), World(clock)
    open_session(session, world)
    return Room(session, world, conduct(session, world))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return make_room(tmp_path)


def begin(room: Room, *numbers: str) -> Results:
    return start(room.conduct, numbers, Phase.PRACTICAL)[0]


def became(results: Results) -> dict[str, str]:
    return {number: str(result.became) for number, result in results.items()}


def test_all_begin_at_the_same_instant_with_their_links_pulled(room: Room) -> None:
    results, burst = start(room.conduct, (), Phase.PRACTICAL)
    assert became(results) == dict.fromkeys(ALL, "done")
    assert burst
    assert burst.machines == 6
    assert {frozenset(room.world.state(lab)) for lab in room.world.machines} == {frozenset({RUNNING})}
    assert set(room.world.links.values()) == {False}
    begun = {one.practical.begun for one in room.session.read().candidates.values() if one.practical}
    assert len(begun) == 1
    assert room.session.read().last[Act.START].facts["spread"] == 0.0


def test_starting_again_changes_nothing(room: Room) -> None:
    begin(room)
    room.clock.go(60)
    assert became(begin(room)) == dict.fromkeys(ALL, "already")
    assert room.left("001") == 59 * MINUTE


def test_a_lab_that_does_not_start_holds_back_nobody_and_can_start_later(room: Room) -> None:
    room.world.refusing.add("small-c002")
    assert became(begin(room)) == {"001": "done", "002": "failed", "003": "done"}
    assert room.one("002").practical is None
    room.world.refusing.clear()
    room.clock.go(300)
    assert became(begin(room)) == {"001": "already", "002": "done", "003": "already"}
    assert room.left("002") == HOUR * 4 / 3


def test_every_act_is_written_before_it_is_done(room: Room) -> None:
    begin(room)
    steps = [(entry.act, entry.step) for entry in room.one("001").history]
    assert steps == [
        (Act.PREPARE, Step.BEGUN), (Act.PREPARE, Step.DONE), (Act.START, Step.BEGUN), (Act.START, Step.DONE)
    ]  # fmt: skip


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_nothing_starts_before_the_session_is_open(tmp_path: Path, stage: int) -> None:
    clock = HandClock()
    session, world = make_session(tmp_path, clock), World(clock)
    for act in (Act.PREPARE, Act.SEAL)[:stage]:
        with session.doing(act):
            pass
    with pytest.raises(Refused, match="this comes later") as caught:
        start(conduct(session, world), (), Phase.PRACTICAL)
    assert caught.value.hint == f"labctl exam {['prepare', 'seal', 'open'][stage]} e6"


def test_a_pause_stops_clock_and_machines_of_one_candidate(room: Room) -> None:
    begin(room)
    room.clock.go(600)
    assert became(pause(room.conduct, ["002"], "unwell")) == {"002": "done"}
    assert room.world.state("small-c002") == {PAUSED}
    assert room.world.state("small-c001") == {RUNNING}
    room.clock.go(900)
    assert became(pause(room.conduct, ["002"], "unwell")) == {"002": "already"}
    assert room.left("002") == 70 * MINUTE
    assert became(resume(room.conduct, ["002"], "well")) == {"002": "done"}
    assert became(resume(room.conduct, ["002"], "well")) == {"002": "already"}
    assert room.world.state("small-c002") == {RUNNING}
    assert room.left("002") == 70 * MINUTE
    assert room.left("001") == 35 * MINUTE


def test_who_has_no_right_to_pauses_is_not_paused(tmp_path: Path) -> None:
    room = make_room(tmp_path)
    listed = room.session.read().about["candidates"]
    assert isinstance(listed, list)
    other: list[JsonValue] = [{**one, "pauses": False} for one in listed if isinstance(one, dict)]
    session = make_session(tmp_path / "other", room.clock, candidates=other)
    open_session(session, room.world)
    strict = Room(session, room.world, conduct(session, room.world))
    begin(strict)
    (result,) = pause(strict.conduct, ["001"], "unwell").values()
    assert result.became is Became.REFUSED
    assert "no right to pauses" in result.reason


@pytest.mark.parametrize("act", [pause, resume])
@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_must_be_given(room: Room, act: Callable[..., Results], reason: str) -> None:
    begin(room)
    head = room.session.read().head
    with pytest.raises(Refused, match="reason"):
        act(room.conduct, ["001"], reason)
    with pytest.raises(Refused, match="reason"):
        extend(room.conduct, ["001"], MINUTE, reason)
    with pytest.raises(Refused, match="reason"):
        note_incident(room.conduct, ["001"], reason, MINUTE)
    assert room.session.read().head == head


def test_more_time_is_added_and_never_taken(room: Room) -> None:
    begin(room)
    extend(room.conduct, ["001"], 5 * MINUTE, "late")
    assert room.left("001") == 65 * MINUTE
    for length in (timedelta(), -MINUTE, timedelta(hours=9)):
        with pytest.raises(Refused, match="eight hours"):
            extend(room.conduct, ["001"], length, "late")
    assert room.left("001") == 65 * MINUTE
    assert room.left("003") == HOUR


def test_frozen_work_goes_on_with_all_its_time_when_more_is_given(room: Room) -> None:
    begin(room)
    room.clock.go(3000)
    freeze(room.conduct, ["001"], "by mistake")
    room.clock.go(900)
    assert became(extend(room.conduct, ["001"], 5 * MINUTE, "it was a mistake")) == {"001": "done"}
    assert room.world.state("small-c001") == {RUNNING}
    assert "small-c001" not in room.world.cut
    assert room.left("001") == 15 * MINUTE
    assert room.one("001").frozen is Frozen.NO
    freeze(room.conduct, ["001"], "done")
    assert sorted(room.world.copies) == ["001/freeze-1", "001/freeze-2"]


def test_after_a_freeze_at_the_deadline_more_time_counts_from_now(room: Room) -> None:
    begin(room)
    room.clock.go(3640)
    freeze(room.conduct, ["001"], "deadline")
    room.clock.go(900)
    extend(room.conduct, ["001"], 5 * MINUTE, "the fire alarm was not noted")
    assert room.left("001") == 5 * MINUTE


def test_a_freeze_cuts_consoles_stops_machines_and_keeps_a_copy(room: Room) -> None:
    begin(room)
    room.clock.go(60)
    assert became(freeze(room.conduct, ["001", "002"], "by hand")) == {"001": "done", "002": "done"}
    assert room.world.cut == {"small-c001", "small-c002"}
    assert room.world.state("small-c001") == {PAUSED}
    assert room.world.state("small-c003") == {RUNNING}
    assert sorted(room.world.copies) == ["001/freeze-1", "002/freeze-1"]
    facts = room.one("001").last[Act.FREEZE].facts
    assert (facts["folder"], facts["left"]) == ("frozen/001/freeze-1", "suspended")
    assert became(freeze(room.conduct, ["001"], "again")) == {"001": "already"}


def test_a_freeze_may_leave_the_machines_running(room: Room) -> None:
    begin(room)
    freeze(room.conduct, ["001"], "by hand", run_on=True)
    assert room.world.state("small-c001") == {RUNNING}
    assert room.one("001").running


def test_somebody_who_is_paused_can_be_frozen(room: Room) -> None:
    begin(room)
    pause(room.conduct, ["001"], "unwell")
    room.clock.go(600)
    assert became(freeze(room.conduct, ["001"], "went home")) == {"001": "done"}
    assert room.one("001").frozen is Frozen.YES
    assert room.left("001") == HOUR


def test_a_freeze_waits_for_a_reset_with_consoles_cut(room: Room) -> None:
    begin(room)
    room.world.resets["small-c001"] = room.clock.steady + 5
    freeze(room.conduct, ["001"], "by hand")
    assert room.clock.steady >= room.world.resets["small-c001"]
    assert room.one("001").frozen is Frozen.YES
    assert room.world.state("small-c001") == {PAUSED}


def test_a_full_disk_keeps_the_work_suspended_until_there_is_room(room: Room) -> None:
    begin(room)
    room.world.full = True
    assert became(freeze(room.conduct, ["001"], "by hand")) == {"001": "failed"}
    assert room.one("001").frozen is Frozen.FAILED
    assert room.world.state("small-c001") == {PAUSED}
    assert became(close(room.conduct, ["001"])) == {"001": "refused"}
    room.world.full = False
    assert became(freeze(room.conduct, ["001"], "by hand")) == {"001": "done"}
    assert list(room.world.copies) == ["001/freeze-1"]


def test_the_recette_shows_frozen_work_and_not_before(room: Room) -> None:
    begin(room)
    results, _burst = start(room.conduct, (), Phase.RECETTE)
    assert became(results) == dict.fromkeys(ALL, "refused")
    freeze(room.conduct, ["001"], "by hand")
    results, burst = start(room.conduct, ["001"], Phase.RECETTE)
    assert became(results) == {"001": "done"}
    assert burst
    assert room.world.state("small-c001") == {RUNNING}
    assert room.left("001") == 20 * MINUTE
    assert room.one("001").running
    pause(room.conduct, ["001"], "fire alarm")
    assert room.world.state("small-c001") == {PAUSED}
    resume(room.conduct, ["001"], "over")
    assert room.world.state("small-c001") == {RUNNING}


def test_preparation_and_interview_have_clocks_and_no_machines(room: Room) -> None:
    for phase, minutes in ((Phase.PREPARATION, 30), (Phase.INTERVIEW, 20)):
        results, burst = start(room.conduct, ["001"], phase)
        assert became(results) == {"001": "done"}
        assert burst is None
        assert room.left("001") == minutes * MINUTE
        pause(room.conduct, ["001"], "fire alarm")
        room.clock.go(60)
        resume(room.conduct, ["001"], "over")
        assert room.world.state("small-c001") == {PAUSED}
    begin(room, "001")
    assert became(start(room.conduct, ["001"], Phase.INTERVIEW)[0]) == {"001": "already"}
    assert became(start(room.conduct, ["002"], Phase.RECETTE)[0]) == {"002": "done"}
    assert became(begin(room, "002")) == {"002": "refused"}


def test_messages_and_incidents_are_kept(room: Room) -> None:
    begin(room)
    message(room.conduct, (), "Ten minutes are left")
    message(room.conduct, ["002"], "Look at the demand again")
    assert room.session.read().last[Act.MESSAGE].facts == {"text": "Ten minutes are left"}
    assert room.one("002").last[Act.MESSAGE].facts == {"text": "Look at the demand again"}
    with pytest.raises(Refused, match="empty"):
        message(room.conduct, (), " ")
    note_incident(room.conduct, (), "a siren outside", timedelta())
    assert room.session.read().last[Act.INCIDENT].facts == {"reason": "a siren outside"}
    assert became(note_incident(room.conduct, (), "fire alarm", 7 * MINUTE)) == dict.fromkeys(ALL, "done")
    assert [room.left(number) for number in ALL] == [67 * MINUTE, 87 * MINUTE, 67 * MINUTE]
    assert room.one("003").last[Act.INCIDENT].facts == {"reason": "fire alarm", "compensation": 420.0}


@dataclass
class FakeResetter:
    """Makes machines of a world anew, if their links are plugged in; a deadline may come meanwhile."""

    world: World
    meanwhile: Callable[[], object] = lambda: None
    asked: list[tuple[str, ...]] = field(default_factory=list)
    ready: bool = True

    def reset(self, lab: str, nodes: Sequence[str]) -> Built:
        assert self.world.links[lab], "the gate logs in over the management link"
        self.asked.append((lab, *nodes))
        self.meanwhile()
        return Built(ready=self.ready, reason="" if self.ready else "no login")


def test_a_candidate_resets_as_often_as_the_exam_allows(tmp_path: Path) -> None:
    room = make_room(tmp_path, reset="machine", resets=2)
    resetter = FakeResetter(room.world)
    begin(room, "002")
    with pytest.raises(Refused, match="does not work"):
        reset(room.conduct, resetter, "001", ["server"])
    begin(room)
    with pytest.raises(Refused, match="does not allow"):
        reset(room.conduct, resetter, "001", [])
    assert reset(room.conduct, resetter, "001", ["server"]).became is Became.DONE
    assert not room.world.links["small-c001"]
    resetter.ready = False
    result = reset(room.conduct, resetter, "001", ["client"])
    assert (result.became, result.reason) == (Became.FAILED, "no login")
    assert not room.world.links["small-c001"]
    with pytest.raises(Refused, match="as often"):
        reset(room.conduct, resetter, "001", ["server"])
    reset(room.conduct, resetter, "001", [], own=False, reason="a broken disk")
    assert resetter.asked == [("small-c001", "server"), ("small-c001", "client"), ("small-c001",)]
    assert [entry.step for entry in room.one("001").entries(Act.RESET)][:2] == [Step.BEGUN, Step.DONE]


def test_no_reset_without_a_policy_nor_after_the_freeze(room: Room) -> None:
    begin(room)
    with pytest.raises(Refused, match="does not allow"):
        reset(room.conduct, FakeResetter(room.world), "001", ["server"])
    freeze(room.conduct, ["001"], "by hand")
    with pytest.raises(Refused, match="does not work"):
        reset(room.conduct, FakeResetter(room.world), "001", ["server"], own=False)


def test_a_deadline_in_the_middle_of_a_reset_is_kept(tmp_path: Path) -> None:
    room = make_room(tmp_path, reset="lab", resets=1)
    begin(room)
    room.clock.go(3640)

    def deadline() -> None:
        assert became(freeze(conduct(room.session, room.world), ["001"], "deadline")) == {"001": "done"}

    assert reset(room.conduct, FakeResetter(room.world, deadline), "001", []).became is Became.DONE
    assert room.one("001").frozen is Frozen.YES
    assert room.world.state("small-c001") == {PAUSED}


def test_a_session_closes_with_its_last_candidate(room: Room) -> None:
    begin(room, "001")
    assert became(close(room.conduct, ["001"])) == {"001": "refused"}
    freeze(room.conduct, ["001"], "by hand")
    assert became(close(room.conduct, ["001"])) == {"001": "done"}
    assert room.session.read().stage is Stage.STARTED
    close(room.conduct, ())
    assert room.session.read().stage is Stage.CLOSED
    head = room.session.read().head
    for act in (lambda: begin(room), lambda: freeze(room.conduct, (), "x"), lambda: message(room.conduct, (), "x")):
        with pytest.raises(Refused, match="closed"):
            act()
    assert room.session.read().head == head
