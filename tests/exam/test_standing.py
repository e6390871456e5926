from datetime import timedelta
from pathlib import Path

from labctl.exam.audit import Act, Step
from labctl.exam.model import Phase
from labctl.exam.standing import Frozen, Readiness, Stage
from tests.exam.sessions import START, HandClock, make_session

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def test_a_session_goes_through_its_stages(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    assert session.read().stage is Stage.CREATED
    for act, stage in (
        (Act.PREPARE, Stage.PREPARED), (Act.SEAL, Stage.SEALED), (Act.OPEN, Stage.OPEN), (Act.PREPARE, Stage.OPEN),
    ):  # fmt: skip
        with session.doing(act):
            assert act in session.read().unfinished
        assert session.read().stage is stage
        assert not session.read().unfinished
    with session.doing(Act.START, "001", phase="practical"):
        pass
    assert session.read().stage is Stage.STARTED


def test_each_candidate_has_a_clock_of_their_own(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock)
    for number in ("001", "002"):
        with session.doing(Act.START, number) as told:
            told.update(phase="practical", began="2027-05-18T06:30:00.000000Z")
    standing = session.read()
    first, second, third = (standing.candidates[number] for number in ("001", "002", "003"))
    assert first.practical is not None
    assert second.practical is not None
    assert third.clock is None
    assert first.practical.deadline(clock.hour) == START + HOUR
    assert second.practical.deadline(clock.hour) == START + HOUR * 4 / 3
    assert standing.freeze_time("002", clock.hour) == START + HOUR * 4 / 3 + 30 * SECOND
    assert standing.freeze_time("003", clock.hour) is None


def test_a_pause_moves_the_deadline_by_its_length(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock)
    with session.doing(Act.START, "001") as told:
        told["phase"] = "practical"
    clock.go(600)
    with session.doing(Act.PAUSE, "001", reason="fire alarm"):
        clock.go(2)
    clock.go(298)
    paused = session.read().candidate("001")
    assert paused.paused
    assert not paused.running
    assert paused.practical
    assert paused.practical.left(clock.hour) == 50 * MINUTE
    assert session.read().freeze_time("001", clock.hour) is None
    with session.doing(Act.RESUME, "001"):
        clock.go(1)
    going = session.read().candidate("001").practical
    assert going
    assert going.left(clock.hour) == 50 * MINUTE
    assert going.deadline(clock.hour) == START + HOUR + 301 * SECOND
    clock.go(60)
    assert going.left(clock.hour) == 49 * MINUTE


def test_extensions_and_compensations_add_up(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock)
    with session.doing(Act.START, "001") as told:
        told["phase"] = "practical"
    session.note(Act.EXTEND, "001", seconds=300, phase="practical", reason="late")
    session.note(Act.INCIDENT, "001", seconds=60, text="keyboard", reason="keyboard")
    candidate = session.read().candidate("001")
    assert candidate.practical
    assert candidate.practical.left(clock.hour) == HOUR + 6 * MINUTE
    assert [entry.facts["seconds"] for entry in candidate.entries(Act.EXTEND)] == [300]


def test_a_freeze_ends_the_clock_and_shows_how_far_it_came(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock)
    with session.doing(Act.START, "001") as told:
        told["phase"] = "practical"
    clock.go(3000)
    with session.doing(Act.FREEZE, "001", reason="hand") as told:
        clock.go(3)
        assert session.read().candidate("001").frozen is Frozen.UNDER_WAY
        told["left"] = "suspended"
    frozen = session.read().candidate("001")
    assert frozen.frozen is Frozen.YES
    assert not frozen.running
    clock.go(100)
    assert frozen.practical
    assert frozen.practical.left(clock.hour) == 10 * MINUTE
    assert session.read().freeze_time("001", clock.hour) is None


def test_the_next_phase_ends_the_one_before(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock)
    for phase in ("preparation", "interview", "interview"):
        with session.doing(Act.START, "001") as told:
            told["phase"] = phase
        clock.go(60)
    candidate = session.read().candidate("001")
    assert candidate.phase is Phase.INTERVIEW
    assert candidate.clocks[Phase.PREPARATION].ended == START + MINUTE
    assert candidate.clocks[Phase.INTERVIEW].begun == START + MINUTE
    assert not candidate.running


def test_a_jump_of_the_host_clock_leaves_everybody_their_time(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock)
    with session.doing(Act.START, "001") as told:
        told["phase"] = "practical"
    clock.go(60)
    clock.set(-3600)
    clock.go(60)
    session.note(Act.MESSAGE, "", text="hello")  # whoever writes next finds the jump
    standing = session.read()
    practical = standing.candidate("001").practical
    assert practical
    assert practical.left(clock.hour) == 58 * MINUTE
    assert standing.jumps == -HOUR
    clock.set(90)
    session.note(Act.MESSAGE, "", text="hello")
    assert session.read().jumps == 90 * SECOND - HOUR
    after = session.read().candidate("001").practical
    assert after
    assert after.left(clock.hour) == 58 * MINUTE


def test_a_rehearsal_is_short_and_says_so(tmp_path: Path) -> None:
    clock = HandClock()
    session = make_session(tmp_path, clock, rehearsal=True, minute=0.5)
    standing = session.read()
    assert standing.rehearsal
    assert standing.candidate("002").times[Phase.PRACTICAL] == 40 * SECOND
    assert standing.grace == 0.25 * SECOND


def test_what_failed_is_no_longer_unfinished(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    with session.writing() as log:
        log.add(Act.PREPARE, Step.BEGUN, "001")
        assert log.standing.candidate("001").unfinished == {Act.PREPARE}
        log.add(Act.PREPARE, Step.FAILED, "001", reason="no room")
    candidate = session.read().candidate("001")
    assert not candidate.unfinished
    assert (candidate.readiness, candidate.reason) == (Readiness.FAILED, "no room")
