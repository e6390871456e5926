"""The web process as it is really started: its own process, https, a real worker; streams, ends, and a fresh start."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from labctl.worker.answers import Event
from labctl.worker.certificate import ensure_certificate
from tests.lab.doubles import World, make_place
from tests.worker.offices import ALICE, Desk, make_labs, open_desk, wait_for

STREAMS = 24
SOON = 1.0  # seconds from a change to the browser


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, world = tmp_path_factory.mktemp("home"), World()
    make_labs(make_place(home, world), "alice", "bob")
    with open_desk(home, world) as found:
        yield found


@dataclass
class Web:
    """A running web process."""

    process: subprocess.Popen[bytes]
    port: int
    context: ssl.SSLContext
    token: str

    def client(self) -> httpx2.Client:
        cookies = {"__Host-session": self.token}
        return httpx2.Client(
            base_url=f"https://localhost:{self.port}", verify=self.context, cookies=cookies, timeout=20
        )


@contextmanager
def serving(desk: Desk, folder: Path, listener: socket.socket) -> Iterator[Web]:
    certificate = ensure_certificate(folder, ("localhost",))
    environment = {
        **os.environ, "LABCTL_PORTAL_WORKER": str(desk.client.path), "LABCTL_PORTAL_FD": str(listener.fileno()),
        "LABCTL_PORTAL_CERT": str(certificate.chain), "LABCTL_PORTAL_KEY": str(certificate.key),
        "LABCTL_PORTAL_NAMES": "localhost",
    }  # fmt: skip
    context = ssl.create_default_context(cafile=str(certificate.chain))
    command = [sys.executable, "-P", "-m", "labctl.portal.server"]
    python_path = str(Path(__file__).parents[2])
    with subprocess.Popen(
        command, env={**environment, "PYTHONPATH": python_path}, pass_fds=[listener.fileno()], stdout=subprocess.PIPE
    ) as process:
        web = Web(process, listener.getsockname()[1], context, desk.tokens["alice"])
        try:
            wait_for_answer(web)
            yield web
        finally:
            process.kill()


def wait_for_answer(web: Web) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with web.client() as client:
                assert client.get("/health").status_code == 200
                return
        except httpx2.HTTPError:
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as made:
        yield made


def follow(web: Web, heard: list[float], ready: threading.Semaphore, done: threading.Event) -> None:
    """Read a stream until it ends; note when a change was told."""
    with web.client() as client, client.stream("GET", f"/events?lab={ALICE}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line == "event: hello":
                ready.release()
            if line == "event: changed":
                heard.append(time.monotonic())
            if done.is_set():
                return


def test_a_change_reaches_every_browser_within_a_second_and_a_stop_ends_all(
    desk: Desk, tmp_path: Path, listener: socket.socket
) -> None:
    with serving(desk, tmp_path, listener) as web:
        heard: list[float] = []
        ready, done = threading.Semaphore(0), threading.Event()
        people = ["alice", "durand", "garde", "chef"] * (STREAMS // 4)  # a session has a bounded number of streams
        webs = [Web(web.process, web.port, web.context, desk.tokens[name]) for name in people]
        threads = [threading.Thread(target=follow, args=(one, heard, ready, done), daemon=True) for one in webs]
        for thread in threads:
            thread.start()
        for _one in threads:
            assert ready.acquire(timeout=20)
        wait_for(lambda: desk.office.hub.count() == STREAMS)  # the worker takes each subscription up after its answer
        heard.clear()
        begun = time.monotonic()
        desk.office.hub.publish(lambda _language: Event(kind="lab", lab=ALICE), ALICE, "alice")
        while len(heard) < STREAMS and time.monotonic() < begun + 10:
            time.sleep(0.01)
        assert len(heard) == STREAMS
        assert max(heard) - begun <= SOON
        rss = psutil.Process(web.process.pid).memory_info().rss >> 20
        done.set()
        web.process.terminate()
        assert web.process.wait(10) == 0
        assert web.process.stdout
        assert web.process.stdout.read() == b""
        for thread in threads:
            thread.join(10)
        assert rss < 150, f"{rss} MiB"


def test_killed_and_started_again_it_knows_everybody(
    desk: Desk, tmp_path: Path, listener: socket.socket
) -> None:  # F-37
    """The web process has no state of its own."""
    for _start in range(2):
        with serving(desk, tmp_path, listener) as web, web.client() as client:
            assert client.get("/labs").status_code == 200
            web.process.kill()
