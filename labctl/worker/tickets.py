"""A person's right to one console to a ticket that opens it once, within half a minute."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from labctl.language import _
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone

LIFETIME = 30.0  # seconds between the page that asks and its websocket
MOST_OF_ONE = 16  # tickets of one account that nobody has redeemed; a page needs one at a time
MOST = 4096  # of all


@dataclass(frozen=True)
class Holder:
    """Who opens which console, in which login: what a ticket is bound to."""

    account: str
    session: str
    lab: str
    node: str
    mode: ConsoleMode


@dataclass(frozen=True)
class Grant:
    """Who may open which console, and how. `name` is the person's as others read it."""

    holder: Holder
    name: str
    view_only: bool = False
    take_over: bool = False  # ends whoever holds the serial console outside the portal


class Tickets:
    """Issues tickets and takes them back, each once; only their hashes are kept. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[bytes, tuple[Grant, float]] = {}  # in the order of issue, which is that of expiry

    def issue(self, grant: Grant) -> str:
        """Return a new ticket, 43 letters that may stand in a URL or a header.

        The oldest of somebody who asks for too many ends; NotDone where all together asked for too many.
        """
        ticket = secrets.token_urlsafe(32)
        with self._lock:
            self._forget_old()
            own = [mark for mark, (other, _until) in self._open.items() if other.holder.account == grant.holder.account]
            for mark in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
                del self._open[mark]
            if len(self._open) >= MOST:
                text = _("too many consoles are asked for at once; try again in a minute")
                raise NotDone(Refusal.TOO_MANY, text, wait=60)
            self._open[mark_of(ticket)] = (grant, self._clock() + LIFETIME)
        return ticket

    def redeem(self, ticket: str, holder: Holder) -> Grant:
        """Return what the ticket grants. Raises NotDone, with one sentence for every reason: a guesser learns nothing.

        A ticket in the wrong hands, or used for another console, is used up all the same.
        """
        with self._lock:
            self._forget_old()
            grant, _until = self._open.pop(mark_of(ticket), (None, 0.0))
        if grant is None or grant.holder != holder:
            raise NotDone(Refusal.EXPIRED, _("this ticket is not valid any more: open the console again"))
        return grant

    def revoke(self, concerns: Callable[[Grant], bool]) -> int:
        """End the tickets that the right has gone for; return how many."""
        with self._lock:
            gone = [mark for mark, (grant, _until) in self._open.items() if concerns(grant)]
            for mark in gone:
                del self._open[mark]
        return len(gone)

    def __len__(self) -> int:
        with self._lock:
            self._forget_old()
            return len(self._open)

    def _forget_old(self) -> None:
        now = self._clock()
        for mark, (_grant, until) in list(self._open.items()):
            if until > now:
                break
            del self._open[mark]


def mark_of(ticket: str) -> bytes:
    """Return what is kept of a ticket: a dump of our memory opens no console, and looking one up leaks no timing."""
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()
