"""A student's real lab through the worker: reset, checks, rest and waking, a worker that is killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from labctl.worker.accounts import Accounts
from labctl.worker.answers import JobLine
from labctl.worker.client import BlockingClient
from labctl.worker.records import Records
from labctl.worker.requests import AskBoard, AskFeedback, AskJobs, AskLab, Reset, RunChecks, Suspend, Wake
from labctl.worker.values import JobState, LabState, Role
from labctl.worker.wire import NotDone
from tests.homes import TEST_HOME
from tests.vm.conftest import LAB, Installation
from tests.worker.offices import CLASS, student

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.usefixtures("lab"), pytest.mark.timeout(1800)]

OWNER = LAB.removeprefix("dmz-")
PATIENCE = 900.0  # seconds; emulated guests take their time
T = TypeVar("T")


@dataclass
class Service:
    """A worker's process, and the tokens of a student and a trainer."""

    environment: dict[str, str]
    process: "subprocess.Popen[bytes]"
    client: BlockingClient
    student: str
    trainer: str

    def ended(self, job: JobLine) -> JobLine:
        """Wait for the end of a job, through workers that come and go, and return it."""

        def look() -> JobLine | None:
            try:
                jobs = self.client.ask(AskJobs(token=self.student, language="en", lab=LAB)).jobs
            except NotDone:
                return None
            found = next(one for one in jobs if one.id == job.id)
            return None if found.state in {JobState.WAITING, JobState.RUNNING} else found

        return wait_for(look)

    def restart(self) -> None:
        """Kill the worker, as a crash would, and start another one."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = start(self.environment)


def wait_for(look: "Callable[[], T | None]") -> T:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.5)
    raise AssertionError(look)


def start(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-P", "-m", "labctl.worker.main"], env=environment)


@pytest.fixture(scope="module")
def service(labctl: Installation, lab: Any) -> Iterator[Service]:
    assert lab.returncode == 0, lab.stderr
    library = str(Path(__file__).parents[2])
    environment = {**labctl.environment, "PYTHONPATH": library}
    (TEST_HOME / "portal.sqlite3").unlink(missing_ok=True)
    accounts = Accounts(Records(TEST_HOME))
    accounts.enrol(CLASS, "sisr2.csv", [student(OWNER)])
    accounts.set_account("durand", "Mme Durand", Role.TRAINER, (CLASS,))
    tokens = []
    for name in (OWNER, "durand"):
        row = accounts.find(name)
        assert row
        tokens.append(accounts.begin_session(row, "", must_choose=False).token)
    client = BlockingClient(TEST_HOME / "portal" / "worker.sock")
    found = Service(environment, start(environment), client, *tokens)
    wait_for(lambda: state_of(found) is LabState.READY)
    yield found
    found.process.terminate()
    assert found.process.wait(60) == 0


def state_of(service: Service) -> LabState | None:
    try:
        return service.client.ask(AskLab(token=service.student, language="en", lab=LAB)).line.state
    except NotDone:
        return None


def test_a_reset_of_one_machine_loses_what_was_done_there_only(service: Service, labctl: Installation) -> None:
    for node in ("client", "web"):
        assert labctl.on(node, "touch", "/root/mine").returncode == 0
    job = service.client.ask(Reset(token=service.student, language="en", lab=LAB, nodes=("client",))).job
    assert service.ended(job).state is JobState.DONE
    assert labctl.on("client", "test", "-e", "/root/mine").returncode == 1
    assert labctl.on("web", "test", "-e", "/root/mine").returncode == 0


def test_the_checks_of_a_whole_lab_pass(service: Service) -> None:
    job = service.client.ask(RunChecks(token=service.student, language="en", lab=LAB)).job
    assert service.ended(job).state is JobState.DONE
    counts = service.client.ask(AskFeedback(token=service.student, language="en", lab=LAB)).counts
    assert (counts.failed, counts.unknown) == (0, 0)
    assert counts.passed == counts.total > 10


def test_rest_and_waking_keep_what_runs_and_the_time(service: Service, labctl: Installation) -> None:
    boot = labctl.on("web", "cat", "/proc/sys/kernel/random/boot_id").stdout
    job = service.client.ask(Suspend(token=service.trainer, language="en", lab=LAB)).job
    assert service.ended(job).state is JobState.DONE
    board = service.client.ask(AskBoard(token=service.trainer, language="en", class_name=CLASS))
    assert board.rows[0].state is LabState.SUSPENDED
    time.sleep(20)
    start = time.monotonic()
    job = service.client.ask(Wake(token=service.student, language="en", lab=LAB)).job
    assert service.ended(job).state is JobState.DONE
    assert time.monotonic() - start < 60
    wait_for(lambda: state_of(service) is LabState.READY)
    assert labctl.on("web", "cat", "/proc/sys/kernel/random/boot_id").stdout == boot
    late = time.time() - float(labctl.on("web", "date", "+%s").stdout)
    assert abs(late) < 10


def test_a_worker_killed_in_the_middle_of_a_reset_is_no_loss(service: Service) -> None:  # F-03 F-37
    job = service.client.ask(Reset(token=service.student, language="en", lab=LAB)).job

    def under_way() -> JobLine | None:
        found = service.client.ask(AskJobs(token=service.student, language="en", lab=LAB)).jobs
        return next((one for one in found if one.id == job.id and one.step), None)

    wait_for(under_way)
    time.sleep(2)
    service.restart()
    done = service.ended(job)
    assert done.state is JobState.DONE, done.error
    wait_for(lambda: state_of(service) is LabState.READY)
    leftovers = [name for name in os.listdir(TEST_HOME / "labs" / LAB / "disks") if ".new." in name]  # noqa: PTH208
    assert leftovers == []
