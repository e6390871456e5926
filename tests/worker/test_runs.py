"""Runs of the command line on labs that the portal shows: told within a second, without asking libvirt or a browser."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labctl.errors import Busy
from labctl.lab.lock import hold_lab
from labctl.worker.answers import Event
from labctl.worker.client import BlockingClient
from labctl.worker.requests import Subscribe
from labctl.worker.runs import Runs
from labctl.worker.wire import NotDone
from tests.lab.doubles import World, make_place
from tests.worker.offices import ALICE, BOB, Desk, make_labs, open_desk, wait_for

TREE = str(Path(__file__).parents[2])
# What every verb that changes or checks a lab does, in a process of its own.
RUN = """
import sys
from pathlib import Path
from labctl.lab.lock import hold_lab
with hold_lab(Path(sys.argv[1]), sys.argv[2], "check"):
    print("held", flush=True)
    sys.stdin.readline()
print("over", flush=True)
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, world = tmp_path_factory.mktemp("home"), World()
    make_labs(make_place(home, world), "alice", "bob")
    with open_desk(home, world) as found:
        yield found


class Terminal:
    """A run on a lab in another process."""

    def __init__(self, home: Path, lab: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(home), lab], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": TREE},
        )  # fmt: skip
        assert self.process.stdout
        assert self.process.stdout.readline() == "held\n"
        self.at = time.monotonic()

    def end(self, *, kill: bool = False) -> float:
        """End it, and return when the lab was given back."""
        assert self.process.stdin
        if kill:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
        self.process.communicate(None if kill else "\n", timeout=20)
        return time.monotonic()


@pytest.fixture
def heard(desk: Desk) -> list[tuple[float, Event]]:
    """What the page of alice hears."""
    events: list[tuple[float, Event]] = []

    def run() -> None:
        with suppress(NotDone):
            for event in BlockingClient(desk.server.path).listen(Subscribe(token=desk.tokens["alice"], language="en")):
                events.append((time.monotonic(), event))  # noqa: PERF401  they come one by one

    before = desk.office.hub.count()
    threading.Thread(target=run, daemon=True).start()
    wait_for(lambda: desk.office.hub.count() > before)
    return events


def told(events: list[tuple[float, Event]], state: str, since: float) -> Callable[[], float]:
    """Return what tells when a state of the lab was heard."""
    return lambda: next((at for at, event in events if at >= since and event.kind == "lab" and event.state == state), 0)


@pytest.mark.parametrize("kill", [False, True], ids=["ends", "is killed"])
def test_a_run_in_a_terminal_shows_at_once_and_so_does_its_end(
    desk: Desk, heard: list[tuple[float, Event]], kill: bool
) -> None:
    start = time.monotonic()
    terminal = Terminal(desk.office.place.home, ALICE)
    assert wait_for(told(heard, "working", start)) - terminal.at < 1
    given_back = terminal.end(kill=kill)
    assert wait_for(told(heard, "ready", terminal.at)) - given_back < 1


def test_what_a_run_too_short_to_be_seen_has_found_is_shown(desk: Desk, heard: list[tuple[float, Event]]) -> None:
    place = desk.office.place
    with hold_lab(place.home, ALICE, "check"):
        place.store.save_outcomes(ALICE, [("answers", "failed", {})], whole=True)

    def counted() -> Event | None:
        return next((event for _at, event in heard if event.checks and event.checks.failed == 1), None)

    assert wait_for(counted).lab == ALICE


def test_nobody_hears_of_a_run_on_somebody_elses_lab(desk: Desk, heard: list[tuple[float, Event]]) -> None:
    Terminal(desk.office.place.home, BOB).end()
    Terminal(desk.office.place.home, ALICE).end()
    wait_for(lambda: any(event.kind == "lab" for _at, event in heard))
    assert {event.lab for _at, event in heard if event.kind == "lab"} == {ALICE}


def test_one_who_finds_a_lab_busy_is_no_event_and_nothing_is_asked_meanwhile(tmp_path: Path) -> None:
    changes: list[str] = []
    runs = Runs(tmp_path, changes.append)
    runs.start()
    with hold_lab(tmp_path, ALICE, "up"):
        wait_for(lambda: changes == [ALICE])
        for _number in range(3):
            with pytest.raises(Busy), hold_lab(tmp_path, ALICE, "reset"):
                pass
        time.sleep(0.3)
        assert changes == [ALICE]
    wait_for(lambda: changes == [ALICE, ALICE])
    (tmp_path / "locks" / "notes.txt").write_text("nothing of ours", encoding="utf-8")
    before = os.times()
    time.sleep(1.5)
    after = os.times()
    assert changes == [ALICE, ALICE]
    assert (after.user + after.system) - (before.user + before.system) < 0.015, "1 % of a core"
    runs.stop()
