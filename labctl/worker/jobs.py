"""Wishes to stored jobs: a class with a limit each, nobody's wish twice, in order, and taken up again after a crash."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from labctl.errors import LabctlError
from labctl.lab.lock import acting_for
from labctl.language import _, speaking
from labctl.monitor import Event, Progress
from labctl.worker.records import KEPT_JOBS, Records, now
from labctl.worker.values import JobState

ATTEMPTS = 3  # of a job whose worker died with it: it may be the job that kills
TOLD, STORED = 0.3, 2.0  # seconds between two tellings, and two writings, of how far a job is
LONGEST_QUEUE = 2000  # jobs that wait; a class of 30 that presses every button has fewer
OPEN = (JobState.WAITING, JobState.RUNNING)


class JobClass(StrEnum):
    """What jobs share a limit: those of one class wear out the same thing."""

    DISK = "disk"
    CHECKS = "checks"
    POWER = "power"
    WHOLE = "whole"


LIMITS = {JobClass.DISK: 3, JobClass.CHECKS: 3, JobClass.POWER: 4, JobClass.WHOLE: 1}
CLASS_OF = {
    "reset": JobClass.DISK, "checkpoint_save": JobClass.DISK, "checkpoint_restore": JobClass.DISK,
    "checkpoint_remove": JobClass.DISK, "run_checks": JobClass.CHECKS, "wake": JobClass.POWER,
    "suspend": JobClass.POWER,
    "exam_reset": JobClass.DISK, "exam_wake": JobClass.POWER, "down": JobClass.POWER, "start": JobClass.WHOLE,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants done. `details` are what the verb needs beside the lab, and say what is the same wish."""

    verb: str
    lab: str = ""
    class_name: str = ""
    owner: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    who: str
    language: str


@dataclass(frozen=True)
class Job:
    """One stored job."""

    id: int
    at: str
    wish: Wish
    state: JobState
    attempts: int
    step: str = ""
    fraction: float | None = None
    started: str = ""
    ended: str = ""
    error: str = ""
    hint: str = ""

    @property
    def kind(self) -> JobClass:
        """Return its class."""
        return CLASS_OF[self.wish.verb]


class Jobs:
    """Does stored jobs in threads. `acts` does one by its verb, `changed` is told of every change, from any thread."""

    def __init__(
        self, records: Records, acts: Mapping[str, "Callable[[Job, Teller], None]"], changed: Callable[[Job], None],
        longest_queue: int = LONGEST_QUEUE,
    ) -> None:  # fmt: skip
        self._records = records
        self._acts = acts
        self._changed = changed
        self._longest_queue = longest_queue
        self._lock = threading.Lock()
        self._open: dict[int, Job] = {}  # in order; what waits and what runs, as far as it is
        self._stopping = False
        self._threads = ThreadPoolExecutor(sum(LIMITS.values()), thread_name_prefix="job")

    def resume(self) -> tuple[Job, ...]:
        """Take up again what a crash left; return it. A job that was running too often is given up."""
        found = self._read("state IN ('waiting', 'running') ORDER BY id")
        for job in found:
            if job.attempts >= ATTEMPTS:
                text = _("given up: the service stopped {count} times while this was being done")
                ended = replace(job, state=JobState.INTERRUPTED, ended=now(), error=text.format(count=job.attempts))
                self._write(ended)
            else:
                waiting = replace(job, state=JobState.WAITING)
                self._write(waiting)
                self._open[job.id] = waiting
        resumed = tuple(self._open.values())
        self._pump()
        return resumed

    def add(self, wish: Wish) -> tuple[Job, bool]:
        """Store a wish; return its job and whether it is new. The same wish that waits already is that one."""
        details = json.dumps(dict(wish.details), sort_keys=True)
        with self._lock:
            same = (wish.verb, wish.lab, wish.class_name, details)
            for job in self._open.values():
                if job.state is JobState.WAITING and same_as(job.wish) == same:
                    return job, False
            if len(self._open) >= self._longest_queue:
                raise LabctlError(_("too much is waiting to be done; try again later"))
            job = Job(self._insert(wish, details), now(), wish, JobState.WAITING, 0)
            self._open[job.id] = job
        self._tell(job)
        self._pump()
        return self.find(job.id) or job, True

    def find(self, number: int) -> Job | None:
        """Return a job that waits or runs."""
        with self._lock:
            return self._open.get(number)

    def open_jobs(self, lab: str = "") -> tuple[Job, ...]:
        """Return what waits or runs, in order: of one lab, or all."""
        with self._lock:
            return tuple(job for job in self._open.values() if not lab or job.wish.lab == lab)

    def ahead(self, job: Job) -> int:
        """Return how many jobs of the same class come before one that waits."""
        with self._lock:
            return sum(
                other.kind is job.kind and other.id < job.id and job.state is JobState.WAITING
                for other in self._open.values()
            )

    def history(self, labs: Sequence[str], limit: int = 30) -> tuple[Job, ...]:
        """Return the last jobs of some labs, the newest first, as far as each is."""
        if not labs:
            return ()
        marks = ", ".join("?" * len(labs))
        found = self._read(f"lab IN ({marks}) ORDER BY id DESC LIMIT {limit}", tuple(labs))
        with self._lock:
            return tuple(self._open.get(job.id, job) for job in found)

    def stop(self, patience: float = 10.0) -> None:
        """Begin nothing any more and wait a while; what still runs then is taken up by the next worker."""
        with self._lock:
            self._stopping = True
        until = time.monotonic() + patience
        while time.monotonic() < until and any(job.state is JobState.RUNNING for job in self.open_jobs()):
            time.sleep(0.05)
        for job in self.open_jobs():
            if job.state is JobState.RUNNING:  # stopped by a person, not by the job: this attempt does not count
                with suppress(LabctlError):
                    self._write(replace(job, state=JobState.WAITING, attempts=job.attempts - 1))
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _pump(self) -> None:
        """Begin what may begin: within the limits of the classes, and one at a time for each lab."""
        begun = []
        with self._lock:
            if self._stopping:
                return
            running = [job for job in self._open.values() if job.state is JobState.RUNNING]
            counts = {kind: sum(job.kind is kind for job in running) for kind in JobClass}
            busy = {job.wish.lab for job in running if job.wish.lab}
            for job in list(self._open.values()):
                lab = job.wish.lab
                if job.state is not JobState.WAITING or counts[job.kind] >= LIMITS[job.kind] or lab in busy:
                    if lab:
                        busy.add(lab)  # a lab's jobs keep their order
                    continue
                started = replace(job, state=JobState.RUNNING, started=now(), attempts=job.attempts + 1)
                self._open[job.id] = started
                counts[job.kind] += 1
                if lab:
                    busy.add(lab)
                begun.append(started)
        for job in begun:
            self._write(job)
            self._tell(job)
            self._threads.submit(self._do, job)

    def _do(self, job: Job) -> None:
        teller = Teller(self, job.id)
        try:
            with speaking(job.wish.language), acting_for(job.wish.who):
                self._acts[job.wish.verb](job, teller)
        except LabctlError as exc:
            self._end(job.id, JobState.FAILED, exc.message, exc.hint)
        except Exception as exc:
            self._end(job.id, JobState.FAILED, f"{type(exc).__name__}: {exc}", "")
        else:
            self._end(job.id, JobState.DONE, "", "")
        self._pump()

    def _end(self, number: int, state: JobState, error: str, hint: str) -> None:
        with self._lock:
            job = self._open[number]
        fraction = 1.0 if state is JobState.DONE else job.fraction
        ended = replace(job, state=state, ended=now(), error=error[:2000], hint=hint[:400], fraction=fraction, step="")
        with suppress(LabctlError):  # the disk is full: what was done is done
            self._write(ended)
        with self._lock:
            del self._open[number]
        self._tell(ended)

    def note(self, number: int, step: str, fraction: float | None, *, store: bool) -> None:
        """Note how far a running job is."""
        with self._lock:
            job = self._open.get(number)
            if job is None:
                return
            job = replace(job, step=step[:300], fraction=job.fraction if fraction is None else fraction)
            self._open[number] = job
        if store:
            with suppress(LabctlError):
                self._write(job)
        self._tell(job)

    def _tell(self, job: Job) -> None:
        with suppress(LabctlError):
            self._changed(job)

    def _insert(self, wish: Wish, details: str) -> int:
        row = (now(), CLASS_OF[wish.verb], wish.verb, wish.lab, wish.class_name, wish.owner, details, wish.who,
               wish.language)  # fmt: skip
        with self._records.transaction() as connection:
            added = connection.execute(
                """INSERT INTO job (at, kind, verb, lab, class, owner, details, who, language, state, attempts, step,
                   fraction, started, ended, error, hint)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', 0, '', NULL, '', '', '', '')""",
                row,
            ).lastrowid
            connection.execute("DELETE FROM job WHERE id <= ? AND ended <> ''", ((added or 0) - KEPT_JOBS,))
        return added or 0

    def _write(self, job: Job) -> None:
        values = (job.state, job.attempts, job.step, job.fraction, job.started, job.ended, job.error, job.hint, job.id)
        with self._records.transaction() as connection:
            connection.execute(
                """UPDATE job SET state = ?, attempts = ?, step = ?, fraction = ?, started = ?, ended = ?, error = ?,
                   hint = ? WHERE id = ?""",
                values,
            )

    def _read(self, where: str, values: tuple[object, ...] = ()) -> tuple[Job, ...]:
        query = f"""SELECT id, at, verb, lab, class, owner, details, who, language, state, attempts, step, fraction,
                    started, ended, error, hint FROM job WHERE {where}"""  # noqa: S608  our own words
        with self._records.transaction(reading=True) as connection:
            return tuple(map(read_job, connection.execute(query, values)))


@dataclass
class Teller:
    """The monitor of one job: what its act tells becomes the job's step."""

    jobs: Jobs
    number: int
    told: float = 0.0
    stored: float = 0.0

    def tell(self, event: Event) -> None:
        """Note an event; very many in a short time become one."""
        at = time.monotonic()
        if at - self.told < TOLD and event.progress is not Progress.FAILED:
            return
        self.told = at
        store = at - self.stored >= STORED
        if store:
            self.stored = at
        said = " · ".join(part for part in (event.subject, event.detail or event.step) if part)
        self.jobs.note(self.number, said, event.fraction, store=store)

    def step(self, said: str, fraction: float | None = None) -> None:
        """Note a sentence of our own."""
        self.jobs.note(self.number, said, fraction, store=True)


def same_as(wish: Wish) -> tuple[str, str, str, str]:
    """Return what makes two wishes the same, whoever has them."""
    return wish.verb, wish.lab, wish.class_name, json.dumps(dict(wish.details), sort_keys=True)


def read_job(row: Sequence[object]) -> Job:
    """Return the job of a row."""
    verb, lab, class_name, owner, details, who, language = map(str, row[2:9])
    wish = Wish(verb=verb, lab=lab, class_name=class_name, owner=owner, details=json.loads(details), who=who,
                language=language)  # fmt: skip
    started, ended, error, hint = map(str, row[13:17])
    fraction = None if row[12] is None else float(str(row[12]))
    state, attempts = JobState(str(row[9])), int(str(row[10]))
    return Job(
        int(str(row[0])), str(row[1]), wish, state, attempts, str(row[11]), fraction, started, ended, error, hint
    )
