"""Follows an installation by the serial port of its machine: answers the loader's question, waits for its markers."""

import select
import time
from collections.abc import Callable
from typing import Protocol

from labctl.errors import DeadlineMissed
from labctl.lab.installation import DEADLINES, Installation, Phase
from labctl.language import _

# The loader on Windows' own discs asks this where it boots by UEFI; without an answer, the firmware goes on.
QUESTION = b"Press any key to boot from CD or DVD"
ANSWER = b" "
KEPT = 4096  # bytes of a line that does not end
GLANCE = 1.0  # seconds between two looks at whether to stop


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
    pending = b""
    end = time.monotonic() + DEADLINES[installation.phase] * factor
    while True:
        check()
        left = end - time.monotonic()
        if left <= 0:
            raise too_late(installation.phase, DEADLINES[installation.phase] * factor)
        if not select.select([port], [], [], min(left, GLANCE))[0]:
            continue
        data = port.read()
        if not data:
            return
        *lines, pending = (pending + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            answer(port, installation, line)
            if installation.read(line.decode("utf-8", "replace")):
                entered(installation.phase)
                end = time.monotonic() + DEADLINES[installation.phase] * factor
        # The question waits at the end of a line that does not end.
        pending = b"" if answer(port, installation, pending) else pending[-KEPT:]


def answer(port: SerialPort, installation: Installation, said: bytes) -> bool:
    """Press a key where the loader asks for one, and return whether it did; later, the disk starts without it."""
    asked = QUESTION in said and installation.phase is Phase.START
    if asked:
        port.write(ANSWER)
    return asked


def too_late(phase: Phase, seconds: float) -> DeadlineMissed:
    """Return the error for a phase that does not end."""
    text = _('the installation did not get through the phase "{phase}" within {minutes:.0f} min')
    return DeadlineMissed(text.format(phase=phase, minutes=seconds / 60))
