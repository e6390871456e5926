"""The verbs of evidence, as people type them."""

from pathlib import Path

import pytest

from labctl.exam.session import Session
from tests.cli.conftest import Installation
from tests.exam.evidence.folders import collected, open_up


@pytest.fixture
def labctl(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def session(labctl: Installation) -> Session:
    return collected(labctl.home / "labctl")


def test_a_session_is_verified_by_its_name_or_its_folder(labctl: Installation, session: Session) -> None:
    done = labctl.run("exam", "verify", "e6")
    assert done.returncode == 0, done.stderr
    assert session.read().head in done.stdout
    found = labctl.json("exam", "verify", str(session.evidence("001")))
    assert found["ok"] is True
    assert found["candidates"] == ["001"]


def test_what_was_changed_is_named_and_the_exit_code_says_so(labctl: Installation, session: Session) -> None:
    open_up(session.evidence("001"))
    (session.evidence("001") / "configuration/web.diff").write_text("other")
    done = labctl.run("exam", "verify", "e6")
    assert done.returncode == 1
    assert "evidence/001/configuration/web.diff" in done.stderr
    assert labctl.run("exam", "verify", "e6", "--head", "0" * 64).returncode == 1


def test_a_folder_of_something_else_is_an_error(labctl: Installation) -> None:
    assert labctl.run("exam", "verify", "nothing").returncode == 1


def test_nothing_is_collected_of_a_session_in_which_nobody_worked(labctl: Installation, session: Session) -> None:
    done = labctl.run("exam", "collect", "e6")
    assert done.returncode == 6
    assert len(list((session.folder / "evidence").iterdir())) == 2


def test_a_purge_is_refused_before_its_time_then_asks(labctl: Installation, session: Session) -> None:
    assert labctl.run("exam", "purge", "e6", "--yes").returncode == 6
    done = labctl.run("exam", "purge", "e6", "--early")  # nobody types the name
    assert done.returncode == 130
    assert session.folder.exists()
    assert labctl.run("exam", "purge", "e6", "--early", "--yes").returncode == 0
    assert not session.folder.exists()
