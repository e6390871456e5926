"""The web process: serves the pages on the socket that it was given, until it is told to stop."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from labctl.portal import consoles
from labctl.portal.app import create_app
from labctl.portal.guard import Guard
from labctl.portal.settings import read_settings
from labctl.worker.client import Client

FIRST_PASSED = 3  # sd_listen_fds(3): the first socket that systemd passes
LEAVE = 3  # seconds that requests under way have when the process is told to stop
CONNECTIONS = 2000  # of all browsers; those beyond get 503
HEADERS = 16 << 10  # bytes


class Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to us: told to stop, it has done its work, and says so with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


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


def make_config(app: Guard, environment: Mapping[str, str]) -> uvicorn.Config:
    """Return how to serve: no header of a proxy is believed, nothing is written about who asked for what."""
    return uvicorn.Config(
        app, http="h11", ws=Websocket, lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False,
        ssl_certfile=environment.get("LABCTL_PORTAL_CERT") or None,
        ssl_keyfile=environment.get("LABCTL_PORTAL_KEY") or None,
        timeout_keep_alive=30, timeout_graceful_shutdown=LEAVE, limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADERS, ws_max_size=64 << 10, ws_ping_interval=20, ws_ping_timeout=20,
        ws_per_message_deflate=False,
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
