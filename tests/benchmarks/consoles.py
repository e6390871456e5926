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
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from labctl.worker.console_room import Room
from tests.lab.doubles import World, make_place
from tests.portal.serving import NODE
from tests.portal.test_server import Web, serving
from tests.worker.computer import Computer, run_computer
from tests.worker.offices import ALICE, Desk, make_labs, open_desk

STROKES, BLOCK = 240, 20  # keys pressed and let go of on each way, so many in turn
PICTURES, IN_TURN = 60, 10  # whole pictures on each way
PAUSE = 0.06  # seconds at most between two keys: QEMU draws every 30 ms, and no way may come to march in step with it
LIMIT = 30.0  # seconds to open a console
LONGEST = 30.0  # seconds for one picture; more is a fault, not a figure
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10  # kinds of messages of a websocket
FINAL, MASKED, SHORT = 0x80, 0x80, 125
LETTER, SCANCODE = 0x61, 0x10
PLACE = f"/labs/{ALICE}/machines/{NODE}/console"


class Way(ABC):
    """A way to the screen; speaks VNC (RFC 6143) as a client that wants raw pixels. Ends with TimeoutError."""

    def __init__(self, way: socket.socket) -> None:
        self.way = way
        self.until = time.monotonic() + LONGEST

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes."""

    @abstractmethod
    def fill(self, room: memoryview) -> None:
        """Fill a place with what comes."""

    def read(self, room: memoryview) -> None:
        """Fill a place with the next bytes of the socket. Raises EOFError."""
        while room:
            self.way.settimeout(max(0.001, self.until - time.monotonic()))
            count = self.way.recv_into(room)
            if not count:
                raise EOFError
            room = room[count:]

    def take(self, size: int) -> bytes:
        """Return so many bytes of what comes."""
        found = bytearray(size)
        self.fill(memoryview(found))
        return bytes(found)

    def greet(self) -> None:
        """Begin; note the width and height of the screen."""
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
        self.room = memoryview(bytearray(4 * self.size[0] * self.size[1]))

    def ask(self, *, all_of_it: bool) -> None:
        """Ask for the picture, or for what changes."""
        width, height = self.size
        self.send(bytes([3, not all_of_it]) + bytes(4) + width.to_bytes(2, "big") + height.to_bytes(2, "big"))

    def see(self) -> tuple[int, float]:
        """Wait for a picture or a part of it; return its bytes, and the seconds from its first byte to its last.

        An update without a point is none: by such a one QEMU agrees to keys by place, whatever was asked for. Whoever
        takes it for the answer is one picture behind; a key that is let go of before QEMU draws it then shows nothing.
        """
        self.until = time.monotonic() + LONGEST
        seen, seconds = 0, 0.0
        while not seen:
            seen, seconds = self.see_update()
        return seen, seconds

    def see_update(self) -> tuple[int, float]:
        """Wait for one update; return the bytes of its points, and the seconds from its first byte to its last."""
        head = self.take(4)
        begun = time.perf_counter()
        if head[0] != 0:
            raise RuntimeError(f"not a picture: {head!r}")
        seen = 0
        for _part in range(int.from_bytes(head[2:], "big")):
            part = self.take(12)
            if int.from_bytes(part[8:], "big", signed=True) == 0:
                size = 4 * int.from_bytes(part[4:6], "big") * int.from_bytes(part[6:8], "big")
                self.fill(self.room[:size])
                seen += size
        return seen, time.perf_counter() - begun

    def press(self, *, down: bool) -> None:
        """Press a key or let it go."""
        self.send(bytes([255, 0, 0, down]) + LETTER.to_bytes(4, "big") + SCANCODE.to_bytes(4, "big"))


class Direct(Way):
    """The socket of QEMU."""

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.way.sendall(data)

    def fill(self, room: memoryview) -> None:
        """Fill a place."""
        self.read(room)


class Browsers(Way):
    """The websocket of the portal (RFC 6455), read by hand: a library in Python would be slower than what it measures.

    The mask of what is sent is zero, which leaves it as it is.
    """

    left = 0  # bytes of a message to come

    def send(self, data: bytes, kind: int = BINARY) -> None:
        """Send a short message."""
        if len(data) > SHORT:
            raise ValueError(len(data))
        self.way.sendall(bytes([FINAL | kind, MASKED | len(data)]) + bytes(4) + data)

    def fill(self, room: memoryview) -> None:
        """Fill a place; answer the portal's questions whether anybody is there."""
        while room:
            if not self.left:
                self.left = self.next_message()
            size = min(self.left, len(room))
            self.read(room[:size])
            self.left -= size
            room = room[size:]

    def next_message(self) -> int:
        """Return the size of the machine's next message; what the portal says before it is heard."""
        while True:
            kind, size = self.head()
            if kind == BINARY:
                return size
            said = bytearray(size)
            self.read(memoryview(said))
            if kind == CLOSE:
                raise EOFError(bytes(said))
            if kind == PING:
                self.send(bytes(said), PONG)
            elif "ping" in json.loads(said):
                self.send(b'{"pong": 1}', TEXT)

    def head(self) -> tuple[int, int]:
        """Return the kind and size of a message, which the portal sends in one frame."""
        found = bytearray(2)
        self.read(memoryview(found))
        size = found[1]
        if size > SHORT:
            more = bytearray(2 if size == SHORT + 1 else 8)
            self.read(memoryview(more))
            size = int.from_bytes(more, "big")
        return found[0] & ~FINAL, size


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


def open_console(web: Web, desk: Desk) -> socket.socket:
    """Open a console as a page does."""
    address, token = f"https://localhost:{web.port}", desk.tokens["alice"]
    row = desk.office.accounts.find_session(token)
    if row is None:
        raise RuntimeError(token)
    with web.client() as client:
        form = {"mode": "graphics", "csrf": row.csrf}
        answer = client.post(f"{PLACE}/ticket", data=form, headers={"Origin": address})
        ticket = answer.raise_for_status().json()["ticket"]
    plain = socket.create_connection(("127.0.0.1", web.port), LIMIT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as browsers have it: a key waits for no answer
    way = web.context.wrap_socket(plain, server_hostname="localhost")
    way.sendall(
        f"GET {PLACE}/socket?mode=graphics HTTP/1.1\r\nHost: localhost:{web.port}\r\nOrigin: {address}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}\r\nCookie: __Host-session={token}\r\n"
        f"Sec-WebSocket-Protocol: labctl.console, ticket.{ticket}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        found = way.recv(1)
        if not found:
            raise EOFError(head)
        head += found
    if not head.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(head)
    return way


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
    """Return the throughput of whole pictures of 1024 × 768 points, from the first byte of each to its last.

    What comes before is left out: QEMU draws at ticks of its own, which are the same on both ways and would hide what
    lies between. Each request comes with a move of the mouse: QEMU looks at an idle screen every three seconds only.
    """
    rates: dict[Way, list[float]] = {direct: [], browsers: []}
    for _turn in range(PICTURES // IN_TURN):
        for way, found in rates.items():
            for picture in range(IN_TURN):
                way.send(bytes([5, 0]) + (picture % 2).to_bytes(2, "big") + bytes(2))
                way.ask(all_of_it=True)
                seen, seconds = way.see()
                found.append(seen / seconds / 1e6)
    ours, its = median(rates[browsers]), median(rates[direct])
    return {"picture_mb_s": ours, "picture_direct_mb_s": its, "picture_ratio": ours / its}
