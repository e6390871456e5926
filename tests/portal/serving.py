"""The whole portal on a real port: the web process's server and a worker, in threads, over machines of this host."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx2
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Origin, Subprotocol

from labctl.portal import consoles
from labctl.portal.app import create_app
from labctl.portal.relay import Silence
from labctl.portal.server import ASKED_WITHIN, Server, make_config
from labctl.portal.settings import Settings
from labctl.worker.certificate import Certificate
from labctl.worker.client import Client, Worker
from labctl.worker.console_room import Room
from tests.lab.doubles import World, make_place
from tests.worker.machines import Machines
from tests.worker.offices import ALICE, Desk, make_labs, open_desk

NODE = "desk"
SECONDS = 60.0  # at most: on a busy host a console takes its time to open


@contextmanager
def serving(
    worker: Worker, certificate: Certificate | None = None, *, silence: Silence | None = None,
    patience: float = ASKED_WITHIN,
) -> Iterator[str]:  # fmt: skip
    """Serve the portal of a worker at the address that is given, by https where there is a certificate.

    `silence` is when a page counts as gone, `patience` for how many seconds the head of a request is waited for.
    """
    own = {}
    if certificate:
        own = {"LABCTL_PORTAL_CERT": str(certificate.chain), "LABCTL_PORTAL_KEY": str(certificate.key)}
    scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(worker, Settings(secure=bool(certificate)), consoles.routes(silence))
        server = Server(make_config(app, own, patience))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield f"{scheme}://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()


@dataclass
class Browser:
    """What a page does, without the page."""

    address: str
    token: str
    csrf: str
    notices: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cookies(self) -> dict[str, str]:
        return {"Cookie": f"session={self.token}; language=en"}

    def place(self, node: str = NODE, lab: str = ALICE) -> str:
        return f"/labs/{lab}/machines/{node}/console"

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.address + path, headers=self.cookies, timeout=SECONDS)

    def ask_ticket(self, mode: str, *, lab: str = ALICE, node: str = NODE, **more: str) -> httpx2.Response:
        form = {"mode": mode, "csrf": self.csrf, **more}
        return httpx2.post(
            f"{self.address}{self.place(node, lab)}/ticket", data=form, timeout=SECONDS,
            headers={**self.cookies, "Origin": self.address},
        )  # fmt: skip

    def ticket(self, mode: str, **more: str) -> str:
        return cast("str", self.ask_ticket(mode, **more).json()["ticket"])

    def connect(
        self, mode: str, ticket: str = "", *, look: bool = False, headers: Mapping[str, str] | None = None, **more: str
    ) -> ClientConnection:
        """Open the websocket of a console, with a new ticket if none is given."""
        ticket = ticket or self.ticket(mode, look="1" if look else "", **more)
        words = {**self.cookies, "Origin": self.address, **(headers or {})}
        return connect_websocket(
            f"{self.address.replace('http', 'ws')}{self.place()}/socket?mode={mode}{'&look=1' if look else ''}",
            subprotocols=[Subprotocol("labctl.console"), Subprotocol(f"ticket.{ticket}")], compression=None,
            origin=Origin(words.pop("Origin")), additional_headers=words, open_timeout=SECONDS, max_size=None,
            proxy=None,
        )  # fmt: skip

    def notice(self, way: ClientConnection, kind: str) -> dict[str, Any]:
        """Wait for what the portal says."""
        while True:
            heard = way.recv(SECONDS)
            if isinstance(heard, str):
                self.notices.append(json.loads(heard))
                if kind in self.notices[-1]:
                    return self.notices[-1]

    def sees(self, way: ClientConnection, wanted: bytes) -> bytes:
        """Wait for what the machine shows."""
        shown = b""
        while wanted not in shown:
            heard = way.recv(SECONDS)
            if isinstance(heard, bytes):
                shown += heard
            else:
                self.notices.append(json.loads(heard))
        return shown


@dataclass
class Portal:
    """A portal that serves, and what is behind it."""

    address: str
    desk: Desk
    machines: Machines

    def browser(self, name: str) -> Browser:
        """Return the browser of somebody who is logged in."""
        token = self.desk.tokens[name]
        row = self.desk.office.accounts.find_session(token)
        assert row
        return Browser(self.address, token, row.csrf)


@contextmanager
def open_portal(home: Path) -> Iterator[Portal]:
    """Give a portal with the labs of two students, whose machines are programs of this host."""
    world, machines = World(), Machines()
    make_labs(make_place(home, world), "alice", "bob")
    with open_desk(home, world, Room(machines)) as desk, serving(Client(desk.client.path)) as address:
        yield Portal(address, desk, machines)
