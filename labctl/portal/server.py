"""The web process: serves the pages on the socket that it was given, until it is told to stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState

from labctl.portal import consoles
from labctl.portal.app import create_app
from labctl.portal.failures import too_slow
from labctl.portal.guard import Guard, Refusals
from labctl.portal.settings import read_settings
from labctl.worker.client import Client

FIRST_PASSED = 3  # sd_listen_fds(3): the first socket that systemd passes
LEAVE = 3  # seconds that requests under way have when the process is told to stop
CONNECTIONS = 2000  # of all browsers; those beyond get 503
HEADERS = 16 << 10  # bytes
ASKED_WITHIN = 20.0  # seconds for the head of a request
# Who reads it, and in which language, is not known yet.
TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    + "La demande n'est pas arrivée à temps. The request did not arrive in time.\n".encode()
)


class Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to us: told to stop, it has done its work, and says so with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Requests(H11Protocol):
    """Uvicorn's HTTP, which waits for ever for the rest of a request's head, a websocket's among them; this does not.

    `refusals` notes each that said something and did not end it. Browsers open connections that they do not need
    yet: those that say nothing are closed without a word.
    """

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None, *, patience: float, refusals: Refusals,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, app_state, _loop)
        self.patience = patience
        self.refusals = refusals
        self.timer: asyncio.TimerHandle | None = None
        self.heard = False  # something of a request whose head is not whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.timer = self.loop.call_later(self.patience, self.give_up)

    def data_received(self, data: bytes) -> None:
        """Take bytes; wait for the rest of a head, and not beyond it."""
        super().data_received(data)
        self.heard = self.conn.their_state is h11.IDLE
        if not self.heard:
            self.stop_waiting()
        elif self.timer is None:
            self.timer = self.loop.call_later(self.patience, self.give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.stop_waiting()
        super().connection_lost(exc)

    def stop_waiting(self) -> None:
        """Wait for nothing."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def give_up(self) -> None:
        """Part from somebody who did not say what they want."""
        self.timer = None
        if self.transport.is_closing():
            return
        if self.heard:
            self.refusals.note({"client": self.client}, too_slow())
            self.transport.write(TOO_LATE)
        self.transport.close()


class Websocket(WebSocketsSansIOProtocol):
    """Uvicorn's websocket, which may be told to end while its page closes it: uvicorn 0.54 raises then."""

    def shutdown(self) -> None:
        """End, as the process does."""
        try:
            super().shutdown()
        except InvalidState:  # RFC 6455, 7.1.2: the closing handshake has begun already
            self.transport.close()


def given_socket(environment: Mapping[str, str]) -> socket.socket:
    """Return the listening socket that the process was started with, by `labctl portal` or by systemd."""
    # A parent's LISTEN_FDS may be left over: LISTEN_PID says whom they are for.
    activated = environment.get("LISTEN_FDS") and environment.get("LISTEN_PID") == str(os.getpid())
    passed = environment.get("LABCTL_PORTAL_FD") or (str(FIRST_PASSED) if activated else "")
    if not passed.isdecimal():
        raise SystemExit("LABCTL_PORTAL_FD is not set: start the portal with `labctl portal`")
    return socket.socket(fileno=int(passed))


def make_config(app: Guard, environment: Mapping[str, str], patience: float = ASKED_WITHIN) -> uvicorn.Config:
    """Return how to serve: no header of a proxy is believed, nothing is written about who asked for what.

    `patience` is for how many seconds the head of a request is waited for.
    """
    requests = cast("type[asyncio.Protocol]", partial(Requests, patience=patience, refusals=app.refusals))
    return uvicorn.Config(
        app, http=requests, ws=Websocket, lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False,
        ssl_certfile=environment.get("LABCTL_PORTAL_CERT") or None,
        ssl_keyfile=environment.get("LABCTL_PORTAL_KEY") or None,
        timeout_keep_alive=30, timeout_graceful_shutdown=LEAVE, limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADERS, ws_max_size=64 << 10, ws_per_message_deflate=False,
        ws_ping_interval=None,  # pages are asked by the relay, which knows whose console it is
    )  # fmt: skip


async def serve(environment: Mapping[str, str], listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    worker = Client(Path(environment["LABCTL_PORTAL_WORKER"]))
    app = create_app(worker, read_settings(environment), consoles.routes())
    server = Server(make_config(app, environment))

    def stop() -> None:
        app.stopping.set()  # streams of events would else hold the process
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=[listener])


def main() -> None:
    """Serve."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    asyncio.run(serve(os.environ, given_socket(os.environ)))


if __name__ == "__main__":
    main()
