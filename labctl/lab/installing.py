"""Follows an installation by the serial port of its machine: presses a key for its loader, waits for its markers."""

import select
import time
from collections.abc import Callable
from typing import Protocol

from labctl.errors import DeadlineMissed
from labctl.lab.installation import DEADLINES, Installation, Phase
from labctl.language import _

# The loader on Windows' own discs asks for any key where it boots by UEFI, in the disc's language; the firmware goes
# on without one. Enter does no harm before and after: in a menu, it takes what would be taken anyway.
KEY = b"\r"
PRESSING = 300.0  # seconds with hardware acceleration, from the start on; the loader comes in the first ones
KEPT = 4096  # bytes of a line that does not end
GLANCE = 1.0  # seconds between two looks at whether to stop, and between two keys


class SerialPort(Protocol):
    """The serial port of a machine; `read` returns b"" once the machine is off."""

    def fileno(self) -> int: ...
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...


def follow(
    port: SerialPort,
    installation: Installation,
    factor: float,
    entered: Callable[[Phase], None],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Read what the machine says until it is off. `entered` is told each phase, `check` may raise to stop the wait.

    Raises LabctlError where the machine gives up, DeadlineMissed where a phase takes longer than its deadline
    times `factor`.
    """
    pending, pressed = b"", 0.0
    begun = time.monotonic()
    end = begun + DEADLINES[installation.phase] * factor
    while True:
        check()
        now = time.monotonic()
        left = end - now
        if left <= 0:
            raise too_late(installation.phase, DEADLINES[installation.phase] * factor)
        if installation.phase is Phase.START and now - begun < PRESSING * factor and now - pressed >= GLANCE:
            port.write(KEY)
            pressed = now
        if not select.select([port], [], [], min(left, GLANCE))[0]:
            continue
        data = port.read()
        if not data:
            return
        *lines, pending = (pending + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if installation.read(line.decode("utf-8", "replace")):
                entered(installation.phase)
                end = time.monotonic() + DEADLINES[installation.phase] * factor
        pending = pending[-KEPT:]


def too_late(phase: Phase, seconds: float) -> DeadlineMissed:
    """Return the error for a phase that does not end."""
    text = _('the installation did not get through the phase "{phase}" within {minutes:.0f} min')
    return DeadlineMissed(text.format(phase=phase, minutes=seconds / 60))
