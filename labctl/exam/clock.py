"""A phase of one candidate to its deadline in UTC: allotted time, extensions, pauses, and jumps of the host's clock."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from labctl.exam.model import Phase

NOTHING = timedelta()


@dataclass(frozen=True)
class PhaseClock:
    """The time of one candidate in one phase.

    `allotted` is their own length of the phase, `extended` what the proctor has added, `paused` how long the clock
    stood in pauses that are over, `paused_since` when the pause under way began.
    """

    phase: Phase
    begun: datetime
    allotted: timedelta
    extended: timedelta = NOTHING
    paused: timedelta = NOTHING
    paused_since: datetime | None = None
    ended: datetime | None = None

    @property
    def runs(self) -> bool:
        """Return whether time passes."""
        return self.ended is None and self.paused_since is None

    def deadline(self, now: datetime) -> datetime:
        """Return when the time is over; while the clock stands, when it would be if it went on `now`."""
        standing = max(now - self.paused_since, NOTHING) if self.paused_since else NOTHING
        return self.begun + self.allotted + self.extended + self.paused + standing

    def left(self, now: datetime) -> timedelta:
        """Return how much time is left; negative after the deadline. Of a phase that has ended, what was left then."""
        moment = self.ended or now
        return self.deadline(moment) - moment

    def pause(self, moment: datetime) -> "PhaseClock":
        """Return the clock standing from a moment on; one that stands already stands since before."""
        return replace(self, paused_since=self.paused_since or moment)

    def resume(self, moment: datetime) -> "PhaseClock":
        """Return the clock going on from a moment on."""
        if self.paused_since is None:
            return self
        return replace(self, paused=self.paused + max(moment - self.paused_since, NOTHING), paused_since=None)

    def extend(self, more: timedelta) -> "PhaseClock":
        """Return the clock with more time."""
        return replace(self, extended=self.extended + more)

    def end(self, moment: datetime) -> "PhaseClock":
        """Return the clock of a phase that is over; it stays over since the first time."""
        return self if self.ended else replace(self.resume(moment), ended=moment)

    def reopen(self, before: "PhaseClock", moment: datetime) -> "PhaseClock":
        """Return the clock of a phase that was over, standing; `before` is as it was when it ended.

        All that was left then is left now, and nothing is owed of the time since a deadline that was missed.
        """
        if before.ended is None:
            return self
        lost = moment - min(before.ended, before.deadline(before.ended))
        return replace(self.extend(lost), ended=None, paused_since=moment)

    def shift(self, jump: timedelta) -> "PhaseClock":
        """Return the clock after the host's hour was set by so much: the time that is left stays what it was."""
        if self.ended:
            return self
        since = self.paused_since + jump if self.paused_since else None
        return replace(self, begun=self.begun + jump, paused_since=since)
