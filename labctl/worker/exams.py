"""The folders of exam sessions to what the worker must know of them: whose work is in which state, read from the logs.

A log is read again when its file has grown. One that somebody changed leaves what was known before standing: a lab of
an exam never opens to others because its log is broken.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.exam.audit import Act, utc_text
from labctl.exam.moments import Clock, HostClock
from labctl.exam.session import Session, find_session, list_sessions
from labctl.exam.standing import CandidateStanding, Stage, Standing
from labctl.exam.supervise import Beat, read_beat
from labctl.lab.barring import is_barred
from labctl.worker.exam_authority import ExamState, exam_state

LOG = logging.getLogger("labctl.worker")


@dataclass(frozen=True)
class Seat:
    """One candidate in a session, with the lab that they work in."""

    session: str
    number: str
    owner: str
    lab: str
    state: ExamState


class Exams:
    """Knows the sessions of one installation; any thread may ask."""

    def __init__(self, home: Path, clock: Clock | None = None) -> None:
        self.home = home
        self.clock = clock or HostClock()
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._sizes: dict[str, int] = {}
        self._broken: dict[str, str] = {}

    def names(self) -> tuple[str, ...]:
        """Return the sessions, the newest first."""
        return tuple(sorted(list_sessions(self.home), key=lambda name: made_at(self.standing(name)), reverse=True))

    def session(self, name: str) -> Session:
        """Return a session. Raises LabctlError for one that does not exist."""
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = find_session(self.home, name, self.clock)
            return self._sessions[name]

    def standing(self, name: str) -> Standing:
        """Return a session as its log tells it. Raises LabctlError for one that does not exist."""
        session = self.session(name)
        size = self.size(name)
        if self._sizes.get(name) != size:
            try:
                session.read()
                self._broken.pop(name, None)
            except LabctlError as exc:
                if self._broken.get(name) != exc.message:
                    LOG.error("%s", exc.message)  # noqa: TRY400  a sentence for people
                self._broken[name] = exc.message
            self._sizes[name] = size
        return session.memory.standing

    def trouble(self, name: str) -> str:
        """Return why the log of a session cannot be read, "" where it can."""
        return self._broken.get(name, "")

    def size(self, name: str) -> int:
        """Return how long the log of a session is; 0 for one that is gone."""
        try:
            return self.session(name).audit.stat().st_size
        except (OSError, LabctlError):
            return 0

    def seats(self) -> Mapping[str, Seat]:
        """Return the seats by lab. Of two sessions with labs of one name, the one that goes on counts, then the newer.

        A session that is closed keeps its labs as long as they are barred.
        """
        found: dict[str, Seat] = {}
        standings = [(name, self.standing(name)) for name in reversed(self.names())]
        for name, standing in sorted(standings, key=lambda one: one[1].stage is not Stage.CLOSED):
            for one in standing.candidates.values():
                seat = Seat(name, one.number, one.owner, one.lab, exam_state(standing.stage, one))
                if standing.stage is not Stage.CLOSED or is_barred(self.home, one.lab):
                    found[one.lab] = seat
        return found

    def seat(self, lab: str) -> Seat | None:
        """Return the seat that a lab belongs to, None for a lab of no exam."""
        return self.seats().get(lab)

    def of_candidate(self, session: str, owner: str) -> tuple[Standing, CandidateStanding] | None:
        """Return a candidate of a session by the name of their account."""
        try:
            standing = self.standing(session)
        except LabctlError:
            return None
        found = next((one for one in standing.candidates.values() if one.owner == owner), None)
        return (standing, found) if found else None

    def supervision(self) -> tuple[Beat | None, bool]:
        """Return the last heartbeat of a supervisor, and whether it is alive."""
        beat = read_beat(self.home)
        return beat, beat is not None and beat.alive(self.clock.read())


def made_at(standing: Standing) -> str:
    """Return when a session was made, in UTC; "" for one whose log cannot be read."""
    made = standing.last.get(Act.CREATE)
    return utc_text(made.at.hour) if made else ""
