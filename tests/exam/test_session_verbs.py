"""The verbs of a session as people type them, on libvirt's test driver."""

import json
import signal
import subprocess
import time
from pathlib import Path

import click
import pytest

from labctl.cli.exam_opening import read_length
from labctl.exam.audit import Act, Step
from labctl.exam.moments import HostClock
from labctl.exam.seal import Cost, seal
from labctl.exam.session import Session, create_session
from labctl.exam.standing import Stage
from labctl.exam.supervise import read_beat
from tests.cli.conftest import Installation
from tests.exam.papers import GOOD, SCENARIO
from tests.exam.sessions import about
from tests.exam.test_seal import CHEAP, WORDS
from tests.processes import LABCTL

LIST = "number;name;time_factor\n001;Ada Lovelace;\n002;Bob;4/3\n"


@pytest.fixture
def labctl(tmp_path: Path) -> Installation:
    (tmp_path / "candidates.csv").write_text(LIST, encoding="utf-8")
    (tmp_path / "words").write_text(f"{WORDS}\n", encoding="utf-8")
    (tmp_path / "wrong").write_text("something else\n", encoding="utf-8")
    (tmp_path / "exam.yml").write_bytes(GOOD.read_bytes())
    (tmp_path / SCENARIO.name).write_bytes(SCENARIO.read_bytes())
    return Installation(tmp_path)


@pytest.fixture
def session(labctl: Installation) -> Session:
    """A session whose labs are said to be ready: the test driver runs none."""
    found = create_session(labctl.home / "labctl", "e6", about(2), HostClock())
    (found.papers / "exam.yml").write_text("secret", encoding="utf-8")
    for number in ("001", "002"):
        with found.doing(Act.PREPARE, number) as told:
            told["result"] = "ready"
    with found.doing(Act.PREPARE):
        pass
    return found


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("5", 300), ("5m", 300), ("5min", 300), ("90s", 90), ("1h30", 5400), ("1h", 3600), ("1H30M", 5400),
     ("2m30s", 150), ("0s", 0)],
)  # fmt: skip
def test_a_length_is_read_as_people_type_it(typed: str, seconds: int) -> None:
    command = click.Command("x")
    (argument,) = click.Command("x", params=[click.Argument(["length"])]).params
    length = read_length(click.Context(command), argument, typed)
    assert length is not None
    assert length.total_seconds() == seconds


@pytest.mark.parametrize("typed", ["", "soon", "-5m", "5h5h", "1.5h", "99999m"])
def test_what_is_no_length_is_a_usage_error(typed: str) -> None:
    (argument,) = click.Command("x", params=[click.Argument(["length"])]).params
    with pytest.raises(click.BadParameter, match="type 5m"):
        read_length(click.Context(click.Command("x")), argument, typed)


def test_bad_input_is_told_before_anything_is_made(labctl: Installation) -> None:
    prepare = ("exam", "prepare", "exam.yml")
    for words, code, said in (
        ((*prepare,), 2, "--candidates is missing"),
        ((*prepare, "--candidates", "candidates.csv", "--minute", "1"), 2, "--minute needs --rehearsal"),
        ((*prepare, "--candidates", "nothing.csv"), 3, "nothing.csv"),
        ((*prepare, "--candidates", "candidates.csv", "--session", "../x"), 1, "small letters"),
        (("exam", "status", "nothing"), 1, 'no exam session "nothing"'),
        (("exam", "start", "nothing"), 1, 'no exam session "nothing"'),
        (("exam", "extend", "nothing", "soon"), 2, '"soon" is no length'),
    ):
        done = labctl.run(*words)
        assert (done.returncode, said in done.stderr) == (code, True), (words, done.stderr)
    assert not (labctl.home / "labctl" / "exams").exists()
    (labctl.home / "candidates.csv").write_text("number;time_factor\n1;40\n1;1\n", encoding="utf-8")
    done = labctl.run(*prepare, "--candidates", "candidates.csv")
    assert done.returncode == 3
    assert "candidates.csv:3:1" in done.stderr
    assert not (labctl.home / "labctl" / "exams").exists()


def test_a_session_is_sealed_opened_and_shown(labctl: Installation, session: Session) -> None:
    done = labctl.run("exam", "open", "e6", "--passphrase-file", "words")
    assert done.returncode == 6
    assert "labctl exam seal e6" in done.stderr
    assert labctl.run("exam", "seal", "e6", "--passphrase-file", "nothing").returncode == 1
    sealed = labctl.run("exam", "seal", "e6", "--passphrase-file", "words")
    assert sealed.returncode == 0, sealed.stderr
    checksum = sealed.stdout.split()[-1]
    found = labctl.json("exam", "status", "e6")
    assert (found["stage"], found["checksum"]) == ("sealed", checksum)
    assert not (session.papers / "exam.yml").exists()
    wrong = labctl.run("exam", "open", "e6", "--passphrase-file", "wrong")
    assert (wrong.returncode, "not the passphrase" in wrong.stderr) == (6, True)
    assert labctl.run("exam", "open", "e6", "--passphrase-file", "words").returncode == 0
    assert (session.papers / "exam.yml").read_text(encoding="utf-8") == "secret"
    again = labctl.run("exam", "open", "e6", "--passphrase-file", "nothing")
    assert again.returncode == 0, "what is open asks for nothing"


def test_a_session_that_is_not_held_is_given_up(labctl: Installation, session: Session) -> None:
    close = ("exam", "close", "e6")
    done = labctl.run(*close)
    assert (done.returncode, "nobody has begun" in done.stderr, "--give-up" in done.stderr) == (6, True, True)
    assert labctl.run(*close, "--give-up", "--yes").returncode == 6  # no reason
    assert labctl.run(*close, "--give-up", "--reason", "strike").returncode == 130  # nobody says yes
    assert labctl.run(*close, "--give-up", "--reason", "strike", "--candidate", "001").returncode == 2
    assert session.read().stage is Stage.PREPARED
    done = labctl.run(*close, "--give-up", "--reason", "strike", "--yes")
    assert done.returncode == 0, done.stderr
    assert session.read().stage is Stage.CLOSED
    assert (session.papers / "exam.yml").exists()


def test_a_broken_seal_needs_a_reason(labctl: Installation, session: Session) -> None:
    seal(session, WORDS, {}, CHEAP)
    (session.sealed / "manifest.sig").write_bytes(bytes(64))
    done = labctl.run("exam", "open", "e6", "--passphrase-file", "words")
    assert done.returncode == 6
    assert "not signed" in done.stderr
    assert 'labctl exam open e6 --override "…"' in done.stderr
    done = labctl.run("exam", "open", "e6", "--passphrase-file", "words", "--override", "copied by hand")
    assert done.returncode == 0
    assert "not signed" in done.stderr
    assert session.read().last[Act.OPEN].facts["override"] == "copied by hand"


def test_the_clocks_are_shown_and_moved_by_verbs(labctl: Installation, session: Session) -> None:
    seal(session, WORDS, {}, Cost(n=16))
    with session.writing() as log:
        log.add(Act.OPEN, Step.DONE)
    done = labctl.run("exam", "start", "e6", "--phase", "preparation", "--no-supervisor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert labctl.run("exam", "extend", "e6", "5m", "--candidate", "001").returncode == 6  # no reason
    assert labctl.run("exam", "extend", "e6", "5m", "--candidate", "001", "--reason", "late").returncode == 0
    assert labctl.run("exam", "pause", "e6", "--candidate", "002", "--reason", "unwell").returncode == 0
    assert labctl.run("exam", "message", "e6", "Ten minutes").returncode == 0
    assert labctl.run("exam", "incident", "e6", "fire alarm", "--compensation", "90s").returncode == 0
    fault = ("exam", "incident", "e6", "cut", "--fault")
    for words, code, said in (
        (("power-cut", "--candidate", "001", "--machine", "web"), 6, "this session counts"),
        (("kill-supervisor",), 6, "this session counts"),
        (("break-freeze", "--candidate", "001"), 6, "this session counts"),
        (("power-cut", "--candidate", "001"), 2, "needs one --machine"),
        (("pull-cable", "--machine", "web"), 2, "needs one --candidate"),
        (("kill-supervisor", "--candidate", "001"), 2, "nobody's own"),
        (("power-cut", "--candidate", "001", "--machine", "web", "--compensation", "5m"), 2, "of its own"),
    ):
        told = labctl.run(*fault, *words)
        assert (told.returncode, said in told.stderr) == (code, True), told.stderr
    frozen = labctl.run("exam", "freeze", "e6", "--reason", "over", "--yes")
    assert frozen.returncode == 6
    assert "001: has not begun to work on the machines" in frozen.stderr
    found = {one["number"]: one for one in labctl.json("exam", "status", "e6")["candidates"]}
    assert found["001"]["seconds_left"] == pytest.approx(35 * 60 + 90, abs=60)
    assert found["002"]["paused"]
    assert found["002"]["seconds_left"] == pytest.approx(40 * 60 + 90, abs=60)
    shown = labctl.run("exam", "status", "e6")
    assert "Preparation" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    lines = [json.loads(line) for line in session.audit.read_text(encoding="utf-8").splitlines()]
    assert [one["facts"]["reason"] for one in lines if one["act"] == "extend"] == ["late", "fire alarm", "fire alarm"]
    closed = labctl.run("exam", "close", "e6")
    assert session.read().stage in {Stage.STARTED, Stage.CLOSED}, closed.stderr


def test_a_lab_in_an_exam_is_not_removed(labctl: Installation, session: Session) -> None:
    with session.doing(Act.START, "001") as told:
        told["phase"] = "practical"
    done = labctl.run("down", "small-c001", "--yes")
    assert done.returncode == 6
    assert "labctl exam close e6 --candidate 001" in done.stderr
    assert labctl.run("down", "small-c002", "--yes").returncode == 0
    reset = labctl.run("exam", "reset", "e6", "--reason", "a broken disk", "--yes")
    assert (reset.returncode, "needs one --candidate" in reset.stderr) == (2, True)
    reset = labctl.run("exam", "reset", "e6", "--candidate", "002", "--reason", "a broken disk", "--yes")
    assert (reset.returncode, "does not work on the machines now" in reset.stderr) == (6, True)
    with session.doing(Act.CLOSE, "001"):
        pass
    assert labctl.run("down", "small-c001", "--yes").returncode == 0


def test_without_sessions_the_first_step_is_told(labctl: Installation) -> None:
    done = labctl.run("exam", "status")
    assert done.returncode == 0
    assert "labctl exam prepare EXAM" in done.stderr
    assert labctl.json("exam", "status") == {"version": 1, "sessions": []}


def test_one_supervisor_works_until_it_is_told_to_stop(labctl: Installation, session: Session) -> None:
    home = labctl.home / "labctl"
    with session.doing(Act.START, "001") as told:
        told["phase"] = "preparation"
    process = subprocess.Popen(
        [LABCTL, "exam", "supervise"], env=labctl.environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 60
        while not ((beat := read_beat(home)) and beat.alive(HostClock().read()) and beat.sessions):
            assert time.monotonic() < until
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.1)
        assert beat.pid == process.pid
        told_of = labctl.json("exam", "status", "e6")["supervisor"]
        assert (told_of["alive"], told_of["pid"]) == (True, process.pid)
        other = labctl.run("exam", "supervise")
        assert other.returncode == 5
        assert f"(pid {process.pid})" in other.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        _out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert not labctl.json("exam", "status", "e6")["supervisor"]["alive"]
