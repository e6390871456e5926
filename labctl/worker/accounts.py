"""People to accounts: enrolled from class lists with one-time codes, or made by hand; logins to sessions and back."""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from labctl.errors import HostNotReady, Refused
from labctl.language import _
from labctl.plan.names import SPARE, is_spare
from labctl.roster import Student, make_slug
from labctl.worker.credentials import draw_code, hash_secret, is_secret, plain_code, plain_password, refuse_password
from labctl.worker.records import Line, Records, later, now
from labctl.worker.throttle import Throttle
from labctl.worker.values import Refusal, Role
from labctl.worker.wire import NotDone

LASTS = 12 * 3600  # seconds of a session; a school day
IDLE = 4 * 3600  # seconds without a request
SEEN_STEP = 60  # seconds between two notes that a session is used
SESSIONS_EACH = 10  # of one account; the oldest ends
EVERY_CLASS = "*"


@dataclass(frozen=True)
class AccountRow:
    """One account. `classes` are those of a trainer or proctor; those of a student follow from the class lists."""

    name: str
    shown: str
    role: Role
    classes: frozenset[str]
    language: str
    password: str
    code: str
    made: str
    last_login: str
    closed: bool


@dataclass(frozen=True)
class SessionRow:
    """One session, by the digest of its token."""

    digest: str
    account: AccountRow
    csrf: str
    expires: str
    must_choose: bool


@dataclass(frozen=True)
class NewSession:
    """A session that has begun, with the token that is told only now."""

    token: str = field(repr=False)
    row: SessionRow


@dataclass(frozen=True)
class Enrolled:
    """One student after an enrolment; `code` is "" for one who has chosen a password already."""

    student: Student
    code: str = field(repr=False)


class DirectoryOfPeople(Protocol):
    """A directory that knows passwords."""

    def lets_in(self, identity: str, secret: str) -> bool:
        """Return whether this is somebody's password. Raises HostNotReady where it cannot be asked."""
        ...


@dataclass(frozen=True)
class Accounts:
    """The accounts of one portal; `directory` returns that of the school, where there is one."""

    records: Records
    directory: "Callable[[], DirectoryOfPeople | None]" = lambda: None

    @property
    def throttle(self) -> Throttle:
        """Return what makes guessing slow."""
        return Throttle(self.records)

    def enrol(
        self, class_name: str, source: str, students: Sequence[Student], *, renew: bool = False
    ) -> list[Enrolled]:
        """Make a class of this list, and an account with a fresh code for each student who has no password yet.

        With `renew`, for all. Whoever left the list keeps an account without this class. Raises Refused, and changes
        nothing, where a student's name is already somebody else's.
        """
        codes = {one.slug: draw_code() for one in students}
        hashes = {slug: hash_secret(plain_code(code)) for slug, code in codes.items()}
        with self.records.transaction() as connection:
            rows = {row[0]: row for row in connection.execute("SELECT name, role, password FROM account")}
            query = "SELECT slug, roster_id FROM member WHERE class <> ?"
            known = dict(connection.execute(query, (class_name,)).fetchall())
            for one in students:
                refuse_other_person(one, rows.get(one.slug, ("", Role.STUDENT))[1], known.get(one.slug, one.id))
            connection.execute("INSERT OR REPLACE INTO class VALUES (?, ?, ?)", (class_name, now(), source))
            connection.execute("DELETE FROM member WHERE class = ?", (class_name,))
            connection.executemany(
                "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (class_name, place, one.slug, one.id, one.name, one.group, str(one.time_factor), one.language)
                    for place, one in enumerate(students)
                ],
            )
            enrolled = []
            for one in students:
                has_password = one.slug in rows and rows[one.slug][2] != ""
                fresh = renew or not has_password
                enrolled.append(Enrolled(one, codes[one.slug] if fresh else ""))
                connection.execute(
                    """INSERT INTO account VALUES (?1, ?2, 'student', '[]', ?3, '', ?4, ?5, '', 0)
                       ON CONFLICT DO UPDATE SET shown = ?2, closed = 0, code = iif(?6, ?4, code),
                       password = iif(?6, '', password)""",
                    (one.slug, one.name, one.language, hashes[one.slug], now(), fresh),
                )
                if fresh:
                    connection.execute("DELETE FROM session WHERE account = ?", (one.slug,))
        return enrolled

    def set_account(self, name: str, shown: str, role: Role, classes: Sequence[str], *, closed: bool = False) -> str:
        """Make or change an account that no class list has; return the code of a new one, "" for one that was there.

        Raises Refused for the name of a student of a class.
        """
        code = draw_code()
        hashed = hash_secret(plain_code(code))
        with self.records.transaction() as connection:
            found = connection.execute("SELECT role FROM account WHERE name = ?", (name,)).fetchone()
            member = connection.execute("SELECT 1 FROM member WHERE slug = ?", (name,)).fetchone()
            if member and role is not Role.STUDENT:
                text = _('"{name}" is a student of a class; choose another name').format(name=name)
                raise Refused(text, hint="labctl portal accounts --list")
            connection.execute(
                """INSERT INTO account VALUES (?1, ?2, ?3, ?4, '', '', ?5, ?6, '', ?7)
                   ON CONFLICT DO UPDATE SET shown = ?2, role = ?3, classes = ?4, closed = ?7""",
                (name, shown or name, str(role), json.dumps(sorted(classes)), hashed, now(), closed),
            )
            if closed or (found and found[0] != role):
                connection.execute("DELETE FROM session WHERE account = ?", (name,))
        return "" if found else code

    def new_code(self, name: str) -> str:
        """Draw a new one-time code; the password and the sessions end. Raises NotDone for an unknown account."""
        code = draw_code()
        hashed = hash_secret(plain_code(code))
        with self.records.transaction() as connection:
            done = connection.execute("UPDATE account SET code = ?, password = '' WHERE name = ?", (hashed, name))
            if done.rowcount == 0:
                raise NotDone(Refusal.UNKNOWN, _("there is no such account"))
            connection.execute("DELETE FROM session WHERE account = ?", (name,))
            connection.execute("DELETE FROM attempt WHERE account = ?", (name,))
        return code

    def log_in(self, typed: str, secret: str, address: str) -> NewSession:
        """Return a new session. Raises NotDone for a wrong name or secret, and for too many of them."""
        name = make_slug(typed) or "?"
        account = self.find(name)
        wait = self.throttle.wait(name, address, known=account is not None)
        if wait:
            self.records.add_line(Line(name, "login", address=address, detail=f"wait {wait} s", refused=True))
            text = _("too many wrong attempts: try again in {seconds} s").format(seconds=wait)
            raise NotDone(Refusal.TOO_MANY, text, wait=wait)
        with_code = self.verify(account, secret)
        if with_code is None and account is not None and self.is_known_outside(account, secret):
            with_code = False
        if account is None or account.closed or with_code is None:
            self.throttle.note_failure(name, address)
            self.records.add_line(Line(name, "login", address=address, detail="wrong secret", refused=True))
            raise NotDone(Refusal.WRONG_SECRET, _("this name and this password or code do not go together"))
        self.throttle.note_success(name, address)
        self.records.add_line(Line(name, "login", address=address, detail="code" if with_code else ""))
        return self.begin_session(account, address, must_choose=with_code)

    def verify(self, account: AccountRow | None, secret: str) -> bool | None:
        """Return whether a secret is the one-time code, False for the password, None for neither."""
        code, password = (account.code, account.password) if account else ("", "")
        # One hash whatever is stored: an account has either, and time tells nothing.
        if code and not password:
            return True if is_secret(code, plain_code(secret)) else None
        return False if is_secret(password, plain_password(secret)) else None

    def is_known_outside(self, account: AccountRow, secret: str) -> bool:
        """Return whether the school's directory knows this password of an account here."""
        directory = self.directory()
        if directory is None or account.closed:
            return False
        with self.records.transaction(reading=True) as connection:
            found = connection.execute(
                "SELECT roster_id FROM member WHERE slug = ? LIMIT 1", (account.name,)
            ).fetchone()
        try:
            return directory.lets_in(found[0] if found else account.name, plain_password(secret))
        except HostNotReady as exc:
            raise NotDone(Refusal.HOST_NOT_READY, exc.message, wait=30) from exc

    def begin_session(self, account: AccountRow, address: str, *, must_choose: bool) -> NewSession:
        """Store a new session; those that have expired go, and the oldest of somebody who has very many."""
        token, csrf, expires = secrets.token_urlsafe(32), secrets.token_urlsafe(24), later(LASTS)
        row = (digest(token), account.name, csrf, now(), now(), expires, address, must_choose)
        with self.records.transaction() as connection:
            connection.execute("DELETE FROM session WHERE expires < ? OR seen < ?", (now(), later(-IDLE)))
            connection.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute(
                """DELETE FROM session WHERE account = ?1 AND digest NOT IN
                   (SELECT digest FROM session WHERE account = ?1 ORDER BY began DESC, digest = ?3 DESC LIMIT ?2)""",
                (account.name, SESSIONS_EACH, row[0]),
            )
            connection.execute("UPDATE account SET last_login = ? WHERE name = ?", (now(), account.name))
        return NewSession(token, SessionRow(row[0], account, csrf, expires, must_choose))

    def find_session(self, token: str) -> SessionRow | None:
        """Return the session of a token, None for one that is unknown, has expired or was not used for long."""
        if not token:
            return None
        query = """SELECT digest, account, csrf, expires, must_choose, seen FROM session
                   WHERE digest = ? AND expires >= ? AND seen >= ?"""
        with self.records.transaction(reading=True) as connection:
            found = connection.execute(query, (digest(token), now(), later(-IDLE))).fetchone()
        account = self.find(found[1]) if found else None
        if account is None or account.closed:
            return None
        if found[5] < later(-SEEN_STEP):
            with self.records.transaction() as connection:
                connection.execute("UPDATE session SET seen = ? WHERE digest = ?", (now(), found[0]))
        return SessionRow(found[0], account, found[2], found[3], bool(found[4]))

    def choose_password(self, session: SessionRow, old: str, new: str, address: str) -> NewSession:
        """Replace the code or the old password; all sessions end, and a new one begins. Raises NotDone."""
        account = session.account
        if account.password:
            wait = self.throttle.wait(account.name, address, known=True)
            if wait:
                text = _("too many wrong attempts: try again in {seconds} s").format(seconds=wait)
                raise NotDone(Refusal.TOO_MANY, text, wait=wait)
            if not is_secret(account.password, plain_password(old)):
                self.throttle.note_failure(account.name, address)
                raise NotDone(Refusal.WRONG_SECRET, _("the old password is not this one"))
        if reason := refuse_password(new, account.name):
            raise NotDone(Refusal.MALFORMED, reason)
        hashed = hash_secret(plain_password(new))
        with self.records.transaction() as connection:
            connection.execute("UPDATE account SET password = ?, code = '' WHERE name = ?", (hashed, account.name))
            connection.execute("DELETE FROM session WHERE account = ?", (account.name,))
        changed = self.find(account.name)
        if changed is None:
            raise NotDone(Refusal.UNKNOWN, _("there is no such account"))
        return self.begin_session(changed, address, must_choose=False)

    def choose_language(self, name: str, language: str) -> None:
        """Keep the language that somebody reads."""
        with self.records.transaction() as connection:
            connection.execute("UPDATE account SET language = ? WHERE name = ?", (language, name))

    def end_session(self, session: SessionRow) -> None:
        """End one session."""
        with self.records.transaction() as connection:
            connection.execute("DELETE FROM session WHERE digest = ?", (session.digest,))

    def count_sessions(self) -> int:
        """Return how many sessions there are."""
        with self.records.transaction(reading=True) as connection:
            query = "SELECT count(*) FROM session WHERE expires >= ? AND seen >= ?"
            return int(connection.execute(query, (now(), later(-IDLE))).fetchone()[0])

    def find(self, name: str) -> AccountRow | None:
        """Return an account by its name."""
        with self.records.transaction(reading=True) as connection:
            row = connection.execute("SELECT * FROM account WHERE name = ?", (name,)).fetchone()
        return read_account(row) if row else None

    def list_accounts(self) -> tuple[AccountRow, ...]:
        """Return all accounts by name."""
        with self.records.transaction(reading=True) as connection:
            return tuple(map(read_account, connection.execute("SELECT * FROM account ORDER BY name")))

    def classes(self) -> dict[str, tuple[Student, ...]]:
        """Return the students of each class in the order of its list."""
        found: dict[str, list[Student]] = {}
        with self.records.transaction(reading=True) as connection:
            for (name,) in connection.execute("SELECT name FROM class ORDER BY name"):
                found[name] = []
            query = """SELECT class, position, slug, roster_id, name, student_group, time_factor, language
                       FROM member ORDER BY class, position"""
            for name, *row in connection.execute(query):
                found.setdefault(name, []).append(read_student(row))
        return {name: tuple(students) for name, students in found.items()}

    def classes_of(self, owner: str) -> frozenset[str]:
        """Return the classes that somebody is a student of."""
        with self.records.transaction(reading=True) as connection:
            rows = connection.execute("SELECT class FROM member WHERE slug = ?", (owner,))
            return frozenset(name for (name,) in rows)


def digest(token: str) -> str:
    """Return what is stored of a token: who reads the database gets into no session."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def refuse_other_person(student: Student, role: str, known_id: str) -> None:
    """Raise Refused where the name of a student is that of a trainer, or of another student of another class."""
    if is_spare(student.slug):
        text = _('"{owner}" cannot be an owner: names that begin with "{start}" are those of ready labs that wait')
        raise Refused(text.format(owner=student.slug, start=SPARE))
    if role != Role.STUDENT:
        text = _('"{name}" is the account of somebody who is no student; change the id in the class list')
        raise Refused(text.format(name=student.slug), hint="labctl portal accounts --list")
    if known_id.casefold() != student.id.casefold():
        text = _('"{name}" would be both "{one}" and "{other}", who are in different classes; change one of the ids')
        raise Refused(text.format(name=student.slug, one=student.id, other=known_id))


def read_account(row: Sequence[object]) -> AccountRow:
    """Return the account of a row."""
    name, shown, role, classes, language, password, code, made, last_login = map(str, row[:9])
    listed = frozenset(json.loads(classes))
    return AccountRow(name, shown, Role(role), listed, language, password, code, made, last_login, bool(row[9]))


def read_student(row: Sequence[object]) -> Student:
    """Return the student of a row."""
    slug, identity, name, group, factor, language = map(str, row[1:])
    time_factor = Fraction(1)
    with suppress(ValueError):
        time_factor = Fraction(factor)
    return Student(identity, slug, name, group, time_factor, language, int(str(row[0])) + 2)
