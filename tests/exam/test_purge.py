"""A session goes as a whole when somebody says so, not before its time, and leaves no person's trace."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from labctl.errors import ExitCode, Refused
from labctl.exam.audit import Act, Step
from labctl.exam.purge import find_retention, finish_purges, purge_candidate, purge_session, refuse_purge
from labctl.exam.session import Session, list_sessions
from tests.exam.evidence.folders import collected
from tests.exam.sessions import START, HandClock, make_session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return collected(tmp_path)


def test_the_retention_counts_from_the_last_act(session: Session) -> None:
    found = find_retention(session.read(), START + timedelta(days=1))
    assert found.until == START + timedelta(days=365)
    assert found.left == 365
    assert not found.over
    assert find_retention(session.read(), START + timedelta(days=365)).over
    clock = session.clock
    assert isinstance(clock, HandClock)
    clock.go(86400)
    session.note(Act.VERIFY)  # a look makes nobody's data live longer
    assert find_retention(session.read(), START).until == START + timedelta(days=365)


def test_before_its_time_a_session_stays_unless_somebody_insists(session: Session) -> None:
    retention = find_retention(session.read(), START)
    with pytest.raises(Refused, match="2028-05-17") as told:
        refuse_purge(session, session.read(), retention, early=False)
    assert told.value.exit_code is ExitCode.REFUSED
    refuse_purge(session, session.read(), retention, early=True)


def test_a_rehearsal_may_go_at_once(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock(), 1, rehearsal=True)
    refuse_purge(session, session.read(), find_retention(session.read(), START), early=False)


def test_a_session_under_way_stays(session: Session) -> None:
    with session.writing() as log:
        log.add(Act.PREPARE, Step.DONE, "001", result="ready")
        log.add(Act.START, Step.DONE, "001", phase="practical")
    retention = find_retention(session.read(), START + timedelta(days=999))
    with pytest.raises(Refused, match="001"):
        refuse_purge(session, session.read(), retention, early=True)


def test_nothing_is_left_but_that_it_was(session: Session, tmp_path: Path) -> None:
    head = session.read().head
    purge_session(session, START)
    assert list_sessions(tmp_path) == ()
    left = list((tmp_path / "exams").iterdir())
    assert [path.name for path in left] == ["purged.jsonl"]
    record = json.loads(left[0].read_text())
    assert record["session"] == "e6"
    assert record["candidates"] == 2
    assert record["head"] != head  # the purge itself is the last entry
    assert "001" not in left[0].read_text()


def test_a_purge_that_was_killed_is_finished(session: Session, tmp_path: Path) -> None:
    (tmp_path / "exams/.leaving").mkdir()
    session.folder.rename(tmp_path / "exams/.leaving/e6-0123")
    assert list_sessions(tmp_path) == ()
    finish_purges(tmp_path)
    assert list((tmp_path / "exams").iterdir()) == []


def test_one_candidate_goes_and_the_log_says_so(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock(), 2)
    for owner in ("c001", "c002"):
        for name in (
            f"evidence/{owner}/x",
            f"start/{owner}/web.json.gz",
            f"recette/{owner}-end.json",
            f"flows/{owner}.n.json",
        ):
            path = session.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    purge_candidate(session, "001")
    left = {path.name for path in session.folder.rglob("*") if "c001" in str(path)}
    assert left == set()
    assert (session.folder / "evidence/c002/x").exists()
    assert session.read().candidates["001"].last[Act.PURGE].step is Step.DONE
