"""Keeps what libvirt cannot: intents, jobs, check outcomes and the history of labs, in one SQLite file.

Everything here can be lost without losing a lab: libvirt's own metadata says what exists.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from labctl.database import Database
from labctl.migrations import MIGRATIONS
from labctl.process import birth, lives

if TYPE_CHECKING:  # pydantic takes a fifth of the time that `labctl status` has
    from pydantic import JsonValue

KEPT_EVENTS = 10_000  # per lab
KEPT_TIMINGS = 50  # per kind of work
KEPT_JOBS = 1_000  # that have ended
KEPT_LAYOUTS = 200  # topologies whose machines are known without reading the file


class StoredOutcome(NamedTuple):
    """The last result of one check: "passed", "failed" or "unknown", and when (UTC, ISO 8601)."""

    check: str
    result: str
    at: str


class KeptOutcome(NamedTuple):
    """The last result of one check with its evidence, as `Outcome.to_dict` wrote it."""

    check: str
    result: str
    at: str
    evidence: "JsonValue"


class StoredEvent(NamedTuple):
    """One line of a lab's history."""

    at: str
    who: str
    what: str
    detail: str


class StoredLab(NamedTuple):
    """When a lab was made or last reset as a whole and last brought up, and the host's boot id then, "" if unknown."""

    boot: str
    made: str
    up: str


class StoredFault(NamedTuple):
    """A fault that was injected: `baseline` are the checks that passed before it, `seed` is "" where it was named."""

    fault: str
    node: str
    at: str
    who: str
    seed: str
    baseline: frozenset[str]


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class Job:
    """One act on one lab that a process (`pid`, born `pid_started`) waits to do, does or did.

    `nodes` is empty for the whole lab; `code` is the exit code, None before the end and for a job whose
    process died; times are UTC, ISO 8601.
    """

    id: int
    at: str
    lab: str
    verb: str
    nodes: tuple[str, ...]
    who: str
    pid: int
    pid_started: str
    state: JobState
    code: int | None
    started: str | None
    ended: str | None

    @property
    def lives(self) -> bool:
        """Return whether it has not ended and its process is still there."""
        return self.state is not JobState.ENDED and lives(self.pid, self.pid_started)


class Queued(NamedTuple):
    """The place in the queue that an act has; `new` is false where somebody waits for the same act already."""

    id: int
    new: bool


def read_job(row: Sequence[Any]) -> Job:
    """Return the job of a row of its table, whose columns stand in the order of a job's fields."""
    job = Job(*row)
    return replace(job, nodes=tuple(json.loads(row[4])), state=JobState(row[8]))


def read_fault(row: Sequence[Any]) -> StoredFault:
    """Return the fault of a row of its table without the lab."""
    fault, node, at, who, seed, baseline = row
    return StoredFault(fault, node, at, who, seed, frozenset(json.loads(baseline)))


def now() -> str:
    """Return the time as it is stored: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store(Database):
    """The database of one home; opened for a short time, by any number of processes."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "labctl.sqlite3", MIGRATIONS)

    @contextmanager
    def intent(self, lab: str, act: str, target: str) -> Iterator[None]:
        """Commit that something is about to be done; forget it when the block ends well."""
        with self.transaction() as connection:
            row = connection.execute(
                "INSERT INTO intent (at, lab, act, target) VALUES (?, ?, ?, ?)", (now(), lab, act, target)
            ).lastrowid
        yield
        with self.transaction() as connection:
            connection.execute("DELETE FROM intent WHERE id = ?", (row,))

    def begin(self, lab: str, acts: Sequence[tuple[str, str]]) -> None:
        """Commit that several acts, each with its target, are about to be done; `close_intents` forgets them."""
        with self.transaction() as connection:
            rows = [(now(), lab, act, target) for act, target in acts]
            connection.executemany("INSERT INTO intent (at, lab, act, target) VALUES (?, ?, ?, ?)", rows)

    def open_intents(self, lab: str) -> tuple[tuple[str, str], ...]:
        """Return (act, target) of what was begun and never ended: an interrupted run."""
        with self.transaction(reading=True) as connection:
            rows = connection.execute("SELECT act, target FROM intent WHERE lab = ? ORDER BY id", (lab,))
            return tuple((str(act), str(target)) for act, target in rows)

    def close_intents(self, lab: str, failed: Collection[str] = ()) -> None:
        """Forget interrupted work: a whole run has ended since. What it `failed` on stays unfinished."""
        kept = ", ".join("?" * len(failed))
        with self.transaction() as connection:
            connection.execute(f"DELETE FROM intent WHERE lab = ? AND target NOT IN ({kept})", (lab, *failed))  # noqa: S608  question marks

    def add_event(self, lab: str, who: str, what: str, detail: str = "") -> None:
        """Add one line to a lab's history; the oldest lines of a very long one go."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO event (at, lab, who, what, detail) VALUES (?, ?, ?, ?, ?)", (now(), lab, who, what, detail)
            )
            prune = """DELETE FROM event WHERE lab = ?1 AND id <=
                       (SELECT id FROM event WHERE lab = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"""
            connection.execute(prune, (lab, KEPT_EVENTS))

    def events(self, lab: str) -> tuple[StoredEvent, ...]:
        """Return a lab's history, oldest first."""
        with self.transaction(reading=True) as connection:
            rows = connection.execute("SELECT at, who, what, detail FROM event WHERE lab = ? ORDER BY id", (lab,))
            return tuple(StoredEvent(*row) for row in rows)

    def save_outcomes(
        self, lab: str, outcomes: Sequence[tuple[str, str, "Mapping[str, JsonValue]"]], *, whole: bool
    ) -> None:
        """Keep a lab's last results, (check id, result, evidence) each; `whole` drops those of other checks."""
        rows = [(lab, check, now(), result, json.dumps(evidence)) for check, result, evidence in outcomes]
        with self.transaction() as connection:
            if whole:
                connection.execute("DELETE FROM outcome WHERE lab = ?", (lab,))
            connection.executemany("INSERT OR REPLACE INTO outcome VALUES (?, ?, ?, ?, ?)", rows)

    def outcomes(self) -> dict[str, tuple[StoredOutcome, ...]]:
        """Return the last results of all labs by lab."""
        found: dict[str, list[StoredOutcome]] = {}
        with self.transaction(reading=True) as connection:
            for lab, check, result, at in connection.execute(
                'SELECT lab, "check", result, at FROM outcome ORDER BY rowid'
            ):
                found.setdefault(lab, []).append(StoredOutcome(check, result, at))
        return {lab: tuple(outcomes) for lab, outcomes in found.items()}

    def kept_outcomes(self, labs: Collection[str]) -> dict[str, tuple[KeptOutcome, ...]]:
        """Return the last results of some labs with their evidence, by lab; one that was never checked is left out."""
        found: dict[str, list[KeptOutcome]] = {}
        query = 'SELECT "check", result, at, evidence FROM outcome WHERE lab = ? ORDER BY rowid'
        with self.transaction(reading=True) as connection:
            for lab in dict.fromkeys(labs):
                for check, result, at, evidence in connection.execute(query, (lab,)):
                    found.setdefault(lab, []).append(KeptOutcome(check, result, at, json.loads(evidence)))
        return {lab: tuple(outcomes) for lab, outcomes in found.items()}

    def add_timing(self, what: str, seconds: float) -> None:
        """Keep how long a kind of work took on this host."""
        with self.transaction() as connection:
            connection.execute("INSERT INTO timing (what, seconds) VALUES (?, ?)", (what, seconds))
            prune = """DELETE FROM timing WHERE what = ?1 AND id <=
                       (SELECT id FROM timing WHERE what = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"""
            connection.execute(prune, (what, KEPT_TIMINGS))

    def expected_seconds(self, what: str) -> float | None:
        """Return the median of the last five timings of a kind of work, None before the first."""
        from statistics import median

        with self.transaction(reading=True) as connection:
            rows = connection.execute("SELECT seconds FROM timing WHERE what = ? ORDER BY id DESC LIMIT 5", (what,))
            past = [float(seconds) for (seconds,) in rows]
        return median(past) if past else None

    def note_boot(self, lab: str, boot: str, *, reset: bool = False, made: str = "") -> None:
        """Keep under which boot id of the host a lab was last brought up; `reset` says that it is as new.

        `made` is when a lab that is not known yet was made, now by default.
        """
        at = now()
        with self.transaction() as connection:
            connection.execute(
                """INSERT INTO lab VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
                   SET boot = ?2, up = ?4, made = iif(?5, ?4, made)""",
                (lab, boot, made or at, at, reset),
            )

    def labs(self) -> dict[str, StoredLab]:
        """Return what is kept of all labs, by lab."""
        with self.transaction(reading=True) as connection:
            return {lab: StoredLab(*row) for lab, *row in connection.execute("SELECT lab, boot, made, up FROM lab")}

    def lab(self, lab: str) -> StoredLab | None:
        """Return what is kept of one lab, None where nothing is."""
        with self.transaction(reading=True) as connection:
            row = connection.execute("SELECT boot, made, up FROM lab WHERE lab = ?", (lab,)).fetchone()
        return None if row is None else StoredLab(*row)

    def known_names(self) -> frozenset[str]:
        """Return the labs of which anything but history is kept."""
        with self.transaction(reading=True) as connection:
            rows = connection.execute("SELECT lab FROM lab UNION SELECT lab FROM outcome UNION SELECT lab FROM intent")
            return frozenset(lab for (lab,) in rows)

    def layouts(self) -> dict[str, tuple[str, ...]]:
        """Return the machines of the topologies that were read before, in order, by the digest of the file."""
        with self.transaction(reading=True) as connection:
            rows = connection.execute("SELECT digest, machines FROM layout")
            return {digest: tuple(json.loads(machines)) for digest, machines in rows}

    def save_layout(self, digest: str, machines: Sequence[str]) -> None:
        """Keep the machines of a topology file; what was kept first goes first."""
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO layout VALUES (?, ?)", (digest, json.dumps(list(machines))))
            connection.execute(
                """DELETE FROM layout WHERE rowid <=
                   (SELECT rowid FROM layout ORDER BY rowid DESC LIMIT 1 OFFSET ?)""",
                (KEPT_LAYOUTS,),
            )

    def forget(self, lab: str) -> None:
        """Drop a removed lab's results, intents and times; its history stays."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM outcome WHERE lab = ?", (lab,))
            connection.execute("DELETE FROM intent WHERE lab = ?", (lab,))
            connection.execute("DELETE FROM lab WHERE lab = ?", (lab,))
            connection.execute("DELETE FROM fault WHERE lab = ?", (lab,))

    def add_fault(self, lab: str, fault: StoredFault) -> None:
        """Keep that a fault is about to be injected."""
        row = (lab, fault.fault, fault.node, fault.at, fault.who, fault.seed, json.dumps(sorted(fault.baseline)))
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO fault VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def faults(self, lab: str) -> tuple[StoredFault, ...]:
        """Return the faults that were injected into a lab and not cleared since, oldest first."""
        with self.transaction(reading=True) as connection:
            query = "SELECT fault, node, at, who, seed, baseline FROM fault WHERE lab = ? ORDER BY at, rowid"
            rows = connection.execute(query, (lab,))
            return tuple(read_fault(row) for row in rows)

    def remove_fault(self, lab: str, fault: str) -> None:
        """Forget that a fault was injected."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM fault WHERE lab = ? AND fault = ?", (lab, fault))

    def forget_faults(self, lab: str, nodes: Collection[str]) -> None:
        """Forget the faults of nodes that were made anew."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM fault WHERE lab = ? AND node = ?", [(lab, node) for node in nodes])

    def draws(self, lot: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the positions that owners have drawn, oldest first; `lot` is topology, edition, secret and session."""
        query = """SELECT owner, positions FROM draw
            WHERE topology = ? AND edition = ? AND secret = ? AND session = ? ORDER BY at, rowid"""
        with self.transaction(reading=True) as connection:
            return {owner: json.loads(positions) for owner, positions in connection.execute(query, tuple(lot))}

    def add_draws(self, lot: Sequence[str], drawn: Mapping[str, Mapping[str, int]]) -> None:
        """Keep what owners have drawn; what one has already stays."""
        rows = [(*lot, owner, now(), json.dumps(dict(positions))) for owner, positions in drawn.items()]
        with self.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO draw VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def add_job(self, lab: str, verb: str, nodes: Collection[str], who: str) -> Queued:
        """Put an act of this process at the end of the queue, unless a living one already waits for the same."""
        self.close_dead_jobs()
        named, pid = json.dumps(sorted(nodes)), os.getpid()
        with self.transaction() as connection:
            same = "SELECT id FROM job WHERE state = 'waiting' AND lab = ? AND verb = ? AND nodes = ?"
            if found := connection.execute(same, (lab, verb, named)).fetchone():
                return Queued(int(found[0]), new=False)
            insert = """INSERT INTO job (at, lab, verb, nodes, who, pid, pid_started, state)
                        VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting')"""
            added = connection.execute(insert, (now(), lab, verb, named, who, pid, birth(pid)))
            return Queued(added.lastrowid or 0, new=True)

    def jobs_ahead(self, job: int) -> int:
        """Return how many living jobs came before this one and have not ended."""
        return sum(other.id < job for other in self.list_jobs())

    def start_job(self, job: int) -> None:
        """Note that a waiting job begins."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE job SET state = 'running', started = ? WHERE id = ? AND state = 'waiting'", (now(), job)
            )

    def end_job(self, job: int, code: int) -> None:
        """Note that a job has ended, with its exit code; the oldest of very many ended ones go."""
        with self.transaction() as connection:
            connection.execute("UPDATE job SET state = 'ended', ended = ?, code = ? WHERE id = ?", (now(), code, job))
            prune = """DELETE FROM job WHERE state = 'ended' AND id <=
                       (SELECT id FROM job WHERE state = 'ended' ORDER BY id DESC LIMIT 1 OFFSET ?)"""
            connection.execute(prune, (KEPT_JOBS,))

    def job_code(self, job: int) -> int | None:
        """Return the exit code of a job that has ended, None where its process died before; 1 if it is long gone."""
        with self.transaction(reading=True) as connection:
            row = connection.execute("SELECT code FROM job WHERE id = ?", (job,)).fetchone()
        return 1 if row is None else row[0]

    def list_jobs(self, *, dead: bool = False) -> tuple[Job, ...]:
        """Return the jobs that wait or run, in order; with `dead`, those instead whose process died before the end."""
        with self.transaction(reading=True) as connection:
            rows = connection.execute("SELECT * FROM job WHERE state <> 'ended' ORDER BY id")
            return tuple(job for job in map(read_job, rows) if job.lives is not dead)

    def close_dead_jobs(self) -> None:
        """Note that the jobs whose process died have ended, without an exit code."""
        dead = [(now(), job.id) for job in self.list_jobs(dead=True)]
        if dead:
            with self.transaction() as connection:
                connection.executemany("UPDATE job SET state = 'ended', ended = ? WHERE id = ?", dead)
