"""A libvirt URI to a bounded pool of connections that survive a restart of the daemon."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import TypeVar

import libvirt

from labctl.hypervisor.binding import Connection
from labctl.hypervisor.failure import Lost, explain, explain_connection, explain_loss, explain_silence, is_lost

T = TypeVar("T")

KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3  # a daemon that hangs is given up after 20 s
# Opening has no keepalive yet: a stopped daemon would hold us for ever. One that has just started examines QEMU
# first, which took 30 s on a busy host.
OPEN_SECONDS = 60.0

_loop_lock = threading.Lock()
_loop: list[threading.Thread] = []

# Every failure reaches people through our errors; the binding would print each of them on stderr as well.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


def start_event_loop() -> None:
    """Start libvirt's event loop, once per process; it must run before the first connection is opened."""
    with _loop_lock:
        if not _loop:
            libvirt.virEventRegisterDefaultImpl()
            _loop.append(threading.Thread(target=_run_events, name="libvirt-events", daemon=True))
            _loop[0].start()


def _run_events() -> None:
    while True:
        with suppress(libvirt.libvirtError):  # one bad turn must not end events for the whole process
            libvirt.virEventRunDefaultImpl()


def is_alive(connection: Connection) -> bool:
    """Tell whether the connection still leads to its daemon, as far as known here; asks nobody."""
    try:
        return bool(connection.isAlive() == 1)
    except libvirt.libvirtError:
        return False


def close_quietly(connection: Connection) -> None:
    """Close a connection that may be dead already."""
    with suppress(libvirt.libvirtError):
        connection.close()


def open_connection(uri: str, seconds: float = OPEN_SECONDS) -> Connection:
    """Open one connection with keepalive.

    Raises Lost where no daemon answers (within `seconds`), HostNotReady where it forbids us.
    """
    start_event_loop()
    box: Future[Connection] = Future()
    threading.Thread(target=_open_into, args=(uri, box), name="libvirt-open", daemon=True).start()
    try:
        connection = box.result(timeout=seconds)
    except TimeoutError as exc:
        if not box.cancel():  # it came in the last moment
            return box.result()
        raise explain_silence(uri, seconds) from exc
    except libvirt.libvirtError as exc:
        raise explain_connection(exc, uri) from exc
    with suppress(libvirt.libvirtError):  # in-process drivers have no keepalive
        connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
    return connection


def _open_into(uri: str, box: "Future[Connection]") -> None:
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as exc:
        with suppress(InvalidStateError):
            box.set_exception(exc)
        return
    try:
        box.set_result(connection)
    except InvalidStateError:  # nobody waits any more
        close_quietly(connection)


class Pool:
    """At most `size` connections, each borrowed by one thread for one operation.

    Operations must look up their handles themselves and may be run twice: when the daemon goes away
    under one, it is tried again on a new connection, with back-off, for `patience` seconds.
    """

    def __init__(self, uri: str, size: int, patience: float) -> None:
        self.uri = uri
        self._patience = patience
        self._places = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._served = False  # a daemon that never answered is told at once, one that went away is waited for

    def close(self) -> None:
        """Close the idle connections; the next use opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            close_quietly(connection)

    def use(self, act: Callable[[Connection], T], failing: str) -> T:
        """Run `act` on a borrowed connection; `failing` is the sentence for a refusal by libvirt."""
        return self.patiently(lambda: self._use_once(act, failing))

    def patiently(self, act: Callable[[], T]) -> T:
        """Run `act`, and again, with back-off, as long as it raises Lost and the patience, from now on, lasts."""
        until = time.monotonic() + self._patience
        try:
            return act()  # nearly always: the machinery of a second time costs more than a request
        except Lost:
            if not self._served or time.monotonic() >= until:
                raise
        # Here, because few runs ever come here, and `labctl status` starts sooner without it.
        from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

        for attempt in Retrying(
            retry=retry_if_exception_type(Lost),
            wait=wait_exponential(multiplier=0.1, max=2),
            stop=stop_after_delay(until - time.monotonic()),
            reraise=True,
        ):
            with attempt:
                return act()
        raise AssertionError  # Retrying either returns or raises

    def _use_once(self, act: Callable[[Connection], T], failing: str) -> T:
        with self._borrow() as connection:
            try:
                return act(connection)
            except libvirt.libvirtError as exc:
                if is_lost(exc, is_alive(connection)):
                    raise explain_loss(exc, self.uri) from exc
                raise explain(exc, failing) from exc

    @contextmanager
    def _borrow(self) -> Iterator[Connection]:
        with self._places:
            connection = self._take() or self.open()
            try:
                yield connection
            except Lost:
                close_quietly(connection)
                raise
            except BaseException:
                self._give_back(connection)
                raise
            self._give_back(connection)

    def open(self) -> Connection:
        """Open a connection outside the pool, for whoever keeps it long (events, a console)."""
        connection = open_connection(self.uri)
        self._served = True
        return connection

    def _take(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if is_alive(connection):
                return connection
            close_quietly(connection)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            self._idle.append(connection)
