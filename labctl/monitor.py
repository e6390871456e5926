"""What long work tells while it runs: events for whoever shows or stores them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Progress(StrEnum):
    """Where a step stands."""

    STARTED = "started"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Event:
    """One line of progress.

    `subject` is a node, an image or a lab; `step` a stable English word (``boot``, ``configure``,
    ``mmdebstrap``…); `detail` is text for people; `fraction` is done/total from 0 to 1, if known.
    """

    subject: str
    step: str
    progress: Progress
    detail: str = ""
    fraction: float | None = None


class Monitor(Protocol):
    """Receives events; must be safe to call from several threads."""

    def tell(self, event: Event) -> None: ...


class Silent:
    """A monitor that nobody watches."""

    def tell(self, event: Event) -> None:
        """Forget the event."""
