"""The agent, run as a node would run it: by a Python that reads it from standard input."""

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from labctl.checks.agent import SECRET_FILE
from labctl.checks.model import Question, Reply, Result
from labctl.checks.names import MARK
from labctl.checks.questions import agent_program
from labctl.lab.checking import run_checks
from labctl.monitor import Silent
from labctl.topology.hardware import System
from tests.checks.asking import make


def perform(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    program = agent_program([Question("x", task, "") for task in tasks])
    done = subprocess.run([sys.executable, "-I", "-"], input=program, capture_output=True, check=True, timeout=60)
    replies: list[dict[str, Any]] = json.loads(done.stdout)
    return replies


def run(*argv: str, timeout: float = 20) -> dict[str, Any]:
    return {"do": "run", "argv": list(argv), "timeout": timeout}


def test_commands_run_side_by_side_and_keep_their_order() -> None:
    replies = perform(run("sh", "-c", "sleep 0.3; echo a"), run("sh", "-c", "echo b >&2; exit 3"))
    assert (replies[0]["code"], replies[0]["out"]) == (0, "a\n")
    assert (replies[1]["code"], replies[1]["err"]) == (3, "b\n")


def test_a_command_that_hangs_is_ended_with_its_children() -> None:  # F-42
    (reply,) = perform(run("sh", "-c", "sleep 60 & sleep 60", timeout=0.5))
    assert reply["error"] == "timeout"
    assert reply["seconds"] < 10


def test_a_command_that_leaves_its_output_open_behind_it_does_not_hold_up_the_others() -> None:
    left, quiet, other = perform(
        run("sh", "-c", "sleep 60 & echo a", timeout=1), run("sh", "-c", "sleep 60 >&- 2>&- & echo b"), run("echo", "c")
    )
    assert (left["error"], left["seconds"] < 10) == ("timeout", True)
    assert (quiet["out"], other["out"]) == ("b\n", "c\n")


def test_a_flood_is_capped() -> None:  # F-42
    (reply,) = perform(run("sh", "-c", "head -c 30000000 /dev/zero | tr '\\0' x"))
    assert len(reply["out"]) == 65536


def test_binary_output_becomes_text() -> None:
    (reply,) = perform(run("printf", r"\377\376ok"))
    assert reply["out"].endswith("ok")


def test_a_missing_program_is_no_answer() -> None:
    (reply,) = perform(run("no-such-program"))
    assert reply["error"] == "not installed: no-such-program"


def test_tcp_tells_open_from_closed_from_unknown_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        replies = perform(
            {"do": "tcp", "host": "127.0.0.1", "port": port, "timeout": 5},
            {"do": "tcp", "host": "name.invalid", "port": 80, "timeout": 5},
        )
    closed = perform({"do": "tcp", "host": "127.0.0.1", "port": port, "timeout": 5})
    assert [reply["code"] for reply in [*replies, *closed]] == [0, 2, 1]


def test_a_file_is_read_with_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(0o640)
    present, absent = perform({"do": "file", "path": str(path)}, {"do": "file", "path": "/none"})
    assert json.loads(present["out"]) == {"owner": path.owner(), "mode": "0640", "content": "secret"}
    assert absent["code"] == 1


def test_a_secret_reaches_a_program_by_a_file_of_root_alone_that_goes() -> None:
    show = run("sh", "-c", 'stat -c "%a $0" "$0" && cat "$0"', SECRET_FILE) | {"secret": "Secret-1"}
    (reply,) = perform(show)
    mode, path = reply["out"].splitlines()[0].split()
    assert (mode, reply["out"].splitlines()[1]) == ("600", "Secret-1")
    assert not Path(path).exists()


def test_a_secret_reaches_a_program_by_standard_input() -> None:
    told, deaf, large = perform(
        run("cat") | {"stdin": "Secret-1\n"},
        run("true") | {"stdin": "x" * 1_000_000},
        run("wc", "-c") | {"stdin": "x" * 500_000},
    )
    assert (told["out"], deaf["code"], large["out"].strip()) == ("Secret-1\n", 0, "500000")


def test_a_file_that_is_a_folder_of_a_file_does_not_exist() -> None:
    (reply,) = perform({"do": "file", "path": "/etc/hosts/x"})
    assert reply["code"] == 1


class Crowded:
    """A prober that does only some tasks of each round in time, and that notes how many it was asked for."""

    def __init__(self, able: int) -> None:
        self.able = able
        self.rounds: list[int] = []

    def probe(self, _node: str, questions: Sequence[Question]) -> Sequence[Reply]:
        self.rounds.append(len(questions))
        return [Reply() if place < self.able else Reply(error="timeout") for place in range(len(questions))]

    def address(self, node: str) -> str:
        return node

    def system(self, _node: str) -> System:
        return System.DEBIAN


class Late:
    """A prober whose page comes too late in the first round."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def probe(self, _node: str, questions: Sequence[Question]) -> Sequence[Reply]:
        self.rounds.append(len(questions))
        late, page = Reply(28, f"\n{MARK}000 1 ", "curl: (28) SSL connection timeout"), Reply(0, f"\n{MARK}200 1 ")
        return [late if len(self.rounds) == 1 else page, *(Reply() for _question in questions[1:])]

    def address(self, node: str) -> str:
        return node

    def system(self, _node: str) -> System:
        return System.DEBIAN


def test_a_page_that_came_too_late_is_asked_again() -> None:
    checks = [
        make({"type": "http", "url": "https://www.example/"}),
        make({"type": "ping", "to": "192.0.2.1"}, id="two"),
    ]
    late = Late()
    assert [one.result for one in run_checks(checks, late, Silent())] == [Result.PASSED, Result.PASSED]
    assert late.rounds == [2, 1]


@pytest.mark.parametrize(("able", "rounds", "unknown"), [(2, [5, 3, 1], 0), (5, [5], 0), (0, [5], 5)])
def test_what_a_crowded_machine_did_not_do_in_time_is_asked_again(able: int, rounds: list[int], unknown: int) -> None:
    checks = [make({"type": "ping", "to": "192.0.2.1"}, id=f"n{number}") for number in range(5)]
    crowded = Crowded(able)
    found = run_checks(checks, crowded, Silent())
    assert crowded.rounds == rounds
    assert sum(one.result is Result.UNKNOWN for one in found) == unknown
