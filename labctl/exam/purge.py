"""An exam session to nothing: results are personal data, and go when a person says so, never by themselves.

What stays is one line that says that a session was removed, when and by whom, with the head of its log: it names no
candidate.
"""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from labctl.errors import Refused
from labctl.exam.audit import Act, Step, utc_text
from labctl.exam.documents.making import OF_ONE
from labctl.exam.evidence.store import loosen
from labctl.exam.session import Session, exams_folder
from labctl.exam.standing import Stage, Standing, number_of
from labctl.lab.files import explain_files
from labctl.lab.frozen import flush
from labctl.lab.lock import who
from labctl.language import _

RECORD = "purged.jsonl"  # beside the sessions
LEAVING = ".leaving"  # beside the sessions: the folder of those that are being removed
RETENTION = 365.0  # days, where a session does not say


@dataclass(frozen=True)
class Retention:
    """How long a session must be kept: its last day as a moment, and how many whole days are left, 0 when over."""

    until: datetime
    left: int

    @property
    def over(self) -> bool:
        """Return whether it may be removed without a further word."""
        return self.left <= 0


def find_retention(standing: Standing, now: datetime) -> Retention:
    """Return how long a session must still be kept; the days count from its last entry but those of looks and copies.

    Raises Refused for a session of which nothing is known.
    """
    quiet = {Act.VERIFY, Act.COPY, Act.REPORT, Act.PURGE}
    entries = [*standing.history, *(entry for one in standing.candidates.values() for entry in one.history)]
    moments = [entry.at.hour for entry in entries if entry.act not in quiet]
    if not moments:
        raise Refused(_("nothing is known of this session"), hint="labctl exam status")
    until = max(moments) + timedelta(days=number_of(standing.about, "retention", RETENTION))
    left = (until - now) / timedelta(days=1)
    return Retention(until, 0 if left <= 0 else int(left) + 1)


def refuse_purge(session: Session, standing: Standing, retention: Retention, *, early: bool) -> None:
    """Raise Refused where work is under way, or where a session that counts must be kept longer."""
    working = [one.number for one in standing.candidates.values() if one.practical and not one.closed]
    if standing.stage is not Stage.CLOSED and working:
        text = _('the session "{name}" is not closed; these candidates have not ended: {numbers}')
        message = text.format(name=session.name, numbers=", ".join(working))
        raise Refused(message, hint=f"labctl exam close {session.name}")
    if not retention.over and not standing.rehearsal and not early:
        text = _('the session "{name}" is to be kept until {day}, {count} days from now')
        message = text.format(name=session.name, day=retention.until.date().isoformat(), count=retention.left)
        raise Refused(message, hint=f"labctl exam purge {session.name} --early")


def purge_session(session: Session, now: datetime) -> None:
    """Remove a session with all its evidence, frozen work, papers, documents, key and log.

    From the first moment on it is no session, whatever stops the rest: `finish_purges` does that.
    """
    with explain_files(session.folder.parent):
        with session.writing() as log:
            log.add(Act.PURGE, Step.BEGUN)
            standing = log.standing
        record = {
            "time": utc_text(now), "who": who(), "session": session.name, "candidates": len(standing.candidates),
            "rehearsal": standing.rehearsal, "entries": standing.seq, "head": standing.head,
        }  # fmt: skip
        append_record(session.folder.parent / RECORD, json.dumps(record))
        leaving = session.folder.parent / LEAVING / f"{session.name}-{standing.head[:16]}"
        leaving.parent.mkdir(mode=0o700, exist_ok=True)
        session.folder.rename(leaving)
        flush(session.folder.parent)
        remove(leaving.parent)


def append_record(path: Path, line: str) -> None:
    """Add a line that a power cut does not lose."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(f"{line}\n")
        stream.flush()
        os.fsync(stream.fileno())


def purge_candidate(session: Session, number: str) -> None:
    """Remove what was kept of one candidate; the log stays, and says so."""
    candidate = session.read().candidate(number)
    with explain_files(session.folder), session.doing(Act.PURGE, number):
        owner = candidate.owner
        for name in (f"frozen/{number}", f"start/{owner}", f"evidence/{owner}"):
            remove(session.folder / name)
        for path in session.folder.glob(f"evidence/{owner}.*"):  # partial, or of a later freeze
            remove(path)
        papers = (f"documents/{kind}-{owner}.*" for kind in OF_ONE)  # one name may be the end of another
        for pattern in (f"recette/{owner}-*.json", f"flows/{owner}.*.json", *papers):
            for path in session.folder.glob(pattern):
                path.unlink()


def finish_purges(home: Path) -> None:
    """Remove what a run that was killed left of sessions that somebody removed."""
    remove(exams_folder(home) / LEAVING)


def remove(folder: Path) -> None:
    """Remove a folder that may be read-only; an absent one is what was wanted."""
    if folder.is_dir() and not folder.is_symlink():
        loosen(folder)
        shutil.rmtree(folder)
