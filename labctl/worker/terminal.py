"""One stream of a terminal to all who look at it: the machine speaks to each, what mere watchers type is dropped.

libvirt gives a serial console to one stream at a time (T9): whoever else looks, looks through the same one.
"""

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from labctl.errors import HostNotReady, LabctlError

CHUNK = 16 << 10  # bytes taken from the machine at once
TYPED = 4 << 10  # bytes of keystrokes taken at once: a socket that takes any takes as many
HISTORY = 64 << 10  # bytes shown to who comes later
MOST_PENDING = 256 << 10  # bytes kept for one who reads slowly; the machine waits then …
PATIENCE = 5.0  # … for so many seconds, after which they are let go: they hold the others up
LOOK = 0.05  # seconds between two looks at a machine that takes no keystrokes


class By(Enum):
    """Who ended a terminal: those who looked at it have left, the machine, or libvirt, which is away."""

    WATCHERS = auto()
    MACHINE = auto()
    HOST = auto()


class Stream(Protocol):
    """The terminal of a machine: `labctl.hypervisor.console.Console`, `labctl.ssh.Shell`."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the machine wrote something, or at the end."""
        ...

    def read(self, size: int) -> bytes:
        """Return what the machine wrote; b"" at the end. Raises HostNotReady where that is not the machine's."""
        ...

    def takes_input(self) -> bool:
        """Return whether keystrokes can be written without waiting."""
        ...

    def write(self, data: bytes) -> None:
        """Send keystrokes. Raises LabctlError once the stream is closed."""
        ...

    def close(self) -> None:
        """Give the stream back."""
        ...


class Watcher:
    """One who looks at a terminal. `gone` is called once, with True where they read too slowly."""

    def __init__(self, *, view_only: bool, gone: Callable[[bool], None]) -> None:
        self.far, self._near = socket.socketpair()
        self._near.setblocking(False)
        self.view_only = view_only
        self.gone = gone
        self.left = False
        self.pending = bytearray()
        self.stuck_since = 0.0

    def fileno(self) -> int:
        """Return the descriptor of this side."""
        return self._near.fileno()

    def show(self, data: bytes) -> None:
        """Send what the machine wrote, now or when there is room. Raises OSError where nobody reads any more."""
        self.pending += data
        self.flush()

    def flush(self) -> None:
        """Send what there is room for."""
        while self.pending:
            try:
                sent = self._near.send(self.pending)
            except BlockingIOError:
                self.stuck_since = self.stuck_since or time.monotonic()
                return
            del self.pending[:sent]
            self.stuck_since = 0.0

    def typed(self) -> bytes:
        """Return keystrokes; b"" at the end."""
        try:
            return self._near.recv(TYPED)
        except OSError:
            return b""

    def leave(self) -> None:
        """Tell both sides that it is over; the thread that reads this side closes it."""
        self.left = True
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this side; the other sees the end."""
        with suppress(OSError):
            self._near.shutdown(socket.SHUT_RDWR)  # whoever has the other side by now
        self._near.close()


class Terminal:
    """Shares one stream until it ends or the last one leaves, in a thread of its own.

    `ended` is called at the end, with who ended it. `patience` is for how many seconds one who
    does not read may hold the others up.
    """

    def __init__(self, stream: Stream, ended: Callable[[By], None], patience: float = PATIENCE) -> None:
        self._stream = stream
        self._ended = ended
        self._patience = patience
        self._lock = threading.Lock()
        self._watchers: list[Watcher] = []
        self._history = bytearray()
        self._open = True
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._thread = threading.Thread(target=self._share, name="terminal", daemon=True)

    def start(self) -> None:
        """Begin; somebody must have joined."""
        self._thread.start()

    def join(self, watcher: Watcher) -> bool:
        """Let somebody look, who first sees what was there; return False where the terminal has ended."""
        with self._lock:
            if not self._open:
                return False
            self._watchers.append(watcher)
            with suppress(OSError):
                watcher.show(self._recent())
        self._call()
        return True

    def leave(self, watcher: Watcher) -> None:
        """Let somebody go."""
        watcher.leave()
        self._call()

    def wait_closed(self, deadline: float) -> None:
        """Wait until the stream was given back, `deadline` seconds at most."""
        self._thread.join(deadline)

    def _call(self) -> None:
        with suppress(OSError):
            self._wake.send(b"!")

    def _recent(self) -> bytes:
        """Return what was shown last, from the beginning of a line where it is not all."""
        history = bytes(self._history)
        return history if len(history) < HISTORY else history[history.find(b"\n") + 1 :]

    def _share(self) -> None:
        by = By.WATCHERS
        try:
            while self._open and by is By.WATCHERS:
                by = By.MACHINE if self._turn() else By.WATCHERS
        except HostNotReady:
            by = By.HOST
        except LabctlError:
            by = By.MACHINE
        finally:
            with self._lock:
                self._open = False
                watchers, self._watchers = self._watchers, []
            self._stream.close()
            self._ended(by)
            for watcher in watchers:
                watcher.close()
            self._wake.close()
            self._woken.close()

    def _turn(self) -> bool:
        """Wait for something, do it, and return whether the machine has ended the stream."""
        with self._lock:
            self._drop_lost()
            if not self._watchers:
                self._open = False
                return False
            watchers = list(self._watchers)
        takes = self._stream.takes_input()
        full = any(len(watcher.pending) >= MOST_PENDING for watcher in watchers)
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if not full:
                selector.register(self._stream, selectors.EVENT_READ)
            for watcher in watchers:
                wanted = selectors.EVENT_WRITE if watcher.pending else 0
                wanted |= selectors.EVENT_READ if takes or watcher.view_only else 0
                if wanted:
                    selector.register(watcher, wanted)
            ready = {key.fileobj: events for key, events in selector.select(None if takes and not full else LOOK)}
        if self._woken in ready:
            self._woken.recv(64)
        for watcher in watchers:
            if watcher in ready:
                self._serve(watcher, ready[watcher])
        if self._stream not in ready:
            return False
        data = self._stream.read(CHUNK)
        with self._lock:
            self._history += data
            del self._history[:-HISTORY]
            for watcher in self._watchers:
                with suppress(OSError):  # the next look at them finds it
                    watcher.show(data)
        return not data

    def _serve(self, watcher: Watcher, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            with suppress(OSError):
                watcher.flush()
        if events & selectors.EVENT_READ:
            typed = watcher.typed()
            if not typed:
                watcher.close()
            elif not watcher.view_only:
                self._stream.write(typed)

    def _drop_lost(self) -> None:
        """Forget who has left, and let go who has not read for too long."""
        now = time.monotonic()
        for watcher in list(self._watchers):
            slow = bool(watcher.stuck_since) and now - watcher.stuck_since > self._patience
            if slow or watcher.left:
                watcher.close()
            if watcher.fileno() < 0:
                self._watchers.remove(watcher)
                watcher.gone(slow)
