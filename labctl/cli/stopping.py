"""A first Ctrl-C to a wish to stop after the current step, a second one to the end of the process."""

import os
import signal
import sys
from types import FrameType

import click

from labctl.errors import ExitCode
from labctl.lab.wish import Stop
from labctl.language import _


class stop_politely:  # noqa: N801  a context manager, read as a verb
    """While it lasts, the first Ctrl-C lets the current step end and the second one stops the process at once."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.asked = False

    def __enter__(self) -> None:
        self.before = {number: signal.signal(number, self.hear) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's signature
        """Take a signal."""
        if self.asked:
            click.echo("\n" + _("Stopped at once; type the same command again to continue."), err=True)
            sys.stderr.flush()
            # Threads may be deep inside libvirt: leaving now is as good as a crash, which `up` repairs.
            os._exit(ExitCode.INTERRUPTED)
        self.asked = True
        self.stop.ask()
        click.echo("\n" + _("Finishing the current step… Ctrl-C again stops at once."), err=True)
