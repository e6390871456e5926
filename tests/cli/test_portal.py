"""The verb `portal` as people type it: accounts and their sheet, and a portal that is killed, mended and ended."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from pypdf import PdfReader

from labctl.worker.client import BlockingClient
from labctl.worker.requests import AskHealth, Login
from labctl.worker.wire import NotDone
from tests.cli.conftest import LABCTL, Installation

ROSTER = "id;name;group\nlea.martin;Léa Martin;A\nnoe;Noé <script>alert(1)</script>;B\n"
TREE = str(Path(__file__).parents[2])
CODE = re.compile(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}")


@pytest.fixture
def roster(labctl: Installation) -> Path:
    path = labctl.home / "SISR 2.csv"
    path.write_text(ROSTER, encoding="utf-8")
    return path


def run(labctl: Installation, *words: str) -> subprocess.CompletedProcess[str]:
    return labctl.run("portal", *words, PYTHONPATH=TREE)


def test_a_sheet_has_one_strip_for_each_student_and_is_for_its_owner_alone(labctl: Installation, roster: Path) -> None:
    sheet = labctl.home / "comptes.pdf"
    done = run(labctl, "accounts", "--class", str(roster), "--sheet", str(sheet), "--address", "https://labs.example/")
    assert done.returncode == 0, done.stderr
    assert sheet.stat().st_mode & 0o777 == 0o600
    text = "\n".join(page.extract_text() for page in PdfReader(sheet).pages)
    codes = CODE.findall(text)
    assert len(set(codes)) == 2
    assert not CODE.search(done.stdout + done.stderr), "codes are on the sheet only"
    for shown in ("Léa Martin (A)", "lea-martin", "<script>alert(1)</script>", "https://labs.example/"):
        assert shown in text
    listed = run(labctl, "accounts", "--list").stdout
    assert "sisr-2" in listed
    assert not CODE.search(listed)


def test_codes_of_those_who_have_none_chosen_are_drawn_anew(labctl: Installation, roster: Path) -> None:
    first, second = (CODE.findall(run(labctl, "accounts", "--class", str(roster)).stdout) for _number in range(2))
    assert len(first) == len(second) == 2
    assert not {*first} & {*second}


def test_a_trainer_is_added_once(labctl: Installation) -> None:
    done = run(labctl, "accounts", "--add", "durand", "--shown", "Mme Durand")
    assert CODE.search(done.stdout)
    again = run(labctl, "accounts", "--add", "durand", "--role", "proctor")
    assert not CODE.search(again.stdout)
    listed = run(labctl, "accounts", "--list").stdout
    assert "proctor" in listed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("accounts",), "--class, --add or --list"),
        (("accounts", "--add", "x", "--of", "nothing"), 'no class "nothing"'),
        (("accounts", "--add", "!!!"), "a letter or digit"),
        (("--certificate", "x.pem"), "go together"),
        (("--user", "root", "--port", "0"), "must not run as root"),
        (("--user", "nobody-here", "--port", "0"), 'no user "nobody-here"'),
        (("directory",), "no directory is set"),
        (("directory", "--url", "http://x", "--user", "{id}"), "not the address of a directory"),
    ],
)
def test_mistakes_are_told_in_a_sentence(labctl: Installation, words: tuple[str, ...], said: str) -> None:
    if "--user" in words and os.geteuid() != 0:
        pytest.skip("only root chooses the user of the web process")
    done = run(labctl, *words)
    assert done.returncode != 0
    assert said in done.stderr


def answers(socket: Path) -> bool:
    try:
        return BlockingClient(socket).ask(AskHealth()).worker
    except NotDone:
        return False


def wait_until(look: object) -> None:
    until = time.monotonic() + 60
    while not look():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.1)


def worker_of(portal: subprocess.Popen[str]) -> int:
    """Return the process id of the worker that a portal looks after, 0 for none."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            words = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == portal.pid and b"labctl.worker.main" in words:
            return int(stat.parent.name)
    return 0


def test_a_portal_mends_its_worker_and_ends_with_everything(labctl: Installation, roster: Path) -> None:
    codes = CODE.findall(run(labctl, "accounts", "--class", str(roster)).stdout)
    home = labctl.home / "labctl"
    socket = home / "portal" / "worker.sock"
    environment = {
        **os.environ, "LABCTL_HOME": str(home), "LABCTL_URI": "test:///default", "LABCTL_LANG": "en",
        "PYTHONPATH": TREE,
    }  # fmt: skip
    command = [str(LABCTL), "portal", "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as portal:
        assert portal.stdout
        assert re.fullmatch(r"https://[^/]+:\d+/\n", portal.stdout.readline())
        wait_until(lambda: answers(socket))
        session = BlockingClient(socket).ask(Login(name="lea-martin", secret=codes[0]))
        assert session.person.must_choose_password
        first = worker_of(portal)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: answers(socket) and worker_of(portal) not in {0, first})
        portal.terminate()
        _out, said = portal.communicate(timeout=60)
        assert portal.returncode == 0
        assert "SIGKILL" in said
    assert not answers(socket)
    assert "PRIVATE KEY" not in said
    key = home / "portal" / "tls" / "key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
