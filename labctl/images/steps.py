"""Turns the steps of one build into events for whoever watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labctl.monitor import Event, Monitor, Progress


class Steps:
    """Tells a monitor how far the build of one image is."""

    def __init__(self, monitor: Monitor, subject: str, first: str = "root") -> None:
        self.monitor = monitor
        self.subject = subject
        self.step = first

    def tell(self, step: str, fraction: float, detail: str = "") -> None:
        """Tell that a step runs, at a fraction of the whole build."""
        known = Progress.RUNNING if step == self.step and fraction > 0 else Progress.STARTED
        if known is Progress.STARTED and step != self.step:
            self.monitor.tell(Event(self.subject, self.step, Progress.DONE, fraction=fraction))
        self.step = step
        self.monitor.tell(Event(self.subject, step, known, detail, fraction))

    def scaled(self, start: float, end: float) -> Callable[[float, str], None]:
        """Return a function for a part of the build that counts from 0 to 1 on its own."""
        self.tell(self.step, start)
        return lambda fraction, detail: self.tell(self.step, start + (end - start) * fraction, detail)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Tell which step failed when an exception passes."""
        try:
            yield
        except BaseException as exc:
            self.monitor.tell(Event(self.subject, self.step, Progress.FAILED, detail=str(exc)))
            raise

    def done(self) -> None:
        """Tell that the image is built."""
        self.monitor.tell(Event(self.subject, self.step, Progress.DONE, fraction=1.0))
