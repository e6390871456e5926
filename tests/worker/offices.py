"""A worker on a real Unix socket for tests: the labs of two students, a trainer, a proctor, an admin, a small world."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from labctl.classroom.labs import bring_up_labs
from labctl.classroom.wish import ClassWish
from labctl.exam.moments import Clock
from labctl.lab.doors import Links
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.roster import Student
from labctl.topology.load import load_topology
from labctl.worker.answers import JobLine
from labctl.worker.client import BlockingClient
from labctl.worker.office import ConsoleRoom, Office
from labctl.worker.requests import AskJobs
from labctl.worker.serve import Server
from labctl.worker.values import JobState, Role
from labctl.worker.wire import GREETING
from tests.lab.doubles import World, make_place
from tests.worlds import catalogue

SMALL = Path(__file__).parents[1] / "lab" / "small.yml"
CLASS = "sisr2"
ALICE, BOB = "small-alice", "small-bob"
PATIENCE = 30.0  # seconds
T = TypeVar("T")
STAFF = {"durand": Role.TRAINER, "garde": Role.PROCTOR, "chef": Role.ADMIN}


def pace(_image: Path) -> Pace:
    return Pace("tcg", 1.0)


@dataclass
class Desk:
    """A running worker, what it works on, and a token for each person."""

    office: Office
    server: Server
    client: BlockingClient
    world: World
    tokens: dict[str, str]

    def wait_job(self, job: JobLine, token: str) -> JobLine:
        """Wait for the end of a job and return it."""

        def ended() -> JobLine | None:
            jobs = self.client.ask(AskJobs(token=token, language="en", lab=job.lab)).jobs
            found = next(one for one in jobs if one.id == job.id)
            return None if found.state in {JobState.WAITING, JobState.RUNNING} else found

        return wait_for(ended)


def wait_for(look: "Callable[[], T | None]") -> T:
    """Look again until there is something."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(look)


def make_labs(place: Workplace, *owners: str) -> None:
    """Bring up the small lab of some owners."""
    topology = load_topology(SMALL, catalogue())
    results = bring_up_labs(place, ClassWish(topology, SMALL, owners), pace, Silent(), Stop())
    assert all(result.ready for result in results)


def student(slug: str, name: str = "") -> Student:
    return Student(slug, slug, name or slug.title(), "", Fraction(1), "", 2)


def enrol(office: Office) -> dict[str, str]:
    """Make the accounts, and a session for each without its login: hashing takes time."""
    office.accounts.enrol(CLASS, "sisr2.csv", [student("alice"), student("bob")])
    office.accounts.enrol("other", "other.csv", [student("zoe")])
    for name, role in STAFF.items():
        office.accounts.set_account(name, name.title(), role, (CLASS,))
    tokens = {}
    for row in office.accounts.list_accounts():
        tokens[row.name] = office.accounts.begin_session(row, "10.0.0.1", must_choose=False).token
    return tokens


@contextmanager
def open_desk(
    home: Path, world: World, consoles: ConsoleRoom | None = None, *, links: Links | None = None,
    clock: Clock | None = None,
) -> Iterator[Desk]:  # fmt: skip
    """Give a worker that serves a home, in threads of this process."""
    office = Office(make_place(home, world), pace, consoles, links=links, clock=clock)
    server = Server(office, home / "run" / "worker.sock", {os.geteuid()})
    serving = threading.Thread(target=server.serve, daemon=True)
    office.open()
    serving.start()
    try:
        assert office.watch.looked.wait(PATIENCE)
        yield Desk(office, server, BlockingClient(server.path), world, enrol(office))
    finally:
        server.stop()
        office.close(patience=5.0)
        serving.join(5.0)


def connect(desk: Desk) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(str(desk.server.path))
    return connection


def talk(desk: Desk, line: bytes) -> dict[str, object]:
    with connect(desk) as connection:
        connection.sendall(GREETING + line + b"\n")
        stream = connection.makefile("rb")
        assert stream.readline() == GREETING
        answer: dict[str, object] = json.loads(stream.readline())
        return answer
