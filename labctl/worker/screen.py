"""A machine's screen to somebody who may only look: what they send passes a filter, what they see does not."""

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from labctl.worker.rfb import ClientFilter, Malformed

CHUNK = 64 << 10  # bytes
MOST_ASKED = 64 << 10  # bytes of requests that QEMU has not taken yet


class WatchedScreen:
    """Joins a screen and the side of somebody who looks at it, in a thread, until either ends.

    Nothing is kept but one chunk each way: a slow reader slows QEMU's picture down, for themselves alone.
    """

    def __init__(self, screen: socket.socket, ended: Callable[[bool], None]) -> None:
        self.far, self._near = socket.socketpair()
        self._screen = screen
        self._ended = ended
        self._filter = ClientFilter(view_only=True)
        self._thread = threading.Thread(target=self._join, name="watched-screen", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def leave(self) -> None:
        """End it, from any thread."""
        for side in (self._near, self._screen):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _join(self) -> None:
        by_machine = False
        try:
            by_machine = self._carry()
        except (OSError, Malformed):
            pass
        finally:
            self._ended(by_machine)
            self._near.close()
            self._screen.close()

    def _carry(self) -> bool:
        """Carry bytes until one side ends; return whether it was the machine's."""
        near, screen = self._near, self._screen
        near.setblocking(False)
        screen.setblocking(False)
        seen, asked = b"", b""
        while True:
            reading = [*([screen] if not seen else []), *([near] if len(asked) < MOST_ASKED else [])]
            writing = [*([near] if seen else []), *([screen] if asked else [])]
            readable, writable, _broken = select.select(reading, writing, [])
            if screen in readable:
                seen = screen.recv(CHUNK)
                if not seen:
                    return True
            if near in readable:
                sent = near.recv(CHUNK)
                if not sent:
                    return False
                asked += self._filter.feed(sent)
            if near in writable:
                seen = seen[near.send(seen) :]
            if screen in writable:
                asked = asked[screen.send(asked) :]
