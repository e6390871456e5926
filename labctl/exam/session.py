"""The folder of an exam session to its standing, and each act to an entry of its log before it is done.

    LABCTL_HOME/exams/NAME/    for root alone
        audit.jsonl            what happened, see `audit`; the only memory of a session
        papers/                exam.yml and its topology as at `prepare`; names.json, for the jury
        sealed/                what `seal` made: bundle, manifest, signature, public key
        evidence/NUMBER/       what was collected of a candidate
        documents/             sheets and reports
        reserve                room for the log on a full disk
        key.pem                signs the session's manifests, see `signing`

Those who act hold the log only while they decide and write; long work is done between an entry that says that it has
begun and one that says how it ended:

    with session.writing() as log:            # nobody else decides meanwhile; Busy after PATIENCE
        refuse_unless(log.standing…)
        log.add(Act.EXTEND, Step.NOTED, "01234", seconds=300, reason="…")

    with session.doing(Act.COLLECT, "01234") as told:    # begun, then done with the facts told, or failed with `error`
        told["bytes"] = collect(…)
"""

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import Busy, LabctlError, Refused
from labctl.exam.audit import (
    Act,
    BrokenLog,
    Entry,
    Step,
    appending,
    canonical,
    check_lines,
    follow,
    line_of,
    sync_folder,
    whole_lines,
)
from labctl.exam.moments import Clock, HostClock, find_jump
from labctl.exam.standing import Stage, Standing, advance
from labctl.lab.files import FULL, explain_files
from labctl.lab.keys import write_secret
from labctl.lab.lock import who
from labctl.language import _

NAME = re.compile("[a-z][a-z0-9-]{0,30}")
RESERVE = 1 << 20  # bytes; an act takes two lines of some hundred
PATIENCE = 20.0  # seconds; each holder of the log needs a moment to write a line
WAIT_STEP = 0.02  # seconds; flock(2) has no time-out of its own


def exams_folder(home: Path) -> Path:
    """Return where the sessions are."""
    return home / "exams"


def list_sessions(home: Path) -> tuple[str, ...]:
    """Return the names of the sessions that exist."""
    return tuple(sorted(path.parent.name for path in exams_folder(home).glob("*/audit.jsonl")))


def check_name(name: str) -> str:
    """Return the name of a session. Raises LabctlError where it is none: it would lead out of the folder."""
    if not NAME.fullmatch(name):
        text = _("a session is named in small letters, digits and dashes, and begins with a letter, such as e6-2027")
        raise LabctlError(text, hint="labctl exam status")
    return name


@dataclass
class Memory:
    """What was read of a log so far: `size` bytes in whole lines, folded."""

    size: int = 0
    last: Entry | None = None
    standing: Standing = field(default_factory=Standing)
    guard: threading.RLock = field(default_factory=threading.RLock)  # several threads may act for one session


@dataclass(frozen=True)
class Session:
    """One exam session. `memory` spares reading what was read before; the file is checked from there on."""

    folder: Path
    clock: Clock = field(default_factory=HostClock)
    patience: float = PATIENCE
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return the name of the session."""
        return self.folder.name

    @property
    def audit(self) -> Path:
        """Return the file of the log."""
        return self.folder / "audit.jsonl"

    @property
    def reserve(self) -> Path:
        """Return the file whose room the log takes where the disk is full: a freeze must still be written down."""
        return self.folder / "reserve"

    @property
    def papers(self) -> Path:
        """Return the folder of the exam file, its topology and the list."""
        return self.folder / "papers"

    @property
    def sealed(self) -> Path:
        """Return the folder of the sealed bundle."""
        return self.folder / "sealed"

    @property
    def documents(self) -> Path:
        """Return the folder of sheets and reports."""
        return self.folder / "documents"

    def evidence(self, number: str) -> Path:
        """Return the folder of what was collected of a candidate."""
        return self.folder / "evidence" / number

    def read(self) -> Standing:
        """Return the standing by all whole lines. Raises BrokenLog where one was changed since it was written."""
        with self.memory.guard:
            self.catch_up()
            return self.memory.standing

    def catch_up(self) -> None:
        """Fold the lines that are new. Raises BrokenLog for a log that is shorter than it was: lines only come."""
        try:
            content, _torn = whole_lines(self.audit.read_bytes())
        except FileNotFoundError:
            content = b""
        memory = self.memory
        if len(content) < memory.size:
            raise BrokenLog(self.audit, memory.standing.seq, _("is gone"))
        for entry in check_lines(self.audit, content[memory.size :], memory.last):
            memory.last, memory.standing = entry, advance(memory.standing, entry)
        memory.size = len(content)

    @contextmanager
    def writing(self) -> Iterator["Log"]:
        """Hold the log: give the standing as it is now and write entries. Raises Busy where another one writes long."""
        with self.memory.guard, explain_files(self.folder), (self.folder / "log.lock").open("a+b") as stream:
            os.fchmod(stream.fileno(), 0o600)
            hold(stream.fileno(), self.name, self.patience)
            self.catch_up()
            with appending(self.audit) as write:
                log = Log(self, write)
                log.note_jump()
                yield log

    @contextmanager
    def doing(self, act: Act, candidate: str = "", /, **facts: JsonValue) -> Iterator[dict[str, JsonValue]]:
        """Write that an act begins; at the end of the block that it is done, with the facts told, or has failed.

        Nothing is written where the process dies: the act is `unfinished`, and is to be done again.
        """
        with self.writing() as log:
            log.add(act, Step.BEGUN, candidate, **facts)
        told: dict[str, JsonValue] = {}
        try:
            yield told
        except LabctlError as exc:
            with self.writing() as log:
                log.add(act, Step.FAILED, candidate, **{**told, "error": exc.message})
            raise
        with self.writing() as log:
            log.add(act, Step.DONE, candidate, **told)

    def note(self, act: Act, candidate: str = "", /, **facts: JsonValue) -> Entry:
        """Write an act that is nothing but its entry."""
        with self.writing() as log:
            return log.add(act, Step.NOTED, candidate, **facts)


@dataclass(frozen=True)
class Log:
    """The log of a session while it is held."""

    session: Session
    write: Callable[[Entry], None]

    @property
    def standing(self) -> Standing:
        """Return the standing after all that was written."""
        return self.session.memory.standing

    def add(self, act: Act, step: Step, candidate: str = "", /, **facts: JsonValue) -> Entry:
        """Write an entry, and return it; all entries of a block are on the disk when it ends: nobody acts inside."""
        memory = self.session.memory
        entry = Entry(0, self.session.clock.read(), who(), act, step, candidate, facts)
        placed = follow(memory.last, entry)
        try:
            self.write(placed)
        except OSError as exc:
            if exc.errno not in FULL or not self.session.reserve.exists():
                raise
            self.session.reserve.unlink()  # what is done now matters more than room for another day
            os.truncate(self.session.audit, memory.size)
            self.write(placed)
        memory.size += len(line_of(placed))
        memory.last, memory.standing = placed, advance(memory.standing, placed)
        return placed

    def note_jump(self) -> None:
        """Write by how much the host's clock was set since the last entry: deadlines follow, nobody's time changes."""
        last = self.session.memory.last
        jump = find_jump(last.at, self.session.clock.read()) if last else None
        if jump:
            self.add(Act.CLOCK, Step.NOTED, "", seconds=round(jump.total_seconds(), 3))


def hold(descriptor: int, name: str, patience: float) -> None:
    """Take the lock of a log or raise Busy; it ends with the file, so with the process."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > until:
                text = _('another run has held the log of the session "{name}" for {seconds:.0f} seconds')
                hint = f"labctl exam status {name}"
                raise Busy(text.format(name=name, seconds=patience), hint=hint) from exc
            time.sleep(WAIT_STEP)
        else:
            return


def find_session(home: Path, name: str, clock: Clock | None = None) -> Session:
    """Return a session that exists. Raises LabctlError, naming those there are."""
    session = Session(exams_folder(home) / check_name(name), clock or HostClock())
    if not session.audit.exists():
        known = ", ".join(list_sessions(home)) or _("none")
        text = _('there is no exam session "{name}"; there are: {known}')
        raise LabctlError(text.format(name=name, known=known), hint=f"labctl exam prepare EXAM --session {name}")
    return session


def create_session(home: Path, name: str, about: Mapping[str, JsonValue], clock: Clock | None = None) -> Session:
    """Make the folder of a session and write its first entry; one that exists must be about the same.

    `about` has: exam, version, number (such as E6), year, topology, title_en, title_fr, rehearsal (bool), minute
    (seconds that a minute lasts: 60), grace (seconds, of minutes of 60), retention (days), files (sha256 by name), and
    candidates: a list of {number, owner, lab, minutes: {phase: float}, factor, pauses, language}. No name of a person.
    Until a lab is made, files may still be mended: they make the session anew. Then Refused is raised.
    """
    about = json.loads(canonical(about))  # as it will be read again
    session = Session(exams_folder(home) / check_name(name), clock or HostClock())
    with explain_files(session.folder.parent):
        session.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (session.folder, session.papers, session.documents, session.folder / "evidence"):
            folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(session.folder.parent)
        if not session.reserve.exists():
            write_secret(session.reserve, os.urandom(RESERVE))  # random, so that no file system stores it in less
    with session.writing() as log:
        untouched = not any(one.history for one in log.standing.candidates.values())
        if log.standing.stage is Stage.NONE or (untouched and log.standing.about != about):
            log.add(Act.CREATE, Step.NOTED, "", **about)
        elif log.standing.about != about:
            before = log.standing.about
            changed = sorted(key for key in {*about, *before} if about.get(key) != before.get(key))
            text = _('the session "{name}" was made from something else; these differ: {keys}')
            hint = _("take another name with --session, or the same files")
            raise Refused(text.format(name=name, keys=", ".join(changed)), hint=hint)
    return session
