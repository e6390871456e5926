"""Programs that must run, to processes that do: started, started again when they die, and ended together."""

import ctypes
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from labctl.language import _

PR_SET_PDEATHSIG = 1  # prctl(2)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a process that died is started again
STEADY = 60.0  # seconds after which a process counts as having run well
LOOK = 0.2  # seconds
PATIENCE = 20.0  # seconds for a process to end when it is asked to
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """A program that must run. `user` and `group` are ids, None for ours; `descriptors` are open files that it gets."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    user: int | None = None
    group: int | None = None
    descriptors: Sequence[int] = ()


@dataclass
class Running:
    """A program with its process, and when it may be started again after it died."""

    program: Program
    process: "subprocess.Popen[bytes]"
    since: float
    deaths: int = 0
    again: float | None = None


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent is gone, however that ended."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def launch(program: Program) -> "subprocess.Popen[bytes]":
    """Start a program as its user, with nothing of ours but what it was given."""
    return subprocess.Popen(
        list(program.argv), env=dict(program.environment), stdin=subprocess.DEVNULL, user=program.user,
        group=program.group, extra_groups=None if program.user is None else [], pass_fds=tuple(program.descriptors),
        preexec_fn=end_with_parent,  # noqa: PLW1509  one thread starts the programs
    )  # fmt: skip


@dataclass
class Supervisor:
    """Keeps programs running until it is stopped. `say` tells a person what happens."""

    programs: Sequence[Program]
    say: Callable[[str], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    running: list[Running] = field(default_factory=list)

    def run(self) -> None:
        """Start the programs in order and keep them running; on `stop`, end them in the opposite order."""
        try:
            for program in self.programs:
                self.running.append(Running(program, launch(program), time.monotonic()))
            while not self.stopping.wait(LOOK):
                for one in self.running:
                    self.look_after(one)
        finally:
            for one in reversed(self.running):
                end(one.process)

    def stop(self) -> None:
        """Ask for the end, from a signal's handler or another thread."""
        self.stopping.set()

    def look_after(self, one: Running) -> None:
        """Start a program again whose process died, later each time it does so soon."""
        now = time.monotonic()
        if one.again is not None:
            if now >= one.again:
                one.process, one.since, one.again = launch(one.program), now, None
            return
        code = one.process.poll()
        if code is None:
            return
        one.deaths = 0 if now - one.since > STEADY else one.deaths + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, one.deaths - 1))
        one.again = now + pause
        text = _("{program} has ended ({how}); it is started again in {seconds:.1f} s")
        self.say(text.format(program=one.program.name, how=how_it_ended(code), seconds=pause))


def how_it_ended(code: int) -> str:
    """Return an exit code, or the name of the signal."""
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return _("code {code}").format(code=code)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and end it where it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
