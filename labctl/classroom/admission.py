"""Lets labs begin as memory and processors allow: the host never swaps, and no lab starves the others of time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from labctl.classroom.capacity import RESERVE
from labctl.errors import Refused
from labctl.lab.wish import Stop
from labctl.language import _

PATIENCE = 120.0  # seconds without any lab under way; KSM gives memory back while it catches up
LOOK = 0.25  # seconds; pressure tells no one when it falls
SETTLE = 10.0  # seconds between two labs beyond the first ones: pressure is an average over this time
PRESSURE_FILE = Path("/proc/pressure/cpu")
PRESSURE_LIMIT = 40.0  # per cent of the time in which some task waited for a processor


def cpu_pressure(path: Path = PRESSURE_FILE) -> float | None:
    """Return the share of the last 10 s, in per cent, in which some task waited for a processor; None if unknown.

    Source: the kernel's Documentation/accounting/psi.rst.
    """
    try:
        words = path.read_text(encoding="ascii").split()
        return float(next(word for word in words if word.startswith("avg10=")).removeprefix("avg10="))
    except (OSError, StopIteration, ValueError):
        return None


class Admission:
    """Counts the labs under way: `least` of them always may be, more while the processors are not short of time.

    `need` is the memory in bytes that one lab takes; one that has begun counts in full until it is done, because
    its memory is not there yet.
    """

    def __init__(
        self,
        need: int,
        least: int,
        *,
        free: Callable[[], int] = lambda: psutil.virtual_memory().available,
        pressure: Callable[[], float | None] = cpu_pressure,
    ) -> None:
        self.need = need
        self.least = least
        self.free = free
        self.pressure = pressure
        self.under_way = 0
        self.last = 0.0
        self.change = threading.Condition()

    @contextmanager
    def admit(self, owner: str, stop: Stop) -> Iterator[None]:
        """Wait for room, and hold it for the length of the block.

        Raises Refused, with the numbers, after a while in which no other lab could make room, Interrupted where a
        person stops the run.
        """
        self.enter(owner, stop)
        try:
            yield
        finally:
            with self.change:
                self.under_way -= 1
                self.change.notify_all()

    def enter(self, owner: str, stop: Stop) -> None:
        """Wait until one more lab may begin."""
        quiet_since = time.monotonic()
        with self.change:
            while not self.may_begin():
                stop.raise_if_asked(owner)
                if self.under_way:
                    quiet_since = time.monotonic()
                elif time.monotonic() - quiet_since > PATIENCE:
                    raise self.refusal(owner)
                self.change.wait(LOOK)
            self.under_way += 1
            self.last = time.monotonic()

    def may_begin(self) -> bool:
        """Return whether memory and processors allow one more."""
        if self.need and self.room() < self.need:
            return False
        if self.under_way < self.least:
            return True
        if time.monotonic() - self.last < SETTLE:
            return False
        pressure = self.pressure()
        return pressure is not None and pressure < PRESSURE_LIMIT

    def room(self) -> int:
        """Return the bytes that are free once those who have begun have all that they need."""
        return self.free() - RESERVE - self.under_way * self.need

    def refusal(self, owner: str) -> Refused:
        """Return the error for a lab that never found room."""
        text = _("{owner}: not enough memory: the lab takes {need} MiB, {free} MiB are free")
        numbers = {"need": self.need >> 20, "free": max(0, self.room()) >> 20}
        return Refused(text.format(owner=owner, **numbers), hint="labctl status")
