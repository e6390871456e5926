"""Drives a machine's serial console by a script: every wait has a deadline and says what it waits for."""

import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labctl.appliances.script import Step, fill
from labctl.errors import DeadlineMissed, LabctlError
from labctl.language import _
from labctl.topology.problems import safe

# What terminals are told about colours and positions, ECMA-48; menus are drawn with it and patterns are not.
CONTROL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()#][0-9A-Za-z]|[=>78cDEHMNOZ])")
KEPT = 64 * 1024  # bytes of words that were not waited for yet
SHOWN = 12  # lines of the console in an error
ENTER = b"\r"
HIDDEN = "********"


class Line(Protocol):
    """A serial line; `read` returns b"" at its end. `labctl.hypervisor.console.Console` is one."""

    def fileno(self) -> int:
        """Return what can be selected for reading."""

    def read(self, size: int = ...) -> bytes:
        """Return what the machine wrote."""

    def write(self, data: bytes) -> None:
        """Type."""


@dataclass
class Screen:
    """What a machine wrote: `fresh` is what was not waited for yet, `seen` the end of everything, without colours."""

    fresh: str = ""
    seen: str = ""
    pending: bytes = b""

    def add(self, data: bytes) -> None:
        """Take in bytes; a sequence for the terminal may come in two pieces."""
        data = self.pending + data
        cut = data.rfind(b"\x1b", max(0, len(data) - 32))
        whole = cut < 0 or CONTROL.match(data, cut) is not None
        data, self.pending = (data, b"") if whole else (data[:cut], data[cut:])
        text = CONTROL.sub(b"", data).decode("utf-8", errors="replace").replace("\r", "").replace("\0", "")
        self.fresh = (self.fresh + text)[-KEPT:]
        self.seen = (self.seen + text)[-KEPT:]

    def take(self, pattern: re.Pattern[str]) -> bool:
        """Return whether the pattern has come; what led to it is not looked at again."""
        found = pattern.search(self.fresh)
        if found:
            self.fresh = self.fresh[found.end() :]
        return found is not None

    def told(self, secrets: Sequence[str] = ()) -> str:
        """Return all that is known, with secrets hidden and nothing that a terminal would act upon."""
        text = self.seen
        for secret in secrets:
            text = text.replace(secret, HIDDEN) if secret else text
        return "\n".join(safe(line.rstrip()) for line in text.splitlines() if line.strip()) + "\n"

    def tail(self, secrets: Sequence[str] = ()) -> str:
        """Return the last lines for an error."""
        return "\n".join(f"  {line}" for line in self.told(secrets).splitlines()[-SHOWN:])


def drive(
    line: Line,
    steps: Sequence[Step],
    values: Mapping[str, str],
    told: Callable[[float, str], None],
    screen: Screen,
    *,
    pace: float = 1.0,
    secrets: Sequence[str] = (),
) -> None:
    """Go through a script; `screen` takes in what the machine writes. `pace` stretches the deadlines on a slow host.

    Raises DeadlineMissed where a pattern does not come, LabctlError where the line ends before; both with the
    machine's last words, in which `secrets` are hidden.
    """
    for number, step in enumerate(steps):
        told(number / len(steps), step.phase)
        if wait_for(line, screen, step, pace, secrets) and step.send is not None:
            line.write(fill(step.send, values).encode() + (ENTER if step.enter else b""))
    told(1.0, "")


def wait_for(line: Line, screen: Screen, step: Step, pace: float, secrets: Sequence[str] = ()) -> bool:
    """Wait for a step's pattern; return False where its `unless` came first. Raises as `drive` does."""
    wanted = re.compile(step.wait, re.MULTILINE)
    other = re.compile(step.unless, re.MULTILINE) if step.unless else None
    end = time.monotonic() + step.within * pace
    while True:
        if other is not None and came_first(screen.fresh, other, wanted):
            return False  # what came stays fresh: the next step waits for it
        if screen.take(wanted):
            return True
        left = end - time.monotonic()
        if left <= 0:
            raise missed(step, screen, step.within * pace, secrets)
        if not select.select([line], [], [], left)[0]:
            continue
        data = line.read()
        if not data:
            raise ended(step, screen, secrets)
        screen.add(data)


def wait_end(line: Line, screen: Screen, seconds: float, secrets: Sequence[str] = ()) -> None:
    """Wait until the machine is off, which ends its line. Raises DeadlineMissed."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([line], [], [], left)[0]:
            data = line.read()
            if not data:
                return
            screen.add(data)
    text = _("the machine did not switch itself off within {seconds:.0f} s; its last words were:")
    raise DeadlineMissed(f"{text.format(seconds=seconds)}\n{screen.tail(secrets)}", hint="labctl doctor")


def came_first(text: str, other: re.Pattern[str], wanted: re.Pattern[str]) -> bool:
    """Return whether `other` stands in the text before `wanted` does."""
    found, sought = other.search(text), wanted.search(text)
    return found is not None and (sought is None or found.start() < sought.start())


def missed(step: Step, screen: Screen, seconds: float, secrets: Sequence[str]) -> DeadlineMissed:
    """Return the error for words that did not come in time."""
    text = _('{phase}: the console did not show "{pattern}" within {seconds:.0f} s; its last words were:')
    said = text.format(phase=step.phase, pattern=step.wait, seconds=seconds)
    return DeadlineMissed(f"{said}\n{screen.tail(secrets)}", hint="labctl doctor")


def ended(step: Step, screen: Screen, secrets: Sequence[str]) -> LabctlError:
    """Return the error for a machine that went away while it was listened to."""
    text = _('{phase}: the machine stopped before its console showed "{pattern}"; its last words were:')
    return LabctlError(f"{text.format(phase=step.phase, pattern=step.wait)}\n{screen.tail(secrets)}")
