"""libvirt's events to bells that waiting threads sleep on, over a connection of its own."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import libvirt

from labctl.errors import HostNotReady
from labctl.hypervisor.binding import Connection, Domain, Opaque
from labctl.hypervisor.failure import explain_loss
from labctl.hypervisor.pool import Pool, close_quietly, is_alive

_LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "pmsuspended",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}


@dataclass(frozen=True)
class Change:
    """What happened to a domain: a stable English word such as ``started``, ``stopped``, ``agent``, ``io-error``.

    Without a domain it is about the way to libvirt: ``lost`` (it is sought), then ``reconnected`` (look at everything
    again) or ``disconnected``.
    """

    domain: str
    what: str


class EventFeed:
    """Rings the bells of a domain whenever something happens to it, or to the connection itself.

    An event says only "look again": who was woken reads the state, so that one lost or doubled event,
    or a whole restart of the daemon, makes no difference.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()  # guards the two tables below; held for moments, also by the event thread
        self._bells: defaultdict[str, list[threading.Event]] = defaultdict(list)
        self._watchers: list[Callable[[Change], None]] = []
        self._connecting = threading.Lock()
        self._connection: Connection | None = None
        self._callbacks: list[int] = []

    @contextmanager
    def listening(self, domain: str) -> Iterator[threading.Event]:
        """Yield a bell for one domain."""
        bell = threading.Event()
        with self._lock:
            self._bells[domain].append(bell)
        try:
            yield bell
        finally:
            with self._lock:
                self._bells[domain].remove(bell)
                if not self._bells[domain]:
                    del self._bells[domain]

    @contextmanager
    def watching(self, callback: Callable[[Change], None]) -> Iterator[None]:
        """Call back for every change of any domain, from the event thread: be quick and call no libvirt in it."""
        with self._lock:
            self._watchers.append(callback)
        try:
            self.connect()
            yield
        finally:
            with self._lock:
                self._watchers.remove(callback)

    def connect(self) -> None:
        """Make sure that events arrive, again after the daemon was restarted. Raises HostNotReady if it stays down."""
        with self._connecting:
            if self._connection is not None and is_alive(self._connection):
                return
            self._drop()
            self._pool.patiently(self._register)

    def close(self) -> None:
        """Stop listening."""
        with self._connecting:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        for callback in self._callbacks:
            with suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(callback)
        with suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        close_quietly(connection)

    def _register(self) -> None:
        connection = self._pool.open()
        callbacks = (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._agent),
            (libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR, self._io_error),
        )
        try:
            with suppress(libvirt.libvirtError):  # in-process drivers cannot lose their connection
                connection.registerCloseCallback(self._closed, None)
            self._callbacks = [connection.domainEventRegisterAny(None, *callback, None) for callback in callbacks]
        except libvirt.libvirtError as exc:
            close_quietly(connection)
            raise explain_loss(exc, self._pool.uri) from exc
        self._connection = connection

    # These run in the event thread, whose connection must not be called from here.

    def _lifecycle(self, _connection: Connection, domain: Domain, event: int, _detail: int, _opaque: Opaque) -> None:
        self._tell(Change(domain.name(), _LIFECYCLE.get(event, "unknown")))

    def _agent(self, _connection: Connection, domain: Domain, _state: int, _reason: int, _opaque: Opaque) -> None:
        self._tell(Change(domain.name(), "agent"))

    def _io_error(self, _connection: Connection, domain: Domain, *_details: Opaque) -> None:
        self._tell(Change(domain.name(), "io-error"))

    def _closed(self, _connection: Connection, _reason: int, _opaque: Opaque) -> None:
        with self._lock:
            bells = [bell for bells in self._bells.values() for bell in bells]
            watched = bool(self._watchers)
        for bell in bells:
            bell.set()
        self._tell(Change("", "lost"))
        if watched:  # nobody waits in a thread of theirs that could connect again
            threading.Thread(target=self._reconnect, name="libvirt-reconnect", daemon=True).start()

    def _reconnect(self) -> None:
        try:
            self.connect()
        except HostNotReady:
            self._tell(Change("", "disconnected"))
        else:
            self._tell(Change("", "reconnected"))

    def _tell(self, change: Change) -> None:
        with self._lock:
            bells, watchers = tuple(self._bells.get(change.domain, ())), tuple(self._watchers)
        for bell in bells:
            bell.set()
        for watcher in watchers:
            watcher(change)
