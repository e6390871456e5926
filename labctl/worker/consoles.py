"""A ticket to an open console, and to its end: who looks at which machine, cut when a right ends."""

import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from labctl.errors import Busy, HostNotReady, LabctlError
from labctl.language import _
from labctl.worker.answers import ConsoleOpened
from labctl.worker.console_doors import Doors, Shell
from labctl.worker.opened import Ending, Opened, Viewer
from labctl.worker.screen import WatchedScreen
from labctl.worker.terminal import PATIENCE, By, Terminal, Watcher
from labctl.worker.tickets import Grant, Holder, Tickets
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone

MOST_OF_ONE = 12  # open consoles of one account
MOST = 400  # of all; each costs a thread and some descriptors
CLOSED_WITHIN = 6.0  # seconds in which libvirt takes a console back
OFF_WITHIN, LOOK = 2.0, 0.1  # seconds in which libvirt says that a machine is off whose console has ended


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
        lab, node = grant.holder.lab, grant.holder.node
        screen = self._doors.open_graphics(lab, node)
        opened.why = lambda: self._why(lab, node, Ending.ENDED)
        if grant.view_only:
            watched = WatchedScreen(screen, lambda by_machine: opened.end(opened.why() if by_machine else Ending.LEFT))
            opened.descriptor = watched.far
            self._lead(opened, watched.leave)
            watched.start()
            return
        # The web process talks to QEMU itself; the copy kept here can end that, whoever holds the others.
        kept = screen.dup()
        opened.descriptor, opened.screen = screen, kept

        def leave() -> None:
            with suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)

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
        self, opened: Opened, make: Callable[[Callable[[By], None]], Terminal], resize: Callable[[int, int], None]
    ) -> None:
        """Begin a terminal with its first watcher."""
        holder = opened.viewer.grant.holder
        key = (holder.lab, holder.node, holder.mode)
        seat = Seat(make(lambda by: self._dissolve(seat, key, by)), [opened], resize)
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

    def _dissolve(self, seat: Seat, key: tuple[str, str, ConsoleMode], by: By) -> None:
        """Tell all at a terminal why it has ended."""
        with self._lock:
            self._seats[key] = [other for other in self._seats.get(key, ()) if other is not seat]
            if not self._seats[key]:
                del self._seats[key]
        lab, node, mode = key
        match by:
            case By.WATCHERS:
                ending = Ending.LEFT
            case By.HOST:
                ending = Ending.AWAY
            case By.MACHINE:
                ending = self._why(lab, node, Ending.TAKEN_OVER if mode is ConsoleMode.TEXT else Ending.ENDED)
        for opened in seat.opened:
            opened.end(ending)

    def _why(self, lab: str, node: str, otherwise: Ending) -> Ending:
        """Return why a machine has ended a console: it is off, libvirt cannot be asked, or what it is otherwise.

        A machine that goes off closes its consoles a moment before libvirt says so.
        """
        until = time.monotonic() + OFF_WITHIN
        try:
            while self._doors.is_running(lab, node):
                if time.monotonic() > until:
                    return otherwise
                time.sleep(LOOK)
        except HostNotReady:
            return Ending.AWAY
        except LabctlError:  # there is no such lab any more
            return Ending.STOPPED
        return Ending.STOPPED

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
