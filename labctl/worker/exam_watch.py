"""The logs of exam sessions, and the clock, to news for pages: a line was written, a mark was passed, a heart stopped.

Logs are written by other processes too, and a mark that passes is no event of anybody: both are looked at often.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from labctl.errors import LabctlError
from labctl.exam.board import LATE, SOON
from labctl.exam.standing import Stage, Standing
from labctl.worker.exams import Exams

LOOK = 0.25  # seconds


@dataclass
class Watched:
    """What was seen at the last look: lengths of logs, consoles and pages, whether a supervisor lived, and when."""

    before: datetime
    sizes: dict[str, tuple[int, object]] = field(default_factory=dict)
    beating: bool = True

    def find_news(self, exams: Exams, look_at: Callable[[Standing], object]) -> list[str]:
        """Return the sessions that have news since the last look; `look_at` gives what is seen beside their logs."""
        now, alive = exams.clock.read().hour, exams.supervision()[1]
        found = []
        for name in exams.names():
            standing = exams.standing(name)
            size = (exams.size(name), look_at(standing))
            going = standing.stage is Stage.STARTED
            other = going and (alive is not self.beating or passes(standing, self.before, now))
            if other or self.sizes.get(name, size) != size:
                found.append(name)
            self.sizes[name] = size
        self.beating, self.before = alive, now
        return found


def follow_exams(
    exams: Exams, look_at: Callable[[Standing], object], tell: Callable[[str], object], wait: Callable[[float], bool]
) -> None:
    """Call `tell` with each session that has news, until `wait` says that it is time to stop."""
    watched = Watched(exams.clock.read().hour)
    while True:
        with suppress(LabctlError):  # a session that was purged in between
            for name in watched.find_news(exams, look_at):
                tell(name)
        if wait(LOOK):
            return


def passes(standing: Standing, before: datetime, now: datetime) -> bool:
    """Return whether what a board says changes between two moments by time alone."""
    return any(before < mark <= now for mark in find_marks(standing, now))


def find_marks(standing: Standing, now: datetime) -> Iterator[datetime]:
    """Yield the moments at which a board says something else: soon, over, frozen too late."""
    for one in standing.candidates.values():
        if one.clock and one.clock.runs and not one.closed:
            deadline = one.clock.deadline(now)
            yield from (deadline - SOON * standing.minute / 60, deadline, deadline + standing.grace + LATE)
