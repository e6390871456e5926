import multiprocessing
from pathlib import Path

import pytest

from labctl.errors import Busy, LabctlError, Refused
from labctl.exam.audit import Act, BrokenLog, Step
from labctl.exam.session import Session, check_name, create_session, find_session, list_sessions
from labctl.exam.signing import fingerprint, is_signed, public_pem, sign
from labctl.exam.standing import Stage
from tests.exam.sessions import HandClock, about, make_session


def test_a_session_is_found_again_and_is_for_root_alone(tmp_path: Path) -> None:
    made = make_session(tmp_path, HandClock())
    found = find_session(tmp_path, "e6")
    assert found.read() == made.read()
    assert list_sessions(tmp_path) == ("e6",)
    assert {path.stat().st_mode & 0o77 for path in (tmp_path / "exams").rglob("*")} == {0}


@pytest.mark.parametrize("name", ["", "../x", "E6", "6e", "a" * 40, "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(LabctlError, match="e6-2027"):
        check_name(name)


def test_an_unknown_session_is_told_with_those_there_are(tmp_path: Path) -> None:
    make_session(tmp_path, HandClock())
    with pytest.raises(LabctlError, match='"e7"; there are: e6'):
        find_session(tmp_path, "e7")


def test_making_it_again_changes_nothing_and_another_one_is_refused(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    head = session.read().head
    assert make_session(tmp_path, HandClock()).read().head == head
    assert len(create_session(tmp_path, "e6", about(5), HandClock()).read().candidates) == 5  # nothing is made yet
    assert len(create_session(tmp_path, "e6", about(3), HandClock()).read().candidates) == 3
    with session.doing(Act.PREPARE, "001"):
        pass
    with pytest.raises(Refused, match="candidates"):
        create_session(tmp_path, "e6", about(4), HandClock())


def test_an_unknown_candidate_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabctlError, match=r'"009".*001, 002, 003'):
        make_session(tmp_path, HandClock()).read().candidate("009")


def test_two_readers_see_what_one_wrote(tmp_path: Path) -> None:
    one = make_session(tmp_path, HandClock())
    other = find_session(tmp_path, "e6", HandClock())
    other.read()
    one.note(Act.MESSAGE, "001", text="a")
    other.note(Act.MESSAGE, "001", text="b")
    one.note(Act.MESSAGE, "001", text="c")
    assert [entry.facts["text"] for entry in other.read().candidate("001").entries(Act.MESSAGE)] == ["a", "b", "c"]


def fail(session: Session) -> None:
    with session.doing(Act.COLLECT, "001") as told:
        told["bytes"] = 3
        raise Refused("no room")


def test_an_act_that_fails_is_told_and_one_that_dies_stays_open(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    with pytest.raises(Refused):
        fail(session)
    last = session.read().candidate("001").history[-1]
    assert (last.step, last.facts) == (Step.FAILED, {"bytes": 3, "error": "no room"})
    with pytest.raises(KeyboardInterrupt), session.doing(Act.COLLECT, "001"):
        raise KeyboardInterrupt
    assert session.read().candidate("001").unfinished == {Act.COLLECT}


def test_a_log_that_became_shorter_is_told(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    session.note(Act.MESSAGE, "", text="a")
    content = session.audit.read_bytes()
    session.audit.write_bytes(content.splitlines(keepends=True)[0])
    with pytest.raises(BrokenLog, match="gone"):
        session.read()


def write_many(folder: Path, count: int) -> None:
    session = Session(folder)
    for number in range(count):
        session.note(Act.MESSAGE, "", text=str(number))


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=write_many, args=(session.folder, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert session.read().seq == 61


def test_a_log_that_is_held_is_busy(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock())
    with session.writing(), pytest.raises(Busy, match="e6"), Session(session.folder, patience=0.1).writing():
        pass
    assert session.read().stage is Stage.CREATED


def test_the_key_of_a_session_signs_and_stays(tmp_path: Path) -> None:
    pem = public_pem(tmp_path)
    signature = sign(tmp_path, b"manifest")
    assert public_pem(tmp_path) == pem
    assert is_signed(pem, b"manifest", signature)
    assert not is_signed(pem, b"manifesto", signature)
    assert len(fingerprint(pem)) == 32
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key.pem").write_bytes(b"nothing")
    with pytest.raises(Refused, match="changed"):
        sign(tmp_path, b"manifest")
