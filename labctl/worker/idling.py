"""Labs that nobody has used for a set time, to a warning, then to rest; a visit wakes them."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from labctl.errors import LabctlError
from labctl.lab.status import LabStatus
from labctl.worker.records import Records
from labctl.worker.values import LabState
from labctl.worker.watch import state_of

WARN_BEFORE = timedelta(minutes=10)
STEP = 30.0  # seconds between two looks
NAPPING = frozenset({LabState.READY, LabState.PARTLY, LabState.FAILED})


class House(Protocol):
    """What is needed of the office: which labs there are, whether one is in use, and to warn and suspend."""

    def labs(self) -> tuple[LabStatus, ...]:
        """Return the labs of people who have an account."""
        ...

    def in_use(self, lab: str) -> bool:
        """Return whether somebody has a console of a lab open, or a job of it goes on."""
        ...

    def warn(self, status: LabStatus, minutes: int) -> None:
        """Tell the owner that the lab will be suspended."""
        ...

    def suspend(self, status: LabStatus) -> None:
        """Have a lab suspended."""
        ...


class Idling:
    """Looks for labs that rest. `after` is how long a lab may be unused, None for ever."""

    def __init__(
        self, records: Records, after: timedelta | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.records = records
        self.after = after
        self.clock = clock
        self.began = clock()  # what was used before is not known: nobody's lab rests right after a start
        self.stopping = threading.Event()

    def last_use(self, at: str) -> datetime:
        """Return when a lab was last used, as far as that is known here."""
        return max(datetime.fromisoformat(at), self.began) if at else self.began

    def suspend_at(self, lab: str, visits: dict[str, tuple[str, str]]) -> str:
        """Return when a lab will be suspended, "" for never."""
        if self.after is None:
            return ""
        return (self.last_use(visits.get(lab, ("", ""))[0]) + self.after).isoformat(timespec="seconds")

    def look(self, house: House) -> None:
        """Warn the owners of labs that nobody uses, and have those suspended whose time is over."""
        if self.after is None:
            return
        now, visits = self.clock(), self.records.visits()
        for status in house.labs():
            if state_of(status) not in NAPPING:
                continue
            if house.in_use(status.name):
                self.records.note_visit(status.name)
                continue
            at, warned = visits.get(status.name, ("", ""))
            left = self.last_use(at) + self.after - now
            if left <= timedelta(0) and warned:
                house.suspend(status)
            elif left <= WARN_BEFORE and not warned:
                if not at:
                    self.records.note_visit(status.name, self.began.isoformat(timespec="seconds"))
                self.records.note_warning(status.name)
                house.warn(status, max(1, round(left.total_seconds() / 60)))

    def run(self, house: House) -> None:
        """Look again and again until stopped."""
        while not self.stopping.wait(STEP):
            with suppress(LabctlError):  # a full disk: labs run on
                self.look(house)
