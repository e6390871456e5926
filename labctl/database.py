"""One SQLite file to transactions on its newest schema: opened, copied before it is migrated, every error explained."""

import os
import pwd
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from labctl.errors import Busy, LabctlError, Refused
from labctl.language import _

BUSY_TIMEOUT = 10.0  # seconds; writers hold the file for milliseconds
LEAST_ROOM = 64 << 10  # bytes; its log and the index of the log need as much at least
KEPT_COPIES = 2  # of databases of older schemas
FOREIGN_CODES = {
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH,
}  # fmt: skip
DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
SIDES = ("", "-wal", "-shm")  # the files that are one database


class Damaged(LabctlError):
    """The file is no database of ours any more: broken, or something else under its name."""


class Database:
    """A file with a schema, opened for a short time by any number of processes.

    `migrations` are scripts without a semicolon inside a statement; the n-th leads from schema n - 1 to n.
    """

    def __init__(self, path: Path, migrations: Sequence[str], patience: float = BUSY_TIMEOUT) -> None:
        self.path = path
        self.migrations = migrations
        self.patience = patience
        self._holding = Lock()
        self._holders = 0
        self._held: sqlite3.Connection | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the file open in the block: whenever its last connection closes, SQLite writes all of the log back."""
        with self._holding:
            self._holders += 1
            if self._held is None:
                self._held = self.open_to_hold()
        try:
            yield
        finally:
            with self._holding:
                self._holders -= 1
                if self._holders == 0 and self._held is not None:
                    self._held.close()
                    self._held = None

    def open_to_hold(self) -> sqlite3.Connection | None:
        """Return a connection that has the log open, None where there is none: the next transaction tells why."""
        try:
            connection = self.connect(shared=True)
        except sqlite3.Error:
            return None
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA user_version").fetchone()  # what was never read from holds nothing open
        return connection

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection whose work is committed at the end, or not at all; a `reading` one waits for no writer."""
        try:
            with closing(self.connect(reading=reading)) as connection:  # closing rolls back what was not committed
                self.migrate(connection)
                connection.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise self.explain(exc) from exc

    def connect(self, *, reading: bool = False, shared: bool = False) -> sqlite3.Connection:
        """Open the file; SQLite recovers by itself what a crash left in the write-ahead log.

        What is `shared` may be closed by another thread.
        """
        connection = sqlite3.connect(
            self.path, timeout=self.patience, isolation_level=None, check_same_thread=not shared
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # A commit outlives the process without an fsync of its own. A power cut may take the last ones: libvirt's
            # machines, which tell what exists, are down then too, and the file stays whole (sqlite.org/wal.html).
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as exc:
            connection.close()
            # Even a reader makes files beside the database. Without a log, what is in its own is all there is.
            if reading and self.is_full(exc) and not self.has_log():
                return sqlite3.connect(f"{self.path.as_uri()}?immutable=1", uri=True, isolation_level=None)
            raise
        return connection

    def has_log(self) -> bool:
        """Return whether commits may lie in the log that are not in the file yet."""
        log = self.path.with_name(f"{self.path.name}-wal")
        return log.exists() and log.stat().st_size > 0

    def is_full(self, exc: sqlite3.Error) -> bool:
        """Return whether an error is that the disk is full; SQLite calls some of them input/output errors."""
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        status = os.statvfs(self.path.parent)
        full = status.f_bavail * status.f_frsize < LEAST_ROOM
        return code == sqlite3.SQLITE_FULL or (code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and full)

    def migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the schema to this version; refuse one that a newer labctl wrote."""
        if self.read_version(connection) == len(self.migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        version = self.read_version(connection)  # another process may have been faster
        if 0 < version < len(self.migrations):
            self.copy(version)
        for number, script in enumerate(self.migrations[version:], start=version + 1):
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")

    def read_version(self, connection: sqlite3.Connection) -> int:
        """Return the schema's number, 0 for a new file. Raises Refused for one of the future."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(self.migrations):
            text = _('the database "{path}" was written by a newer labctl (schema {found}, this one knows {known})')
            message = text.format(path=self.path, found=version, known=len(self.migrations))
            raise Refused(message, hint="labctl --version")
        return int(version)

    def copy_path(self, version: int) -> Path:
        """Return where the copy of a database of an older schema is."""
        return self.path.with_name(f"{self.path.stem}.schema-{version}{self.path.suffix}")

    def copies(self) -> list[Path]:
        """Return the copies of older schemas, the oldest schema first."""
        found = self.path.parent.glob(f"{self.path.stem}.schema-*{self.path.suffix}")
        return sorted(found, key=lambda path: (len(path.name), path.name))

    def copy(self, version: int) -> None:
        """Copy the database as it is, under its schema's number; keep the last ones.

        Call it while the write lock is held: a connection of its own reads what is committed, and no more comes.
        """
        target = self.copy_path(version)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(temporary)) as copied:
            source.backup(copied)
            copied.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        temporary.chmod(0o600)
        temporary.replace(target)
        for old in self.copies()[:-KEPT_COPIES]:
            old.unlink(missing_ok=True)

    def find_damage(self) -> str:
        """Return what is wrong with the file in SQLite's words, empty for one that can be used or is not there.

        Raises what opening raises but Damaged: a database that somebody else may use is not a broken one.
        """
        if not self.path.exists():
            return ""
        try:
            with self.transaction(reading=True) as connection:
                (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                return self.find_missing(connection) if said == "ok" else str(said)
        except Damaged as exc:
            return str(exc.__cause__)

    def find_missing(self, connection: sqlite3.Connection) -> str:
        """Return which table or index of the schema is missing, empty for none."""
        listed = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        with closing(sqlite3.connect(":memory:")) as model:
            for script in self.migrations:
                model.executescript(script)
            wanted = {name for (name,) in model.execute(listed)}
        missing = sorted(wanted - {name for (name,) in connection.execute(listed)})
        return f"no such table: {missing[0]}" if missing else ""

    def set_aside(self) -> Path:
        """Give a broken database another name, with its log; return it. The next transaction makes a new one."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        target = self.path.with_name(f"{self.path.name}.broken-{stamp}")
        for side in reversed(SIDES):  # the log goes first: beside a new database it would be taken for its own
            source = self.path.with_name(self.path.name + side)
            if source.exists():
                source.rename(target.with_name(target.name + side))
        return target

    def explain(self, exc: sqlite3.Error) -> LabctlError:
        """Return the error for a database that cannot be used, with the command that helps."""
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, sqlite.org/rescode.html
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            text = _('the database "{path}" has been in use by another process for {seconds:.0f} s')
            return Busy(text.format(path=self.path, seconds=self.patience), hint=f"fuser -v {self.path}")
        if self.is_full(exc):
            text = _('there is no room left for the database "{path}"')
            return LabctlError(text.format(path=self.path), hint=f"df -h {self.path.parent}")
        if code in FOREIGN_CODES:
            text = _('the database "{path}" cannot be written by "{user}"; it belongs to "{owner}"')
            named = text.format(path=self.path, user=user_name(os.geteuid()), owner=owner_name(self.path))
            return LabctlError(named, hint=f"ls -ld {self.path.parent} {self.path}")
        if code in DAMAGE_CODES:
            text = _('the database "{path}" is damaged: {error}; labs do not depend on it')
            return Damaged(text.format(path=self.path, error=exc), hint="labctl repair")
        text = _('the database "{path}" cannot be used: {error}')
        return LabctlError(text.format(path=self.path, error=exc), hint=f"ls -l {self.path}")


def owner_name(path: Path) -> str:
    """Return the user that a file, or the folder of a file that does not exist, belongs to."""
    try:
        return user_name((path if path.exists() else path.parent).stat().st_uid)
    except OSError:
        return "?"


def user_name(number: int) -> str:
    """Return the name of a user id, the number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
