"""A session in which nobody has begun can be ended: what it made goes, what it wrote stays."""

from contextlib import suppress
from pathlib import Path

import pytest

from labctl.errors import Refused
from labctl.exam.acts import close
from labctl.exam.audit import Act, Step, read_entries
from labctl.exam.conduct import Conduct
from labctl.exam.documents.journal import told_entries
from labctl.exam.giving_up import give_up
from labctl.exam.model import Phase
from labctl.exam.session import Session, create_session
from labctl.exam.standing import Stage
from labctl.exam.start import start
from tests.exam.doubles import FakeLabs, World, conduct
from tests.exam.sessions import HandClock, about, make_session
from tests.exam.test_acts import ALL, Room, became, make_room
from tests.lab.doubles import Crash, Fault

WHY = "the strike was announced"


def labs_of(using: Conduct) -> FakeLabs:
    assert isinstance(using.labs, FakeLabs)
    return using.labs


def end(room: Room, using: Conduct | None = None) -> dict[str, str]:
    using = using or room.conduct
    return became(give_up(using, labs_of(using), WHY, ()))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return make_room(tmp_path)


def test_labs_go_and_the_folder_stays(room: Room) -> None:
    kept = {path.name: path.stat().st_size for path in room.session.folder.iterdir() if path.name != "audit.jsonl"}
    assert end(room) == dict.fromkeys(ALL, "done")
    assert room.world.machines == {}
    standing = room.session.read()
    assert standing.stage is Stage.CLOSED
    assert all(one.closed for one in standing.candidates.values())
    assert kept.items() <= {path.name: path.stat().st_size for path in room.session.folder.iterdir()}.items()
    assert [entry.facts["reason"] for entry in told_entries(standing)] == [WHY]
    assert end(room) == dict.fromkeys(ALL, "already")


def test_that_it_is_given_up_is_written_before_the_first_lab_goes(room: Room) -> None:
    with pytest.raises(Crash):
        end(room, conduct(room.session, room.world, Fault(8)))
    entries = [entry for entry in read_entries(room.session.audit) if entry.act is Act.CLOSE]
    assert (entries[0].step, entries[0].facts) == (Step.BEGUN, {"reason": WHY, "given_up": True})


@pytest.mark.parametrize("call", range(1, 20, 3))
def test_what_a_crash_interrupts_is_finished_by_saying_it_again(tmp_path: Path, call: int) -> None:
    room = make_room(tmp_path)
    with suppress(Crash):
        end(room, conduct(room.session, room.world, Fault(call)))
    if Act.CLOSE in room.session.read().unfinished:
        with pytest.raises(Refused, match="is being given up"):
            start(room.conduct, (), Phase.PRACTICAL)
    end(room)
    assert room.world.machines == {}
    assert room.session.read().stage is Stage.CLOSED


def test_a_lab_that_cannot_go_keeps_the_session_from_its_end(room: Room) -> None:
    room.world.refusing.add("small-c002")
    assert end(room) == {"001": "done", "002": "failed", "003": "done"}
    assert room.session.read().stage is Stage.OPEN
    room.world.refusing.clear()
    assert end(room) == {"001": "already", "002": "done", "003": "already"}
    assert room.session.read().stage is Stage.CLOSED


@pytest.mark.parametrize("phase", [Phase.PREPARATION, Phase.PRACTICAL])
def test_once_somebody_has_begun_nothing_is_removed(room: Room, phase: Phase) -> None:
    start(room.conduct, ["002"], phase)
    with pytest.raises(Refused, match="have begun: 002") as told:
        end(room)
    assert told.value.hint == "labctl exam close e6"
    assert len(room.world.machines) == len(ALL)


def test_a_reason_is_needed(room: Room) -> None:
    with pytest.raises(Refused, match="a reason"):
        give_up(room.conduct, labs_of(room.conduct), " ", ())
    assert len(room.world.machines) == len(ALL)


def test_a_plain_close_of_what_never_started_names_the_way(tmp_path: Path) -> None:
    room = make_room(tmp_path)
    with pytest.raises(Refused, match="nobody has begun") as told:
        close(room.conduct, ())
    assert told.value.hint == 'labctl exam close e6 --give-up --reason "…"'


def test_a_lab_of_nobody_else_is_removed_and_one_that_was_never_made_is_not(tmp_path: Path) -> None:
    clock = HandClock()
    session, world = make_session(tmp_path, clock), World(clock)
    for lab in ("small-c001", "small-c002"):  # the second is somebody's who did not wait for the exam
        world.add(lab)
    with session.doing(Act.PREPARE, "001"):
        pass
    using = conduct(session, world)
    give_up(using, labs_of(using), WHY, ())
    assert list(world.machines) == ["small-c002"]


def test_a_lab_that_a_later_session_made_anew_is_left_to_it(room: Room, tmp_path: Path) -> None:
    room.clock.go(60)
    other: Session = create_session(tmp_path, "e7", about(1), room.clock)
    with other.doing(Act.PREPARE, "001"):
        pass
    using = room.conduct
    results = give_up(using, labs_of(using), WHY, (("e7", other.read()),))
    assert 'was made anew for the session "e7"' in results["001"].reason
    assert list(room.world.machines) == ["small-c001"]
    assert room.session.read().stage is Stage.CLOSED
