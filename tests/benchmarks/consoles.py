"""Measures a console of the portal against a direct connection to the same screen, that of a real QEMU.

Between both ends of the first lie TLS, a websocket and the web process, which runs as it does for people. What both
clients do is the same: this program, with the same pictures.
"""

import json
import random
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Origin, Subprotocol

from labctl.worker.console_room import Room
from tests.lab.doubles import World, make_place
from tests.portal.serving import NODE
from tests.portal.test_server import Web, serving
from tests.worker.computer import Computer, run_computer
from tests.worker.offices import ALICE, Desk, make_labs, open_desk

STROKES, BLOCK = 240, 20  # keys pressed and let go of on each way, so many in turn
PICTURES, IN_TURN = 60, 10  # whole pictures on each way
PAUSE = 0.06  # seconds at most between two keys: QEMU draws every 30 ms, and no way may come to march in step with it
LIMIT = 60.0  # seconds for an answer; more is a fault, not a figure
LETTER, SCANCODE = 0x61, 0x10
PLACE = f"/labs/{ALICE}/machines/{NODE}/console"


class Way(ABC):
    """A way to the screen; speaks VNC (RFC 6143) as a client that wants raw pixels."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes."""

    @abstractmethod
    def take(self, size: int) -> bytes:
        """Return so many bytes of what comes."""

    def greet(self) -> tuple[int, int]:
        """Begin; return the width and height of the screen."""
        self.take(12)
        self.send(b"RFB 003.008\n")
        self.take(2)
        self.send(b"\1")
        self.take(4)
        self.send(b"\1")
        head = self.take(24)
        self.take(int.from_bytes(head[20:24], "big"))
        self.send(b"\2\0\0\2" + (0).to_bytes(4, "big") + (-258).to_bytes(4, "big", signed=True))  # raw, keys by place
        self.size = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
        return self.size

    def ask(self, *, all_of_it: bool) -> None:
        """Ask for the picture, or for what changes."""
        width, height = self.size
        self.send(bytes([3, not all_of_it]) + bytes(4) + width.to_bytes(2, "big") + height.to_bytes(2, "big"))

    def see(self) -> int:
        """Wait for a picture or a part of it; return its bytes."""
        head = self.take(4)
        if head[0] != 0:
            raise RuntimeError(f"not a picture: {head!r}")
        seen = 0
        for _part in range(int.from_bytes(head[2:], "big")):
            part = self.take(12)
            if int.from_bytes(part[8:], "big", signed=True) == 0:
                seen += len(self.take(4 * int.from_bytes(part[4:6], "big") * int.from_bytes(part[6:8], "big")))
        return seen

    def press(self, *, down: bool) -> None:
        """Press a key or let it go."""
        self.send(bytes([255, 0, 0, down]) + LETTER.to_bytes(4, "big") + SCANCODE.to_bytes(4, "big"))


class Direct(Way):
    """The socket of QEMU."""

    def __init__(self, way: socket.socket) -> None:
        self.way = way
        way.settimeout(LIMIT)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.way.sendall(data)

    def take(self, size: int) -> bytes:
        """Return so many bytes."""
        found = bytearray(size)
        rest = memoryview(found)
        while rest:
            count = self.way.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return bytes(found)


class Browsers(Way):
    """The websocket of the portal."""

    def __init__(self, way: ClientConnection) -> None:
        self.way = way
        self.kept = bytearray()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.way.send(data)

    def take(self, size: int) -> bytes:
        """Return so many bytes; answer the portal's questions whether anybody is there. Raises TimeoutError."""
        until = time.monotonic() + LIMIT
        while len(self.kept) < size:
            heard = self.way.recv(until - time.monotonic())
            if isinstance(heard, bytes):
                self.kept += heard
            elif "ping" in json.loads(heard):
                self.way.send('{"pong": 1}')
        found = bytes(self.kept[:size])
        del self.kept[:size]
        return found


def measure(folder: Path) -> dict[str, float]:
    """Return the milliseconds of a key from one end to the picture, both ways, and the MB/s of whole pictures."""
    shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, float] = {}
    try:
        for graphic in (False, True):
            own = folder / ("picture" if graphic else "key")
            (own / "home").mkdir(parents=True)
            with run_computer(own, graphic=graphic) as computer, both(own, computer) as ways:
                found |= measure_pictures(*ways) if graphic else measure_keys(*ways)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


@contextmanager
def both(folder: Path, computer: Computer) -> Iterator[tuple[Way, Way]]:
    """Give a direct way to a screen and the portal's, both greeted."""
    home, world = folder / "home", World()
    make_labs(make_place(home, world), "alice")
    with (
        open_desk(home, world, Room(computer)) as desk,
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(desk, folder, listener) as web,
        open_console(web, desk) as way,
        computer.open_graphics(ALICE, NODE) as screen,
    ):
        direct, browsers = Direct(screen), Browsers(way)
        direct.greet()
        browsers.greet()
        yield direct, browsers


def open_console(web: Web, desk: Desk) -> ClientConnection:
    """Open a console as a page does."""
    address, token = f"https://localhost:{web.port}", desk.tokens["alice"]
    row = desk.office.accounts.find_session(token)
    assert row
    with web.client() as client:
        form = {"mode": "graphics", "csrf": row.csrf}
        answer = client.post(f"{PLACE}/ticket", data=form, headers={"Origin": address})
        ticket = answer.raise_for_status().json()["ticket"]
    return connect_websocket(
        f"wss://localhost:{web.port}{PLACE}/socket?mode=graphics", ssl=web.context, origin=Origin(address),
        subprotocols=[Subprotocol("labctl.console"), Subprotocol(f"ticket.{ticket}")], compression=None,
        additional_headers={"Cookie": f"__Host-session={token}"}, max_size=None, proxy=None,
    )  # fmt: skip


def measure_keys(direct: Way, browsers: Way) -> dict[str, float]:
    """Return the milliseconds from a key to what it changes on the screen."""
    times: dict[Way, list[float]] = {direct: [], browsers: []}
    for _block in range(STROKES // BLOCK):
        for way, found in times.items():
            way.ask(all_of_it=True)  # what the other way changed
            way.see()
            for stroke in range(BLOCK):
                time.sleep(random.uniform(0, PAUSE))
                way.ask(all_of_it=False)
                begun = time.perf_counter()
                way.press(down=stroke % 2 == 0)
                way.see()
                found.append(time.perf_counter() - begun)
    ours, its = median(times[browsers]) * 1000, median(times[direct]) * 1000
    return {"key_ms": ours, "key_direct_ms": its, "key_added_ms": ours - its}


def measure_pictures(direct: Way, browsers: Way) -> dict[str, float]:
    """Return the throughput of whole pictures of 1024 × 768 points.

    Each request comes with a move of the mouse: QEMU looks at an idle screen every three seconds only.
    """
    rates: dict[Way, list[float]] = {direct: [], browsers: []}
    for _turn in range(PICTURES // IN_TURN):
        for way, found in rates.items():
            begun, seen = time.perf_counter(), 0
            for picture in range(IN_TURN):
                way.send(bytes([5, 0]) + (picture % 2).to_bytes(2, "big") + bytes(2))
                way.ask(all_of_it=True)
                seen += way.see()
            found.append(seen / (time.perf_counter() - begun) / 1e6)
    ours, its = median(rates[browsers]), median(rates[direct])
    return {"picture_mb_s": ours, "picture_direct_mb_s": its, "picture_ratio": ours / its}
