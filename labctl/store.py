"""Keeps what libvirt cannot: intents, check outcomes and the history of labs, in one SQLite file.

Everything here can be lost without losing a lab: libvirt's own metadata says what exists.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.language import _

BUSY_TIMEOUT = 10.0  # seconds; writers hold the file for milliseconds

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, lab TEXT NOT NULL, who TEXT NOT NULL,
        what TEXT NOT NULL, detail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_of_lab ON event (lab, id);
    CREATE TABLE intent (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, lab TEXT NOT NULL, act TEXT NOT NULL, target TEXT NOT NULL,
        ended TEXT
    ) STRICT;
    CREATE INDEX intent_open ON intent (lab) WHERE ended IS NULL;
    CREATE TABLE outcome (
        lab TEXT NOT NULL, "check" TEXT NOT NULL, at TEXT NOT NULL, result TEXT NOT NULL, evidence TEXT NOT NULL,
        PRIMARY KEY (lab, "check")
    ) STRICT;
    CREATE TABLE timing (id INTEGER PRIMARY KEY, what TEXT NOT NULL, seconds REAL NOT NULL) STRICT;
    CREATE INDEX timing_of ON timing (what, id);
    """,
)


@dataclass(frozen=True)
class StoredOutcome:
    """The last result of one check: "passed", "failed" or "unknown", and when (UTC, ISO 8601)."""

    check: str
    result: str
    at: str


@dataclass(frozen=True)
class StoredEvent:
    """One line of a lab's history."""

    at: str
    who: str
    what: str
    detail: str


def now() -> str:
    """Return the time as it is stored: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """The database of one home; opened for a short time, by any number of processes."""

    def __init__(self, home: Path) -> None:
        self.path = home / "labctl.sqlite3"

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a connection whose work is committed at the end, or not at all."""
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        except sqlite3.Error as exc:
            raise self.broken(exc) from exc
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            self.migrate(connection)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise self.broken(exc) from exc
        finally:
            connection.close()  # rolls back what was not committed

    def migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the schema to this version; refuse one that a newer labctl wrote."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            text = _('the database "{path}" was written by a newer labctl (schema {found}, this one knows {known})')
            raise Refused(text.format(path=self.path, found=version, known=len(MIGRATIONS)), hint="labctl --version")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")

    def broken(self, exc: sqlite3.Error) -> LabctlError:
        """Return the error for a database that cannot be used."""
        text = _('the database "{path}" cannot be used: {error}')
        return LabctlError(text.format(path=self.path, error=exc), hint=f"ls -l {self.path}")

    @contextmanager
    def intent(self, lab: str, act: str, target: str) -> Iterator[None]:
        """Commit that something is about to be done, and that it is done when the block ends well."""
        with self.transaction() as connection:
            row = connection.execute(
                "INSERT INTO intent (at, lab, act, target) VALUES (?, ?, ?, ?)", (now(), lab, act, target)
            ).lastrowid
        yield
        with self.transaction() as connection:
            connection.execute("UPDATE intent SET ended = ? WHERE id = ?", (now(), row))

    def open_intents(self, lab: str) -> tuple[tuple[str, str], ...]:
        """Return (act, target) of what was begun and never ended: an interrupted run."""
        with self.transaction() as connection:
            rows = connection.execute("SELECT act, target FROM intent WHERE lab = ? AND ended IS NULL", (lab,))
            return tuple((str(act), str(target)) for act, target in rows)

    def close_intents(self, lab: str) -> None:
        """Forget interrupted work: a whole run has ended since."""
        with self.transaction() as connection:
            connection.execute("UPDATE intent SET ended = ? WHERE lab = ? AND ended IS NULL", (now(), lab))

    def add_event(self, lab: str, who: str, what: str, detail: str = "") -> None:
        """Add one line to a lab's history."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO event (at, lab, who, what, detail) VALUES (?, ?, ?, ?, ?)", (now(), lab, who, what, detail)
            )

    def events(self, lab: str) -> tuple[StoredEvent, ...]:
        """Return a lab's history, oldest first."""
        with self.transaction() as connection:
            rows = connection.execute("SELECT at, who, what, detail FROM event WHERE lab = ? ORDER BY id", (lab,))
            return tuple(StoredEvent(*row) for row in rows)

    def save_outcomes(
        self, lab: str, outcomes: Sequence[tuple[str, str, Mapping[str, JsonValue]]], *, whole: bool
    ) -> None:
        """Keep a lab's last results, (check id, result, evidence) each; `whole` drops those of other checks."""
        rows = [(lab, check, now(), result, json.dumps(evidence)) for check, result, evidence in outcomes]
        with self.transaction() as connection:
            if whole:
                connection.execute("DELETE FROM outcome WHERE lab = ?", (lab,))
            connection.executemany("INSERT OR REPLACE INTO outcome VALUES (?, ?, ?, ?, ?)", rows)

    def outcomes(self) -> dict[str, tuple[StoredOutcome, ...]]:
        """Return the last results of all labs by lab."""
        found: dict[str, tuple[StoredOutcome, ...]] = {}
        with self.transaction() as connection:
            rows = connection.execute('SELECT lab, "check", result, at FROM outcome ORDER BY lab, rowid')
            for lab, check, result, at in rows:
                found[lab] = (*found.get(lab, ()), StoredOutcome(check, result, at))
        return found

    def add_timing(self, what: str, seconds: float) -> None:
        """Keep how long a kind of work took on this host."""
        with self.transaction() as connection:
            connection.execute("INSERT INTO timing (what, seconds) VALUES (?, ?)", (what, seconds))

    def expected_seconds(self, what: str) -> float | None:
        """Return the median of the last five timings of a kind of work, None before the first."""
        with self.transaction() as connection:
            rows = connection.execute("SELECT seconds FROM timing WHERE what = ? ORDER BY id DESC LIMIT 5", (what,))
            past = [float(seconds) for (seconds,) in rows]
        return median(past) if past else None

    def forget(self, lab: str) -> None:
        """Drop a removed lab's results and intents; its history stays."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM outcome WHERE lab = ?", (lab,))
            connection.execute("DELETE FROM intent WHERE lab = ?", (lab,))
