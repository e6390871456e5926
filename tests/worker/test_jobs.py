"""Jobs: limits, order, deduplication, progress, and what a crash of the worker leaves."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.lab.lock import who
from labctl.language import current_language
from labctl.monitor import Event, Progress
from labctl.worker.jobs import ATTEMPTS, CLASS_OF, LIMITS, Job, JobClass, Jobs, Teller, Wish
from labctl.worker.records import Records
from labctl.worker.values import JobState
from tests.worker.offices import wait_for

Act = Callable[[Job, Teller], None]


def wish(verb: str = "reset", lab: str = "dmz-alice", **details: object) -> Wish:
    return Wish(verb=verb, lab=lab, owner=lab.rpartition("-")[2], details=details, who="alice", language="fr")


def jobs_with(home: Path, act: Act, told: list[Job] | None = None) -> Jobs:
    heard = told if told is not None else []
    return Jobs(Records(home), dict.fromkeys(CLASS_OF, act), heard.append)


def nothing(_job: Job, _teller: Teller) -> None:
    return


def test_a_job_runs_for_its_person_in_their_language(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    jobs = jobs_with(tmp_path, lambda _job, _teller: seen.append((who(), current_language())))
    job, _new = jobs.add(wish())
    wait_for(lambda: jobs.history(["dmz-alice"])[0].state is JobState.DONE)
    assert seen == [("alice", "fr")]
    assert job.wish.verb == "reset"


def test_the_same_wish_that_waits_is_one_job(tmp_path: Path) -> None:
    go = threading.Event()

    def act(_job: Job, _teller: Teller) -> None:
        go.wait(10)

    jobs = jobs_with(tmp_path, act)
    first, _ = jobs.add(wish())
    wait_for(lambda: (jobs.find(first.id) or first).state is JobState.RUNNING)
    second, new = jobs.add(wish())
    third, again = jobs.add(wish())
    assert (new, again, second.id == third.id) == (True, False, True)
    other, fresh = jobs.add(wish(nodes=["web"]))
    assert (fresh, other.id != second.id) == (True, True)
    go.set()
    wait_for(lambda: not jobs.open_jobs())


def test_24_resets_at_once_keep_their_order_and_the_limit(tmp_path: Path) -> None:  # F-09
    running, most, order = [0], [0], []
    lock = threading.Lock()

    def act(job: Job, _teller: Teller) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(job.wish.lab)
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    jobs = jobs_with(tmp_path, act)
    labs = [f"dmz-s{number:02}" for number in range(24)]
    added = [jobs.add(wish(lab=lab))[0] for lab in labs]
    assert jobs.ahead(added[-1]) > 0
    wait_for(lambda: not jobs.open_jobs())
    assert most[0] <= LIMITS[JobClass.DISK]
    assert sorted(order) == labs
    assert max(abs(order.index(lab) - place) for place, lab in enumerate(labs)) < LIMITS[JobClass.DISK]


def test_two_jobs_of_one_lab_never_run_side_by_side(tmp_path: Path) -> None:
    running: list[int] = []
    overlaps: list[int] = []

    def act(job: Job, _teller: Teller) -> None:
        overlaps.extend(running)
        running.append(job.id)
        time.sleep(0.03)
        running.remove(job.id)

    jobs = jobs_with(tmp_path, act)
    for verb in ("reset", "run_checks", "suspend", "wake"):
        jobs.add(wish(verb))
    wait_for(lambda: not jobs.open_jobs())
    assert overlaps == []


def test_one_that_fails_is_told_with_its_hint_and_stops_no_other(tmp_path: Path) -> None:
    def act(job: Job, _teller: Teller) -> None:
        if job.wish.lab == "dmz-bad":
            raise LabctlError("no room", hint="df -h")
        if job.wish.lab == "dmz-worse":
            raise ZeroDivisionError

    told: list[Job] = []
    jobs = jobs_with(tmp_path, act, told)
    for lab in ("dmz-bad", "dmz-worse", "dmz-good"):
        jobs.add(wish(lab=lab))
    wait_for(lambda: not jobs.open_jobs())
    ended = {job.wish.lab: job for job in jobs.history(["dmz-bad", "dmz-worse", "dmz-good"])}
    assert (ended["dmz-bad"].error, ended["dmz-bad"].hint) == ("no room", "df -h")
    assert ended["dmz-worse"].state is JobState.FAILED
    assert ended["dmz-good"].state is JobState.DONE
    assert {job.state for job in told if job.wish.lab == "dmz-bad"} == {
        JobState.WAITING, JobState.RUNNING, JobState.FAILED,
    }  # fmt: skip


def test_progress_is_told_and_kept(tmp_path: Path) -> None:
    go = threading.Event()

    def act(_job: Job, teller: Teller) -> None:
        teller.tell(Event("web", "restore", Progress.RUNNING, "half way", 0.5))
        go.wait(10)

    jobs = jobs_with(tmp_path, act)
    job, _ = jobs.add(wish())
    other = jobs_with(tmp_path, nothing)
    wait_for(lambda: other.history(["dmz-alice"])[0].step)
    stored = other.history(["dmz-alice"])[0]
    assert stored.id == job.id
    assert (stored.step, stored.fraction, stored.state) == ("web · half way", 0.5, JobState.RUNNING)
    go.set()
    wait_for(lambda: not jobs.open_jobs())


def hang(home: Path, began: Path) -> None:
    def act(job: Job, _teller: Teller) -> None:
        began.with_name(f"{began.name}.{job.wish.lab}").touch()
        time.sleep(60)

    jobs = jobs_with(home, act)
    jobs.resume()
    if not jobs.open_jobs():
        for number in range(6):
            jobs.add(wish(lab=f"dmz-s{number}"))
    time.sleep(60)


def kill_one_in_the_middle(home: Path, began: Path) -> None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=hang, args=(home, began))
    child.start()
    wait_for(lambda: len(list(began.parent.glob(f"{began.name}.*"))) == LIMITS[JobClass.DISK])
    stored = jobs_with(home, nothing)
    wait_for(lambda: len(stored.history([f"dmz-s{number}" for number in range(6)])) == 6)
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    for path in began.parent.glob(f"{began.name}.*"):
        path.unlink()


def test_jobs_of_a_worker_that_was_killed_are_done_by_the_next(tmp_path: Path) -> None:
    kill_one_in_the_middle(tmp_path, tmp_path / "began")
    done: list[str] = []
    jobs = jobs_with(tmp_path, lambda job, _teller: done.append(job.wish.lab))
    resumed = jobs.resume()
    assert len(resumed) == 6
    wait_for(lambda: not jobs.open_jobs())
    assert sorted(done) == [f"dmz-s{number}" for number in range(6)]
    attempts = {job.wish.lab: job.attempts for job in jobs.history(done)}
    assert sorted(attempts.values()) == [1, 1, 1, 2, 2, 2]


def test_a_job_that_kills_its_worker_each_time_is_given_up(tmp_path: Path) -> None:
    for _ in range(ATTEMPTS):
        kill_one_in_the_middle(tmp_path, tmp_path / "began")
    jobs = jobs_with(tmp_path, nothing)
    jobs.resume()
    wait_for(lambda: not jobs.open_jobs())
    states = [job.state for job in jobs.history([f"dmz-s{number}" for number in range(6)])]
    assert states.count(JobState.INTERRUPTED) == LIMITS[JobClass.DISK]
    assert states.count(JobState.DONE) == 3


def test_stopping_on_purpose_does_not_count_as_a_crash(tmp_path: Path) -> None:
    go = threading.Event()

    def act(_job: Job, _teller: Teller) -> None:
        go.wait(20)

    for _ in range(ATTEMPTS + 1):
        jobs = jobs_with(tmp_path, act)
        jobs.resume()
        if not jobs.open_jobs():
            jobs.add(wish())
        wait_for(lambda jobs=jobs: any(job.state is JobState.RUNNING for job in jobs.open_jobs()))  # type: ignore[misc]
        jobs.stop(0)
    stored = jobs_with(tmp_path, nothing).history(["dmz-alice"])
    assert [(job.state, job.attempts) for job in stored] == [(JobState.WAITING, 0)]
    go.set()


def test_the_queue_has_an_end(tmp_path: Path) -> None:
    jobs = Jobs(Records(tmp_path), dict.fromkeys(CLASS_OF, nothing), lambda _job: None, longest_queue=5)
    jobs.stop(0)
    for number in range(5):
        jobs.add(wish(lab=f"dmz-s{number}"))
    with pytest.raises(LabctlError):
        jobs.add(wish(lab="dmz-late"))
