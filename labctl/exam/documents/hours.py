"""A candidate's standing to the length of each phase, and to when it began and ends where that is known."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from labctl.exam.clock import PhaseClock
from labctl.exam.documents.heading import Heading, length
from labctl.exam.documents.words import name_phase
from labctl.exam.model import Phase
from labctl.exam.standing import CandidateStanding


@dataclass(frozen=True)
class PhaseHours:
    """A phase of one candidate. `length` counts what was added; `open` tells that the end is a deadline still."""

    phase: Phase
    length: timedelta
    begin: datetime | None = None
    end: datetime | None = None
    open: bool = False


@dataclass(frozen=True)
class ShownHours:
    """A phase as it is printed; what is not known is empty."""

    name: str
    length: str
    begin: str
    end: str
    open: bool


def find_hours(candidate: CandidateStanding, now: datetime) -> tuple[PhaseHours, ...]:
    """Return the phases of a candidate as they stand now: those that have not begun have no hour."""
    return tuple(find_phase(candidate, phase, now) for phase in Phase)


def find_phase(candidate: CandidateStanding, phase: Phase, now: datetime) -> PhaseHours:
    """Return one phase."""
    clock = candidate.clocks.get(phase)
    if clock is None:
        return PhaseHours(phase, candidate.times[phase])
    return PhaseHours(
        phase, clock.allotted + clock.extended, clock.begun, clock.ended or clock.deadline(now), clock.ended is None
    )  # fmt: skip


def paused_time(clock: PhaseClock, now: datetime) -> timedelta:
    """Return how long a clock has stood in all."""
    return clock.deadline(now) - clock.begun - clock.allotted - clock.extended


def show_hours(one: PhaseHours, heading: Heading) -> ShownHours:
    """Return a phase as it is printed."""
    return ShownHours(
        name_phase(one.phase, heading.language), length(one.length), heading.hour(one.begin), heading.hour(one.end),
        one.open,
    )  # fmt: skip
