"""What changes to those who listen: each subscriber hears of the labs that they may see, in order, or is cut off."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from labctl.worker.answers import Event

LONGEST_QUEUE = 400  # events; who does not read so many is gone, or reads again from the start


@dataclass(eq=False)
class Subscriber:
    """One connection that listens. `wants` tells whether it hears of the lab of an owner; None ends the queue."""

    account: str
    session: str
    language: str
    wants: Callable[[str, str], bool]
    queue: "queue.Queue[Event | None]" = field(default_factory=lambda: queue.Queue(LONGEST_QUEUE))
    cut: bool = False

    def put(self, event: Event | None) -> None:
        """Queue an event; one who lags far behind is cut off."""
        try:
            self.queue.put_nowait(event)
        except queue.Full:
            self.cut = True

    def next(self, seconds: float) -> Event | None:
        """Return the next event, a pulse after so many seconds without one, None at the end."""
        if self.cut:
            return None
        with suppress(queue.Empty):
            return self.queue.get(timeout=seconds)
        return Event(kind="pulse")


class Hub:
    """Hands events to subscribers; any thread may publish."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: set[Subscriber] = set()

    def add(self, subscriber: Subscriber) -> None:
        """Let somebody listen."""
        with self._lock:
            self._subscribers.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Let somebody go."""
        with self._lock:
            self._subscribers.discard(subscriber)

    def count(self) -> int:
        """Return how many listen."""
        with self._lock:
            return len(self._subscribers)

    def connected(self) -> frozenset[str]:
        """Return the accounts that listen: those who have a page open."""
        with self._lock:
            return frozenset(one.account for one in self._subscribers)

    def publish(self, make: Callable[[str], Event], lab: str = "", owner: str = "", *, to: str = "") -> None:
        """Hand an event to all who may hear of its lab, or only to the account `to`; `make` words it in a language."""
        with self._lock:
            listeners = tuple(self._subscribers)
        made: dict[str, Event] = {}
        for one in listeners:
            if one.account == to if to else one.wants(lab, owner):
                if one.language not in made:
                    made[one.language] = make(one.language)
                one.put(made[one.language])

    def publish_to_all(self, event: Event) -> None:
        """Hand an event to everybody; it names nobody and has no words."""
        with self._lock:
            listeners = tuple(self._subscribers)
        for one in listeners:
            one.put(event)

    def end(self, *, session: str = "", account: str = "") -> None:
        """Tell the listeners of a session, or of an account, that it has ended, and let them go."""
        with self._lock:
            listeners = tuple(self._subscribers)
        for one in listeners:
            if (session and one.session == session) or (account and one.account == account):
                one.put(Event(kind="session"))
                one.put(None)

    def close(self) -> None:
        """Let everybody go."""
        with self._lock:
            listeners = tuple(self._subscribers)
        for one in listeners:
            one.put(None)
