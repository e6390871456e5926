"""Machines for consoles: a real shell in a real pseudo-terminal, and a small server that speaks VNC."""

import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from contextlib import suppress

from labctl.errors import Busy, HostNotReady, LabctlError

WIDTH, HEIGHT = 64, 48
KEY, POINTER, EXTENDED = 4, 5, 255
SIZES = {0: 20, 3: 10, 4: 8, 5: 6, 150: 10, 250: 4}


class PtyStream:
    """The terminal of a machine that is a program of this host."""

    def __init__(self, argv: list[str]) -> None:
        self._near, far = pty.openpty()
        self.process = subprocess.Popen(
            argv, stdin=far, stdout=far, stderr=far, start_new_session=True, env={**os.environ, "PS1": "# "}
        )
        os.close(far)
        self.sizes: list[tuple[int, int]] = []
        self.accepting = True
        self.libvirt = True  # False where the end of it is that of libvirt
        self.closed = threading.Event()

    def fileno(self) -> int:
        return self._near

    def read(self, size: int) -> bytes:
        try:
            return os.read(self._near, size)
        except OSError as exc:  # the other side of the pseudo-terminal is gone
            if not self.libvirt:
                raise HostNotReady("libvirt went away") from exc
            return b""

    def takes_input(self) -> bool:
        return self.accepting

    def write(self, data: bytes) -> None:
        try:
            os.write(self._near, data)
        except OSError as exc:
            raise LabctlError("closed") from exc

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def stop(self) -> None:
        """Switch the machine off."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        os.close(self._near)
        self.stop()
        self.closed.set()


class Screen:
    """One connection of a VNC server without a password: notes what it is told, and answers as QEMU does."""

    def __init__(self) -> None:
        self.far, self._near = socket.socketpair()
        self.shared: bool | None = None
        self.messages: list[bytes] = []
        self.heard = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    def wait(self, wanted: Callable[[list[bytes]], bool]) -> bool:
        """Wait until what was heard is as wanted."""
        with self.heard:
            return self.heard.wait_for(lambda: wanted(self.messages), 10)

    def stop(self) -> None:
        self._near.shutdown(socket.SHUT_RDWR)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._near.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def _serve(self) -> None:
        with suppress(EOFError, OSError), self._near:
            self._near.sendall(b"RFB 003.008\n")
            self._take(12)
            self._near.sendall(b"\1\1")
            self._take(1)
            self._near.sendall(bytes(4))
            self.shared = self._take(1) == b"\1"
            name = b"labctl"
            pixel = struct.pack(">BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
            self._near.sendall(struct.pack(">HH", WIDTH, HEIGHT) + pixel + struct.pack(">I", len(name)) + name)
            while True:
                self._answer(self._message())

    def _message(self) -> bytes:
        head = self._take(1)
        kind = head[0]
        if kind == 2:
            head += self._take(3)
            return head + self._take(4 * int.from_bytes(head[2:4], "big"))
        if kind == 6:
            head += self._take(7)
            return head + self._take(int.from_bytes(head[4:8], "big"))
        if kind == 255:
            return head + self._take(11)
        return head + self._take(SIZES[kind] - 1)

    def _answer(self, message: bytes) -> None:
        """Draw one pixel for a key, everything for a request that is not incremental."""
        with self.heard:
            self.messages.append(message)
            self.heard.notify_all()
        if message[0] in {KEY, EXTENDED}:
            self._near.sendall(struct.pack(">BxHHHHHi", 0, 1, 0, 0, 1, 1, 0) + b"\1\2\3\0")
        elif message[0] == 3 and not message[1]:
            self._near.sendall(struct.pack(">BxHHHHHi", 0, 1, 0, 0, WIDTH, HEIGHT, 0) + bytes(WIDTH * HEIGHT * 4))


class Machines:
    """The doors to machines of this host, by lab and node; `held` says that somebody has the serial console."""

    def __init__(self) -> None:
        self.streams: list[PtyStream] = []
        self.shells: list[PtyStream] = []
        self.screens: list[Screen] = []
        self.held = False
        self.running = True
        self.reachable = True
        self.argv = ["sh", "-i"]

    def open_graphics(self, lab: str, node: str) -> socket.socket:  # noqa: ARG002
        if not self.running:
            raise LabctlError("switched off")
        self.screens.append(Screen())
        return self.screens[-1].far

    def open_serial(self, lab: str, node: str, *, force: bool) -> PtyStream:  # noqa: ARG002
        if any(not stream.closed.is_set() for stream in self.streams):
            raise AssertionError("libvirt gives a serial console to one stream at a time")
        if not self.reachable:
            raise HostNotReady("libvirt went away")
        if self.held and not force:
            raise Busy("somebody else has the console open")
        self.held = False
        self.streams.append(PtyStream(self.argv))
        return self.streams[-1]

    def open_shell(self, lab: str, node: str) -> PtyStream:  # noqa: ARG002
        self.shells.append(PtyStream(self.argv))
        return self.shells[-1]

    def is_running(self, lab: str, node: str) -> bool:  # noqa: ARG002
        if not self.reachable:
            raise HostNotReady("libvirt went away")
        return self.running

    def go_off(self, after: float = 0.5) -> None:
        """Switch a machine off as libvirt does: its consoles end a moment before it is known to be off."""
        for stop in (*(one.stop for one in self.streams), *(one.stop for one in self.screens)):
            with suppress(OSError):  # closed long ago
                stop()
        threading.Timer(after, lambda: setattr(self, "running", False)).start()
