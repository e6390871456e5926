"""One open console to its end: what both sides say of it meanwhile, and why it ended."""

import json
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labctl.worker.tickets import Grant

RECHECK = 5.0  # seconds between two looks at whether somebody still may
LONGEST_LINE = 256  # bytes of what the web process says about a console
TOLD_WITHIN = 5.0  # seconds in which the web process must take a notice


class Ending(StrEnum):
    """Why a console ended; the last four are the page's doing, and no page that works does so."""

    LEFT = "left"
    RIGHTS = "rights"
    TAKEN_OVER = "taken_over"
    STOPPED = "stopped"
    ENDED = "ended"
    AWAY = "away"
    SLOW = "slow"
    GONE = "gone"
    STUCK = "stuck"
    NONSENSE = "nonsense"


FAULTS = frozenset({Ending.SLOW, Ending.GONE, Ending.STUCK, Ending.NONSENSE})


class FromWeb(BaseModel):
    """What the web process says: the size of a terminal, why a page is let go; nothing, to begin with."""

    model_config = ConfigDict(extra="forbid")

    columns: int = Field(default=0, ge=0, le=500)
    rows: int = Field(default=0, ge=0, le=300)
    why: Ending | None = None


@dataclass(frozen=True)
class Viewer:
    """Somebody who has a console open."""

    console: int
    grant: Grant


class Opened:
    """An open console: `descriptor` is for the web process, `follow` keeps it until either side ends it."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.descriptor: socket.socket | None = None
        self.screen: socket.socket | None = None  # where nothing of ours reads what the machine shows
        self.why: Callable[[], Ending] = lambda: Ending.ENDED  # asks why a machine has ended it
        self.leave: Callable[[], None] = lambda: None  # ends the way to the machine
        self.resize: Callable[[int, int], None] = lambda _columns, _rows: None
        self.ending: Ending | None = None
        self.people: tuple[Grant, ...] = ()
        self._said = b""  # of a line that is not whole
        self._lock = threading.Lock()
        self._bell, self._rung = socket.socketpair()
        self._rung.setblocking(False)
        self._bell.setblocking(False)

    def end(self, ending: Ending) -> None:
        """End it, from any thread; the first reason counts."""
        with self._lock:
            if self.ending is not None:
                return
            self.ending = ending
        self.leave()
        self.ring()

    def ring(self) -> None:
        """Let `follow` look: there is something to tell."""
        with suppress(OSError):  # a full bell rings already, a closed one has nobody to hear it
            self._bell.send(b"!")

    def release(self) -> None:
        """Close our copy of what the web process has by now."""
        if self.descriptor is not None:
            self.descriptor.close()
            self.descriptor = None

    def follow(self, control: socket.socket, still: Callable[[], bool]) -> None:
        """Tell the web process about the console, and hear of sizes, until either side ends it.

        `control` is the connection that the console was asked for on, `still` whether its right goes on.
        """
        begun = False  # the answer to the request may still be on its way: the other side speaks first
        control.settimeout(TOLD_WITHIN)
        poll = self._poll(control)
        try:
            while self.ending is None:
                ready = {descriptor for descriptor, _what in poll.poll(RECHECK * 1000)}
                heard, rung = control.fileno() in ready, self._rung.fileno() in ready
                if self.ending is None and ready - {control.fileno(), self._rung.fileno()}:
                    self.end(self.why())
                if heard and not self._listen(control):
                    return
                if rung:
                    self._quieten()
                if (rung and begun) or (heard and not begun):
                    self._tell(control, self._notice())
                    begun = True
                if not still():
                    self.end(Ending.RIGHTS)
            self._tell(control, {"notice": "end", "why": self.ending.value})
        except (OSError, ValidationError):
            return
        finally:
            self.end(Ending.LEFT)

    def close(self) -> None:
        """Close what is left of it."""
        self.end(Ending.LEFT)
        self.release()
        if self.screen is not None:
            self.screen.close()
        self._bell.close()
        self._rung.close()

    def _poll(self, control: socket.socket) -> select.poll:
        """Return what tells of the web process, of the bell, and of a machine that closes its screen."""
        poll = select.poll()
        for side in (control, self._rung):
            poll.register(side, select.POLLIN)
        if self.screen is not None:
            poll.register(self.screen, select.POLLRDHUP)  # what it shows is for the web process
        return poll

    def _listen(self, control: socket.socket) -> bool:
        """Hear what the web process says; return whether it is there."""
        heard = control.recv(LONGEST_LINE)
        self._said += heard
        if not heard or len(self._said) > LONGEST_LINE:
            return False
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            self._hear(line)
        return True

    def _quieten(self) -> None:
        with suppress(BlockingIOError):
            self._rung.recv(64)

    def _hear(self, line: bytes) -> None:
        said = FromWeb.model_validate_json(line)
        if said.why:
            self.end(said.why)
        elif said.columns and said.rows:
            self.resize(said.columns, said.rows)

    def _notice(self) -> dict[str, object]:
        people = [
            {"name": other.name, "mode": other.holder.mode.value, "view_only": other.view_only} for other in self.people
        ]
        return {"notice": "people", "people": people}

    def _tell(self, control: socket.socket, notice: dict[str, object]) -> None:
        control.sendall(json.dumps(notice).encode() + b"\n")
