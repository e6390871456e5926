"""The host's clocks to Readings: the hour, and beside it a clock that nobody can set, by which a jump is told."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from labctl.process import read_boot_id

JUMP = 0.5  # seconds that the hour may differ from the steady clock before it is called a jump
DRIFT = 0.001  # of the time that has passed: chrony slews a wrong clock by up to that much, which is no jump


@dataclass(frozen=True)
class Reading:
    """Both clocks at one instant: `hour` is in UTC, `steady` in seconds since the start `boot` of the host."""

    hour: datetime
    boot: str
    steady: float


class Clock(Protocol):
    """Tells the time, and waits."""

    def read(self) -> Reading:
        """Return both clocks now."""

    def sleep(self, seconds: float) -> None:
        """Wait so long."""


@dataclass(frozen=True)
class HostClock:
    """The clocks of this host. CLOCK_BOOTTIME goes on while the host is suspended, and cannot be set."""

    boot: str = field(default_factory=read_boot_id)

    def read(self) -> Reading:
        """Return both clocks now."""
        return Reading(datetime.now(UTC), self.boot, time.clock_gettime(time.CLOCK_BOOTTIME))

    def sleep(self, seconds: float) -> None:
        """Wait so long."""
        time.sleep(seconds)


def find_jump(before: Reading, after: Reading) -> timedelta | None:
    """Return by how much the hour was set between two readings, None where it was not, or where nobody can tell.

    After a restart of the host the steady clock begins anew: the hour is all there is.
    """
    if before.boot != after.boot:
        return None
    passed = after.steady - before.steady
    jump = (after.hour - before.hour).total_seconds() - passed
    return timedelta(seconds=jump) if abs(jump) > JUMP + DRIFT * abs(passed) else None
