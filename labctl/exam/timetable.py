"""A candidate's times to the hours at which each phase begins and ends, if one phase follows the other at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from labctl.exam.candidates import Candidate
from labctl.exam.model import Phase


@dataclass(frozen=True)
class Slot:
    """When a phase begins and ends for one candidate."""

    phase: Phase
    begin: datetime
    end: datetime


def find_slots(candidate: Candidate, start: datetime) -> Iterator[Slot]:
    """Yield the phases in their order, the first from `start` on."""
    begin = start
    for phase in Phase:
        yield Slot(phase, begin, begin + candidate.times[phase])
        begin += candidate.times[phase]


def whole_time(candidate: Candidate) -> timedelta:
    """Return how long all phases take together."""
    return sum(candidate.times.values(), timedelta())
