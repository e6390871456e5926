"""A machine's serial console to a socket that a terminal can read and write."""

import select
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import libvirt

from labctl.errors import Busy, LabctlError
from labctl.hypervisor.binding import Connection, Opaque, Stream
from labctl.hypervisor.domains import find_own
from labctl.hypervisor.failure import Lost, explain, explain_loss, is_lost
from labctl.hypervisor.ownership import check_domain_owner
from labctl.hypervisor.pool import Pool, close_quietly, is_alive
from labctl.language import _

CHUNK = 16 * 1024
LATER = -2  # virStreamRecv and virStreamSend: it would have to wait
LOOK = 1.0  # seconds: how often a silent console asks whether libvirt is still there
ENDS = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP


class Console:
    """A serial console, both ways, until the machine stops, somebody takes it over, or `close`.

    `fileno` can be given to select or poll; `read` returns b"" at the end, and raises Lost where libvirt is the cause.
    """

    def __init__(self, connection: Connection, stream: Stream, uri: str) -> None:
        self._connection = connection
        self._stream = stream
        self._uri = uri
        self._loss: Lost | None = None
        self._here, self._there = socket.socketpair()
        # A libvirt stream has no descriptor. One thread each way serves it, so a slow terminal slows the guest's output
        # down instead of filling our memory. The stream itself must not block: with one thread in recv and one in send,
        # libvirt 9.0's client was seen to wake neither for what had come, until the next key.
        self._readable = threading.Event()
        stream.eventAddCallback(ENDS, self._wake, None)
        self._pumps = tuple(
            threading.Thread(target=pump, name="libvirt-console", daemon=True) for pump in (self._receive, self._send)
        )
        for pump in self._pumps:
            pump.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the guest wrote something, or at the end."""
        return self._here.fileno()

    def read(self, size: int = CHUNK) -> bytes:
        """Return up to `size` bytes that the guest wrote, waiting for the first; b"" at the end.

        Raises Lost where the end is libvirt's: the machine may run on.
        """
        try:
            data = self._here.recv(size)
        except ConnectionError:
            data = b""
        if not data and self._loss:
            raise self._loss
        return data

    def takes_input(self) -> bool:
        """Return whether some keystrokes can be written without waiting; a paused machine takes none after a while."""
        try:
            return bool(select.select([], [self._here], [], 0)[1])
        except (OSError, ValueError):
            return True  # it is closed: writing says so

    def write(self, data: bytes) -> None:
        """Send keystrokes to the guest. Raises LabctlError once the console is closed."""
        try:
            self._here.sendall(data)
        except OSError as exc:
            raise self._loss or LabctlError(_("the console is closed")) from exc

    def close(self) -> None:
        """Give the console back."""
        with suppress(OSError):
            self._here.shutdown(socket.SHUT_RDWR)  # wakes the thread that sends
        with suppress(libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        with suppress(libvirt.libvirtError):
            self._stream.abort()
        self._readable.set()  # wakes the thread that receives
        for pump in self._pumps:
            pump.join(timeout=5)
        self._here.close()
        self._there.close()
        close_quietly(self._connection)

    def _wake(self, stream: Stream, _events: int, _opaque: Opaque) -> None:
        """Take note that something has come; libvirt would say so again and again until it is read."""
        with suppress(libvirt.libvirtError):
            stream.eventUpdateCallback(ENDS)
        self._readable.set()

    def _receive(self) -> None:
        try:
            while data := self._next():
                self._there.sendall(data)
        except libvirt.libvirtError as exc:
            if is_lost(exc, is_alive(self._connection)):
                self._loss = explain_loss(exc, self._uri)
        except OSError:  # closed on this side
            pass
        with suppress(OSError):
            self._there.shutdown(socket.SHUT_RDWR)

    def _next(self) -> bytes:
        """Return what came next, b"" at the end. Raises libvirtError where the stream is lost or was aborted."""
        while True:
            self._readable.clear()
            data = self._stream.recv(CHUNK)
            if data != LATER:
                return bytes(data)
            self._stream.eventUpdateCallback(ENDS | libvirt.VIR_STREAM_EVENT_READABLE)
            if not self._readable.wait(LOOK) and not is_alive(self._connection):
                self._connection.getLibVersion()  # raises what happened to it

    def _send(self) -> None:
        with suppress(libvirt.libvirtError, OSError):
            while data := self._there.recv(CHUNK):
                while data:
                    sent = self._stream.send(data)
                    data = data[max(sent, 0) :]
                    if sent == LATER:
                        time.sleep(0.02)


def open_console(pool: Pool, name: str, lab: str, *, force: bool) -> Console:
    """Open the console of a running machine of the lab, over a connection of its own."""
    connection = pool.open()
    try:
        return Console(connection, _open_stream(connection, name, lab, force), pool.uri)
    except libvirt.libvirtError as exc:
        lost = is_lost(exc, is_alive(connection))
        close_quietly(connection)
        if lost:
            raise explain_loss(exc, pool.uri) from exc
        raise explain(exc, _('the console of "{name}" cannot be opened').format(name=name)) from exc
    except LabctlError:
        close_quietly(connection)
        raise


def _open_stream(connection: Connection, name: str, lab: str, force: bool) -> Stream:
    domain = find_own(connection, name, lab)
    node = check_domain_owner(domain, lab).member
    if not domain.isActive():
        text = _('"{node}" is switched off: it has no console')
        raise LabctlError(text.format(node=node), hint=f"labctl up {lab}")
    stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
    try:
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else libvirt.VIR_DOMAIN_CONSOLE_SAFE)
    except libvirt.libvirtError as exc:
        # T9: for openConsole this code means a session or a lock file that is held; the text may be translated
        if exc.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED:
            text = _('somebody else has the console of "{node}" open')
            raise Busy(text.format(node=node), hint=f"labctl console {lab} {node} --force") from exc
        raise
    return stream
