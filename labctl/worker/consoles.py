"""A ticket to an open console, and to its end: who looks at which machine, cut when a right ends."""

import itertools
import json
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labctl.errors import Busy
from labctl.language import _
from labctl.worker.answers import ConsoleOpened
from labctl.worker.console_doors import Doors, Shell
from labctl.worker.screen import WatchedScreen
from labctl.worker.terminal import PATIENCE, Terminal, Watcher
from labctl.worker.tickets import Grant, Holder, Tickets
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone

MOST_OF_ONE = 12  # open consoles of one account
MOST = 400  # of all; each costs a thread and some descriptors
RECHECK = 5.0  # seconds between two looks at whether somebody still may
LONGEST_LINE = 256  # bytes of what the web process says about a console
TOLD_WITHIN = 5.0  # seconds in which the web process must take a notice
CLOSED_WITHIN = 6.0  # seconds in which libvirt takes a console back


class Ending(StrEnum):
    """Why a console ended."""

    LEFT = "left"
    RIGHTS = "rights"
    TAKEN_OVER = "taken_over"
    STOPPED = "stopped"
    ENDED = "ended"
    SLOW = "slow"


class Size(BaseModel):
    """What the web process says: the size of a terminal; nothing, to begin with, where it has none."""

    model_config = ConfigDict(extra="forbid")

    columns: int = Field(default=0, ge=0, le=500)
    rows: int = Field(default=0, ge=0, le=300)


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
        self.leave: Callable[[], None] = lambda: None  # ends the way to the machine
        self.resize: Callable[[int, int], None] = lambda _columns, _rows: None
        self.ending: Ending | None = None
        self.people: tuple[Grant, ...] = ()
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
        said = b""
        begun = False  # the answer to the request may still be on its way: the other side speaks first
        control.settimeout(TOLD_WITHIN)
        try:
            while self.ending is None:
                ready = select.select([control, self._rung], [], [], RECHECK)[0]
                if control in ready:
                    heard = control.recv(LONGEST_LINE)
                    said += heard
                    if not heard or len(said) > LONGEST_LINE:
                        return
                    *lines, said = said.split(b"\n")
                    for line in lines:
                        self._hear(line)
                if self._rung in ready:
                    with suppress(BlockingIOError):
                        self._rung.recv(64)
                if (self._rung in ready and begun) or (control in ready and not begun):
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
        self._bell.close()
        self._rung.close()

    def _hear(self, line: bytes) -> None:
        size = Size.model_validate_json(line)
        if size.columns and size.rows:
            self.resize(size.columns, size.rows)

    def _notice(self) -> dict[str, object]:
        people = [
            {"name": other.name, "mode": other.holder.mode.value, "view_only": other.view_only} for other in self.people
        ]
        return {"notice": "people", "people": people}

    def _tell(self, control: socket.socket, notice: dict[str, object]) -> None:
        control.sendall(json.dumps(notice).encode() + b"\n")


@dataclass
class Seat:
    """The terminal that those who look at one serial console, or one shell, share."""

    terminal: Terminal
    opened: list[Opened]
    resize: Callable[[int, int], None]


class Consoles:
    """All open consoles and unused tickets. Any thread may call; whether somebody may was decided before."""

    def __init__(self, doors: Doors, tickets: Tickets | None = None, patience: float = PATIENCE) -> None:
        self._doors = doors
        self._patience = patience
        self._tickets = Tickets() if tickets is None else tickets  # an empty one is falsy
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._turns: dict[tuple[str, str], threading.Lock] = {}  # one opens a machine's terminal at a time
        self._open: dict[int, Opened] = {}
        self._seats: dict[tuple[str, str, ConsoleMode], list[Seat]] = {}

    def issue(self, grant: Grant) -> str:
        """Return a ticket for a console. Raises NotDone where too many are asked for."""
        return self._tickets.issue(grant)

    def open(self, ticket: str, holder: Holder) -> tuple[ConsoleOpened, Opened]:
        """Open the console of a ticket; the caller sends the descriptor, follows and closes it.

        Raises NotDone for a ticket that is not (or no longer) good for this, for too many consoles and for one that
        somebody else holds; LabctlError where the machine has no such console now.
        """
        opened = self._enter(self._tickets.redeem(ticket, holder))
        try:
            match holder.mode:
                case ConsoleMode.GRAPHICS:
                    self._open_screen(opened)
                case ConsoleMode.TEXT:
                    self._open_serial(opened)
                case ConsoleMode.SSH:
                    self._open_shell(opened)
        except BaseException:
            self.close(opened)
            raise
        grant, others = opened.viewer.grant, self._tell_people(opened)
        about = ConsoleOpened(
            console=opened.viewer.console, lab=holder.lab, node=holder.node, mode=holder.mode,
            view_only=grant.view_only, holders=tuple(other.name for other in others),
        )  # fmt: skip
        return about, opened

    def close(self, opened: Opened) -> None:
        """Forget a console that has ended."""
        with self._lock:
            self._open.pop(opened.viewer.console, None)
        opened.close()
        self._tell_people(opened)

    def cut(self, concerns: Callable[[Grant], bool]) -> int:
        """End the tickets and consoles that the right has gone for; return how many consoles."""
        self._tickets.revoke(concerns)
        with self._lock:
            found = [opened for opened in self._open.values() if concerns(opened.viewer.grant)]
        for opened in found:
            opened.end(Ending.RIGHTS)
        return len(found)

    def viewers(self, lab: str = "") -> tuple[Viewer, ...]:
        """Return who has a console open, of one lab or of all."""
        with self._lock:
            found = [opened.viewer for opened in self._open.values() if opened.ending is None]
        return tuple(viewer for viewer in found if lab in {"", viewer.grant.holder.lab})

    def _enter(self, grant: Grant) -> Opened:
        with self._lock:
            own = sum(one.viewer.grant.holder.account == grant.holder.account for one in self._open.values())
            if own >= MOST_OF_ONE or len(self._open) >= MOST:
                raise NotDone(Refusal.TOO_MANY, _("too many consoles are open; close one first"))
            opened = Opened(Viewer(next(self._numbers), grant))
            self._open[opened.viewer.console] = opened
        return opened

    def _open_screen(self, opened: Opened) -> None:
        grant = opened.viewer.grant
        screen = self._doors.open_graphics(grant.holder.lab, grant.holder.node)
        if grant.view_only:
            watched = WatchedScreen(screen, lambda by_machine: opened.end(Ending.ENDED if by_machine else Ending.LEFT))
            opened.descriptor = watched.far
            self._lead(opened, watched.leave)
            watched.start()
            return
        # The web process talks to QEMU itself; the copy kept here can end that, whoever holds the others.
        kept = screen.dup()
        opened.descriptor = screen

        def leave() -> None:
            with suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)
            kept.close()

        self._lead(opened, leave)

    def _open_serial(self, opened: Opened) -> None:
        """Join those at the serial console, or be the first there."""
        grant = opened.viewer.grant
        lab, node = grant.holder.lab, grant.holder.node
        with self._turn(lab, node):
            if self._join(opened):
                return
            try:
                stream = self._doors.open_serial(lab, node, force=grant.take_over)
            except Busy as exc:
                raise NotDone(Refusal.NOT_NOW, exc.message) from exc
            self._found(opened, lambda ended: Terminal(stream, ended, self._patience), lambda _columns, _rows: None)

    def _open_shell(self, opened: Opened) -> None:
        """Open a shell; somebody who only looks joins the newest that is open."""
        grant = opened.viewer.grant
        lab, node = grant.holder.lab, grant.holder.node
        with self._turn(lab, node):
            if grant.view_only:
                if not self._join(opened):
                    text = _('nobody has an SSH terminal open on "{node}"')
                    raise NotDone(Refusal.NOT_NOW, text.format(node=node))
                return
        shell: Shell = self._doors.open_shell(lab, node)
        self._found(opened, lambda ended: Terminal(shell, ended, self._patience), shell.resize)

    def _turn(self, lab: str, node: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault((lab, node), threading.Lock())

    def _join(self, opened: Opened) -> bool:
        """Let somebody look through a terminal that is open; return whether there is one."""
        holder = opened.viewer.grant.holder
        with self._lock:
            seats = list(self._seats.get((holder.lab, holder.node, holder.mode), ()))
        for seat in reversed(seats):
            watcher = self._watcher(opened)
            if seat.terminal.join(watcher):
                seat.opened.append(opened)
                self._lead(opened, lambda seat=seat, watcher=watcher: seat.terminal.leave(watcher))  # type: ignore[misc]
                return True
            watcher.far.close()
            watcher.close()
            seat.terminal.wait_closed(CLOSED_WITHIN)  # libvirt gives the console to nobody before
        return False

    def _found(
        self, opened: Opened, make: Callable[[Callable[[bool], None]], Terminal], resize: Callable[[int, int], None]
    ) -> None:
        """Begin a terminal with its first watcher."""
        holder = opened.viewer.grant.holder
        key = (holder.lab, holder.node, holder.mode)
        seat = Seat(make(lambda by_machine: self._dissolve(seat, key, by_machine)), [opened], resize)
        watcher = self._watcher(opened)
        seat.terminal.join(watcher)
        with self._lock:
            self._seats.setdefault(key, []).append(seat)
        if not opened.viewer.grant.view_only:
            opened.resize = resize
        self._lead(opened, lambda: seat.terminal.leave(watcher))
        seat.terminal.start()

    def _watcher(self, opened: Opened) -> Watcher:
        def gone(slow: bool) -> None:
            opened.end(Ending.SLOW if slow else Ending.LEFT)

        watcher = Watcher(view_only=opened.viewer.grant.view_only, gone=gone)
        opened.descriptor = watcher.far
        return watcher

    def _lead(self, opened: Opened, leave: Callable[[], None]) -> None:
        """Give a console its way out; one that was cut in the meantime takes it at once."""
        opened.leave = leave
        if opened.ending is not None:
            leave()

    def _dissolve(self, seat: Seat, key: tuple[str, str, ConsoleMode], by_machine: bool) -> None:
        """Tell all at a terminal why it has ended."""
        with self._lock:
            self._seats[key] = [other for other in self._seats.get(key, ()) if other is not seat]
            if not self._seats[key]:
                del self._seats[key]
        lab, node, mode = key
        ending = Ending.ENDED if by_machine else Ending.LEFT
        if by_machine and mode is ConsoleMode.TEXT:
            ending = Ending.TAKEN_OVER if self._doors.is_running(lab, node) else Ending.STOPPED
        for opened in seat.opened:
            opened.end(ending)

    def _tell_people(self, about: Opened) -> tuple[Grant, ...]:
        """Tell all at a machine who else is there; return who else is where `about` is."""
        holder = about.viewer.grant.holder
        with self._lock:
            here = [
                one for one in self._open.values()
                if (one.viewer.grant.holder.lab, one.viewer.grant.holder.node) == (holder.lab, holder.node)
            ]  # fmt: skip
            for one in here:
                # Somebody with the screen and a terminal open side by side is no company to themselves.
                session = one.viewer.grant.holder.session
                grants = (other.viewer.grant for other in here)
                one.people = tuple(grant for grant in grants if grant.holder.session != session)
        for one in here:
            one.ring()
        return about.people
