"""Lets labs begin one after the other as memory allows, so that the host never swaps."""

import threading
import time

import psutil

from labctl.classroom.capacity import RESERVE
from labctl.errors import Refused
from labctl.language import _

ADMISSION_PATIENCE = 120.0  # seconds; KSM gives memory back while it catches up


class Admission:
    """Lets a lab begin only while the memory that it will take is there, counting those that have just begun."""

    def __init__(self, need: int) -> None:
        self.need = need
        self.begun = 0
        self.lock = threading.Lock()

    def admit(self, owner: str) -> "Admission":
        """Wait for room. Raises Refused with the numbers where there is none in time."""
        until = time.monotonic() + ADMISSION_PATIENCE
        while True:
            with self.lock:
                free = psutil.virtual_memory().available - RESERVE - self.begun * self.need
                if free >= self.need or self.need == 0:
                    self.begun += 1
                    return self
            if time.monotonic() > until:
                text = _("{owner}: not enough memory: the lab takes {need} MiB, {free} MiB are free")
                raise Refused(
                    text.format(owner=owner, need=self.need >> 20, free=max(0, free) >> 20), hint="labctl status"
                )
            time.sleep(1)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.begun -= 1
