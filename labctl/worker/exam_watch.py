"""The logs of exam sessions, and the clock, to news for pages: a line was written, a mark was passed, a heart stopped.

Logs are written by other processes too, and a mark that passes is no event of anybody: both are looked at often.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from labctl.exam.board import LATE, SOON
from labctl.exam.standing import Stage, Standing
from labctl.worker.exams import Exams

LOOK = 0.25  # seconds


def follow_exams(exams: Exams, tell: Callable[[str], object], wait: Callable[[float], bool]) -> None:
    """Call `tell` with each session that has news, until `wait` says that it is time to stop."""
    sizes: dict[str, int] = {}
    beating, before = True, exams.clock.read().hour
    while True:
        now, alive = exams.clock.read().hour, exams.supervision()[1]
        for name in exams.names():
            standing, size = exams.standing(name), exams.size(name)
            going = standing.stage is Stage.STARTED
            if sizes.get(name, size) != size or (going and (alive is not beating or passes(standing, before, now))):
                tell(name)
            sizes[name] = size
        beating, before = alive, now
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
