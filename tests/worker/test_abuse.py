"""What comes on the worker's socket that is no request: it gets one sentence or nothing, and nobody else waits."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.worker.client import BlockingClient
from labctl.worker.requests import AskHealth, Whoami
from labctl.worker.serve import MOST, Server
from labctl.worker.values import Refusal
from labctl.worker.wire import GREETING, LONGEST_REQUEST, NotDone
from tests.lab.doubles import World
from tests.worker.offices import Desk, connect, open_desk, talk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("home"), World()) as found:
        yield found


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[" * 50_000, b'{"kind": "lab"}', b'{"kind": ["lab"]}', b'{"kind": "__class__"}', b"\xff\xfe",
     b"null", b'{"kind": "lab", "lab": "../../etc"}', b'{"kind": "lab", "lab": "a\\u0000b"}',
     b'{"kind": "hint", "lab": "x", "check": "y", "n": 1e400}'],
)  # fmt: skip
def test_what_is_no_request_is_malformed_in_one_sentence(desk: Desk, line: bytes) -> None:
    answer = talk(desk, line)
    assert (answer["ok"], answer["refusal"]) == (False, "malformed")
    assert len(str(answer["message"])) < 120
    assert desk.client.ask(Whoami(token=desk.tokens["alice"])).name == "alice"


def test_a_body_of_a_gigabyte_is_not_read(desk: Desk) -> None:
    sent, block = 0, b"x" * (1 << 20)
    with connect(desk) as connection:
        connection.sendall(GREETING)
        try:
            while sent < 1 << 30:
                sent += connection.send(block)
        except OSError:
            pass
    assert sent < 4 * LONGEST_REQUEST + (4 << 20)
    assert desk.client.ask(Whoami(token=desk.tokens["alice"])).name == "alice"


def test_another_version_is_not_talked_to(desk: Desk) -> None:
    with connect(desk) as connection:
        connection.sendall(b'{"labctl": 99}\n{"kind": "health"}\n')
        stream = connection.makefile("rb")
        assert stream.readline() == GREETING
        assert stream.readline() == b""


def test_many_connections_that_say_nothing_hold_nobody_up(desk: Desk) -> None:
    held = [connect(desk) for _number in range(200)]
    try:
        start = time.monotonic()
        assert desk.client.ask(Whoami(token=desk.tokens["alice"])).name == "alice"
        assert time.monotonic() - start < 5
    finally:
        for connection in held:
            connection.close()
    assert MOST > 200


def test_other_users_of_the_host_are_not_talked_to(desk: Desk, tmp_path: Path) -> None:
    server = Server(desk.office, tmp_path / "closed.sock", {os.geteuid() + 12345})
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        with pytest.raises(NotDone) as caught:
            BlockingClient(server.path).ask(AskHealth())
        assert caught.value.refusal is Refusal.NO_WORKER
    finally:
        server.stop()


def test_without_a_worker_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotDone) as caught:
        BlockingClient(tmp_path / "nothing.sock").ask(AskHealth())
    assert (caught.value.status, caught.value.wait) == (503, 5)
