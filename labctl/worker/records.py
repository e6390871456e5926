"""The portal's own database: its schema, and what of it is not about accounts: the log, messages, hints, visits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labctl.database import Database

FILE = "portal.sqlite3"
KEPT_LINES, KEPT_MESSAGES, KEPT_JOBS = 50_000, 5_000, 5_000
ENDED_SECONDS = 3600  # for which the end of a session is still told
PAGE = 100  # lines of the log in one answer

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE class (
        name TEXT PRIMARY KEY, at TEXT NOT NULL, source TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE member (
        class TEXT NOT NULL, position INTEGER NOT NULL, slug TEXT NOT NULL, roster_id TEXT NOT NULL,
        name TEXT NOT NULL, student_group TEXT NOT NULL, time_factor TEXT NOT NULL, language TEXT NOT NULL,
        PRIMARY KEY (class, slug)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX member_by_slug ON member (slug);
    CREATE TABLE account (
        name TEXT PRIMARY KEY, shown TEXT NOT NULL, role TEXT NOT NULL, classes TEXT NOT NULL, language TEXT NOT NULL,
        password TEXT NOT NULL, code TEXT NOT NULL, made TEXT NOT NULL, last_login TEXT NOT NULL,
        closed INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE session (
        digest TEXT PRIMARY KEY, account TEXT NOT NULL, csrf TEXT NOT NULL, began TEXT NOT NULL, seen TEXT NOT NULL,
        expires TEXT NOT NULL, address TEXT NOT NULL, must_choose INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_of_account ON session (account, began);
    CREATE TABLE attempt (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, account TEXT NOT NULL, address TEXT NOT NULL
    ) STRICT;
    CREATE INDEX attempt_of_account ON attempt (account, at);
    CREATE INDEX attempt_of_address ON attempt (address, at);
    CREATE TABLE known_address (
        account TEXT NOT NULL, address TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (account, address)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE line (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, lab TEXT NOT NULL,
        owner TEXT NOT NULL, class TEXT NOT NULL, detail TEXT NOT NULL, address TEXT NOT NULL, refused INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX line_of_lab ON line (lab, id);
    CREATE TABLE message (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL, lab TEXT NOT NULL,
        text TEXT NOT NULL, call INTEGER NOT NULL, read TEXT NOT NULL
    ) STRICT;
    CREATE INDEX message_to ON message (receiver, id);
    CREATE TABLE hint (
        lab TEXT NOT NULL, check_id TEXT NOT NULL, count INTEGER NOT NULL, made TEXT NOT NULL,
        PRIMARY KEY (lab, check_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE visit (
        lab TEXT PRIMARY KEY, at TEXT NOT NULL, warned TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE job (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, verb TEXT NOT NULL, lab TEXT NOT NULL,
        class TEXT NOT NULL, owner TEXT NOT NULL, details TEXT NOT NULL, who TEXT NOT NULL, language TEXT NOT NULL,
        state TEXT NOT NULL, attempts INTEGER NOT NULL, step TEXT NOT NULL, fraction REAL, started TEXT NOT NULL,
        ended TEXT NOT NULL, error TEXT NOT NULL, hint TEXT NOT NULL
    ) STRICT;
    CREATE INDEX job_by_state ON job (state, id);
    CREATE INDEX job_of_lab ON job (lab, id)
    """,
    """
    CREATE TABLE class_end (
        class TEXT PRIMARY KEY, at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)


def now() -> str:
    """Return the time as it is stored: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def later(seconds: float) -> str:
    """Return the time in so many seconds, as it is stored."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Line:
    """One line of the log: who did what, or was refused it."""

    who: str
    what: str
    lab: str = ""
    owner: str = ""
    class_name: str = ""
    detail: str = ""
    address: str = ""
    refused: bool = False


@dataclass(frozen=True)
class StoredLine(Line):
    """A line that was written."""

    id: int = 0
    at: str = ""


@dataclass(frozen=True)
class StoredMessage:
    """A message to `receiver`, or, where `call` is set, a student's call for a trainer."""

    id: int
    at: str
    sender: str
    receiver: str
    lab: str
    text: str
    call: bool
    read: str


class Records(Database):
    """The database of one portal; opened for a short time by the worker and by `labctl portal accounts`."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / FILE, MIGRATIONS)
        # The home may be walked through. What lies beside the file gets its mode from SQLite.
        self.path.touch(mode=0o600)
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)

    def add_line(self, line: Line) -> None:
        """Write into the log; the oldest lines of a very long one go."""
        row = (
            now(), line.who, line.what, line.lab, line.owner, line.class_name, line.detail[:400], line.address[:64],
            line.refused,
        )  # fmt: skip
        with self.transaction() as connection:
            written = connection.execute(
                """INSERT INTO line (at, who, what, lab, owner, class, detail, address, refused)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                row,
            ).lastrowid
            connection.execute("DELETE FROM line WHERE id <= ?", ((written or 0) - KEPT_LINES,))

    def lines(self, before: int = 0, lab: str = "", owners: Sequence[str] | None = None) -> tuple[StoredLine, ...]:
        """Return lines of the log, the newest first: of a lab, of labs of some owners and what these did, or all."""
        query = """SELECT who, what, lab, owner, class, detail, address, refused, id, at FROM line
                   WHERE (?1 = 0 OR id < ?1) AND (?2 = '' OR lab = ?2)"""
        values: list[object] = [before, lab]
        if owners is not None:
            marks = ", ".join("?" * len(owners))
            query += f" AND (owner IN ({marks}) OR who IN ({marks}))"
            values += [*owners, *owners]
        with self.transaction(reading=True) as connection:
            found = connection.execute(f"{query} ORDER BY id DESC LIMIT {PAGE}", values)
            return tuple(read_line(row) for row in found)

    def set_end(self, class_name: str, at: str) -> None:
        """Note when the session of a class ends; "" forgets it."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM class_end WHERE class = ?", (class_name,))
            if at:
                connection.execute("INSERT INTO class_end (class, at) VALUES (?, ?)", (class_name, at))

    def end_of_class(self, class_name: str) -> str:
        """Return when the session of a class ends; "" for never, and for what ended more than an hour ago."""
        return self._read_end("SELECT max(at) FROM class_end WHERE at > ? AND class = ?", class_name)

    def end_of(self, student: str) -> str:
        """Return the same for a student: of several classes, the last end."""
        query = "SELECT max(at) FROM class_end JOIN member USING (class) WHERE at > ? AND slug = ?"
        return self._read_end(query, student)

    def _read_end(self, query: str, name: str) -> str:
        with self.transaction(reading=True) as connection:
            (found,) = connection.execute(query, (later(-ENDED_SECONDS), name)).fetchone()
            return found or ""

    def add_message(
        self, sender: str, receivers: Sequence[str], text: str, lab: str = "", *, call: bool = False
    ) -> int:
        """Keep a message for each receiver; return the number of the last one."""
        rows = [(now(), sender, receiver, lab, text, call) for receiver in receivers]
        with self.transaction() as connection:
            connection.executemany(
                "INSERT INTO message (at, sender, receiver, lab, text, call, read) VALUES (?, ?, ?, ?, ?, ?, '')", rows
            )
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()
            connection.execute("DELETE FROM message WHERE id <= ?", (last - KEPT_MESSAGES,))
            return int(last)

    def messages(self, receiver: str, *, mark_read: bool = False) -> tuple[StoredMessage, ...]:
        """Return the last messages to somebody, the newest first."""
        query = """SELECT id, at, sender, receiver, lab, text, call, read FROM message
                   WHERE receiver = ? AND NOT call ORDER BY id DESC LIMIT 50"""
        with self.transaction(reading=not mark_read) as connection:
            found = tuple(read_message(row) for row in connection.execute(query, (receiver,)))
            if mark_read:
                connection.execute("UPDATE message SET read = ? WHERE receiver = ? AND read = ''", (now(), receiver))
        return found

    def count_unread(self, receiver: str) -> int:
        """Return how many messages somebody has not seen yet."""
        query = "SELECT count(*) FROM message WHERE receiver = ? AND read = '' AND NOT call"
        with self.transaction(reading=True) as connection:
            (count,) = connection.execute(query, (receiver,)).fetchone()
        return int(count)

    def calls(self) -> dict[str, StoredMessage]:
        """Return the last call of each lab that nobody has answered."""
        query = """SELECT id, at, sender, receiver, lab, text, call, read FROM message
                   WHERE call AND read = '' ORDER BY id"""
        with self.transaction(reading=True) as connection:
            return {one.lab: one for one in map(read_message, connection.execute(query))}

    def answer_calls(self, lab: str) -> int:
        """Note that the calls of a lab were answered; return how many there were."""
        with self.transaction() as connection:
            done = connection.execute("UPDATE message SET read = ? WHERE call AND lab = ? AND read = ''", (now(), lab))
            return done.rowcount

    def note_hints(self, lab: str, check: str, count: int, made: str) -> int:
        """Keep how many hints of a check somebody has asked for in a lab made at `made`; return the most so far."""
        with self.transaction() as connection:
            connection.execute(
                """INSERT INTO hint VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
                   SET count = iif(made = ?4, max(count, ?3), ?3), made = ?4""",
                (lab, check, count, made),
            )
            query = "SELECT count FROM hint WHERE lab = ? AND check_id = ?"
            return int(connection.execute(query, (lab, check)).fetchone()[0])

    def hints(self, lab: str, made: str) -> dict[str, int]:
        """Return how many hints were asked for in a lab made at `made`, by check."""
        with self.transaction(reading=True) as connection:
            found = connection.execute("SELECT check_id, count FROM hint WHERE lab = ? AND made = ?", (lab, made))
            return {check: int(count) for check, count in found}

    def note_visit(self, lab: str, at: str = "") -> None:
        """Note that somebody uses a lab, now by default."""
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO visit VALUES (?, ?, '')", (lab, at or now()))

    def note_warning(self, lab: str) -> None:
        """Note that it was said that a lab will be suspended."""
        with self.transaction() as connection:
            connection.execute("UPDATE visit SET warned = ? WHERE lab = ?", (now(), lab))

    def visits(self) -> dict[str, tuple[str, str]]:
        """Return when each lab was last used, and when it was said that it will be suspended, "" for not."""
        with self.transaction(reading=True) as connection:
            return {lab: (at, warned) for lab, at, warned in connection.execute("SELECT lab, at, warned FROM visit")}


def read_line(row: Sequence[object]) -> StoredLine:
    """Return the line of a row."""
    who, what, lab, owner, class_name, detail, address = map(str, row[:7])
    return StoredLine(
        who, what, lab, owner, class_name, detail, address, bool(row[7]), id=int(str(row[8])), at=str(row[9])
    )


def read_message(row: Sequence[object]) -> StoredMessage:
    """Return the message of a row."""
    number, at, sender, receiver, lab, text, call, read = row
    words = (str(at), str(sender), str(receiver), str(lab), str(text))
    return StoredMessage(int(str(number)), *words, bool(call), str(read))
