"""The verb `portal` as people type it: accounts and their sheet, and a portal that is killed, mended and ended."""

import os
import pwd
import re
import shlex
import shutil
import signal
import socket as socketlib
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pypdf import PdfReader

from labctl.cli.portal import announce
from labctl.worker.client import BlockingClient
from labctl.worker.requests import AskHealth, Login
from labctl.worker.wire import NotDone
from tests.cli.conftest import Installation
from tests.exam.sessions import HandClock, make_session
from tests.processes import LABCTL

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


def test_candidates_have_strips_by_number_and_no_name(labctl: Installation) -> None:
    make_session(labctl.home / "labctl", HandClock())
    sheet = labctl.home / "codes.pdf"
    done = run(labctl, "accounts", "--exam", "e6", "--sheet", str(sheet))
    assert done.returncode == 0, done.stderr
    text = "\n".join(page.extract_text() for page in PdfReader(sheet).pages)
    assert len({*CODE.findall(text)}) == 3
    assert [number for number in ("001", "002", "003", "c002") if number in text] == ["001", "002", "003", "c002"]
    one = run(labctl, "accounts", "--exam", "e6", "--candidate", "002", "--renew").stdout
    assert len(CODE.findall(one)) == 1
    assert run(labctl, "accounts", "--exam", "e6", "--candidate", "999").returncode == 1
    assert run(labctl, "accounts", "--exam", "nothing").returncode == 1
    assert "candidate" in run(labctl, "accounts", "--list").stdout


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
        (("accounts",), "--class, --exam, --add or --list"),
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


@pytest.fixture
def outside() -> Iterator[Installation]:
    """An installation below two folders that only we may enter; pytest's own are closed too, and must stay so."""
    folder = Path(tempfile.mkdtemp(prefix="lctest-", dir="/var/tmp"))
    (folder / "inner").mkdir(mode=0o700)
    yield Installation(folder / "inner")
    shutil.rmtree(folder)


@contextmanager
def serving(labctl: Installation) -> Iterator["subprocess.Popen[str]"]:
    """Serve a portal, from the line with its address on."""
    environment = {
        **os.environ, "LABCTL_HOME": str(labctl.home / "labctl"), "LABCTL_URI": "test:///default", "LABCTL_LANG": "en",
        "PYTHONPATH": TREE,
    }  # fmt: skip
    command = [str(LABCTL), "portal", "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as portal:
        try:
            yield portal
        finally:
            portal.terminate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root serves the web process as somebody else")
def test_a_home_that_the_web_process_cannot_enter_is_told_with_its_cure(outside: Installation) -> None:
    done = run(outside, "--port", "0", "--host", "127.0.0.1")
    assert (done.returncode, done.stdout) == (7, "")
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 2, "one sentence and one command"
    assert "of the web process cannot enter the folder" in said[0]
    assert f'"{outside.home.parent}"' in said[0]
    cure = said[1].partition("sudo ")[2]
    assert shlex.split(cure) == ["chmod", "o+x", str(outside.home.parent), str(outside.home)]
    subprocess.run(shlex.split(cure), check=True)
    with serving(outside) as portal:
        assert portal.stdout
        address = re.fullmatch(r"https://[^/]+:(\d+)/\n", portal.stdout.readline())
        assert address
        socket = outside.home / "labctl" / "portal" / "worker.sock"
        assert answers(socket), "the address is told once somebody can log in there"
        wait_until(lambda: web_answers(int(address[1])))
        portal.terminate()
        assert "again" not in portal.communicate(timeout=60)[1], "nothing had to be started a second time"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root serves the web process as somebody else")
def test_a_folder_that_only_its_group_is_kept_out_of_is_told_too(outside: Installation) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(outside.home, 0, nobody.pw_gid)
    outside.home.chmod(0o701)
    outside.home.parent.chmod(0o711)
    done = run(outside, "--port", "0", "--host", "127.0.0.1", "--user", "nobody")
    assert done.returncode == 7
    assert f"sudo setfacl -m u:nobody:x {outside.home}" in done.stderr


def web_answers(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socketlib.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as safe:
            safe.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return safe.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_a_portal_mends_its_worker_and_ends_with_everything(outside: Installation) -> None:
    for folder in (outside.home.parent, outside.home):
        folder.chmod(0o711)
    roster = outside.home / "SISR 2.csv"
    roster.write_text(ROSTER, encoding="utf-8")
    codes = CODE.findall(run(outside, "accounts", "--class", str(roster)).stdout)
    home = outside.home / "labctl"
    socket = home / "portal" / "worker.sock"
    with serving(outside) as portal:
        assert portal.stdout
        assert re.fullmatch(r"https://[^/]+:\d+/\n", portal.stdout.readline())
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


def test_the_address_is_told_at_last_where_the_worker_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labctl.cli.portal.STARTED_WITHIN", 0.5)
    stopping = threading.Event()
    announce("https://labs.example/", tmp_path / "worker.sock", stopping)
    assert capsys.readouterr().out == "https://labs.example/\n"
    stopping.set()
    announce("https://labs.example/", tmp_path / "worker.sock", stopping)
    assert capsys.readouterr().out == "", "it has ended before it served"
