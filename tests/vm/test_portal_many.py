"""24 browsers that listen and 24 resets at once, over loopback, before the real machines of three students."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2
import pytest

from labctl.worker.accounts import Accounts
from labctl.worker.answers import JobLine
from labctl.worker.client import BlockingClient
from labctl.worker.records import Records
from labctl.worker.requests import AskBoard, AskJobs
from labctl.worker.values import JobState, LabState
from labctl.worker.wire import NotDone
from tests.homes import TEST_HOME
from tests.vm.conftest import Installation
from tests.vm.portals import TRAINER, Portal, begin_sessions, forget_people, open_portal
from tests.worker.offices import student

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400)]

CLASS = "sisr2"
STUDENTS = ("mia", "noe", "zoe")  # three machines each; 24 labs fit on few hosts, and 24 wishes for three labs on all
NODES = ("client", "web")
BROWSERS = 24
ANSWERED = 30.0  # seconds for 24 requests while machines are emulated on the same processors
DONE = 1500.0  # seconds for all that was wished
WAITING = re.compile(r"waiting, (\d+) jobs? before it|waiting, next in the queue")


@dataclass
class Class:
    """Three labs, and the portal before them."""

    labctl: Installation
    portal: Portal
    worker: BlockingClient
    heard: Counter[int] = field(default_factory=Counter)
    listening: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)

    def browser(self, name: str) -> httpx2.Client:
        """Return the browser of somebody, who reads English."""
        cookies = {"__Host-session": self.portal.token(name), "language": "en"}
        headers = {"Origin": self.portal.address}
        return httpx2.Client(
            base_url=self.portal.address, verify=False, cookies=cookies, headers=headers, timeout=120.0
        )  # the certificate is the portal's own

    def listen(self, number: int, name: str) -> None:
        """Listen as one page does, and count what it is told."""
        with self.browser(name) as client, client.stream("GET", "/events") as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line == "event: hello":
                    self.listening.release()
                self.heard[number] += line == "event: changed"
                if self.over.is_set():
                    return

    def resets(self) -> list[JobLine]:
        """Return the resets of all labs, as they are at one moment."""
        found = self.worker.ask(AskJobs(token=self.portal.token(TRAINER), language="en")).jobs
        return [job for job in found if job.verb == "reset"]

    def states(self) -> set[LabState]:
        """Return the states of the labs, none while the worker is not there yet."""
        asked = AskBoard(token=self.portal.token(TRAINER), language="en", class_name=CLASS)
        with suppress(NotDone):
            return {row.state for row in self.worker.ask(asked).rows}
        return set()


def wait_for(look: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, look
        time.sleep(0.5)


@pytest.fixture(scope="module")
def school(labctl: Installation) -> Iterator[Class]:
    done = labctl.run("up", "dmz", "--student", ",".join(STUDENTS))
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        forget_people()
        Accounts(Records(TEST_HOME)).enrol(CLASS, f"{CLASS}.csv", [student(name) for name in STUDENTS])
        tokens = begin_sessions(*STUDENTS, class_name=CLASS)
        with open_portal(labctl, tokens) as portal:
            found = Class(labctl, portal, BlockingClient(TEST_HOME / "portal" / "worker.sock"))
            wait_for(lambda: found.states() == {LabState.READY}, 300)
            yield found
            found.over.set()
    finally:
        labctl.run("down", *(f"dmz-{name}" for name in STUDENTS))


def press(school: Class, name: str, node: str) -> tuple[int, float]:
    """Ask for a reset as a page does; return the status and the seconds."""
    with school.browser(name) as client:
        form = client.get(f"/labs/dmz-{name}/reset?node={node}").text
        csrf = re.search(r'name="csrf" value="([^"]+)"', form)
        assert csrf
        begun = time.monotonic()
        answer = client.post(f"/labs/dmz-{name}/reset", data={"csrf": csrf[1], "node": node})
        return answer.status_code, time.monotonic() - begun


def test_24_resets_at_once_before_24_browsers(school: Class) -> None:  # F-09
    """Each is answered, the same wish is one job, each job knows its place, and all is done in bounded time."""
    for name in STUDENTS:
        for node in ("fw", *NODES):
            marked = school.labctl.run("ssh", f"dmz-{name}", node, "--", "touch", "/root/mine", timeout=120)
            assert marked.returncode == 0, marked.stderr
    people = [*STUDENTS, TRAINER] * (BROWSERS // (len(STUDENTS) + 1))
    for number, name in enumerate(people):
        threading.Thread(target=school.listen, args=(number, name), daemon=True).start()
    for _browser in people:
        assert school.listening.acquire(timeout=60), "not every browser was let in"
    school.heard.clear()

    wishes = [(name, node) for _turn in range(4) for name in STUDENTS for node in NODES]
    assert len(wishes) == 24
    begun = time.monotonic()
    with ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(lambda wish: press(school, *wish), wishes))
    assert [status for status, _seconds in answers] == [303] * 24
    assert time.monotonic() - begun < ANSWERED

    jobs = school.resets()
    # Of the four that wish the same, the first may have begun already, and is then another one than those that wait.
    assert len(STUDENTS) * len(NODES) <= len(jobs) <= 2 * len(STUDENTS) * len(NODES), jobs
    waiting = [job for job in jobs if job.state is JobState.WAITING]
    assert waiting, "what waits has a place"
    assert len({job.ahead for job in waiting}) == len(waiting), "no two have the same place"
    shown = []
    for name in STUDENTS:
        with school.browser(name) as client:
            shown += WAITING.findall(client.get(f"/labs/dmz-{name}").text)
    assert any(shown), "some page tells how many are before"

    wait_for(lambda: all(job.state not in {JobState.WAITING, JobState.RUNNING} for job in school.resets()), DONE)
    assert {(job.state, job.error) for job in school.resets()} == {(JobState.DONE, "")}
    assert time.monotonic() - begun < DONE
    wait_for(lambda: school.states() == {LabState.READY}, 300)
    assert {number for number in range(BROWSERS) if not school.heard[number]} == set(), "every browser was told"
    for name in STUDENTS:
        kept = {
            node: school.labctl.run("ssh", f"dmz-{name}", node, "--", "test", "-e", "/root/mine").returncode == 0
            for node in ("fw", *NODES)
        }
        assert kept == {"fw": True, "client": False, "web": False}
