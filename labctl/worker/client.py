"""Asks the worker over its Unix socket: one client that waits, one for asyncio; consoles come as descriptors."""

import array
import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from labctl.language import _
from labctl.worker.answers import ConsoleOpened, Event
from labctl.worker.requests import Ask, OpenConsole, Subscribe
from labctl.worker.values import Model, Refusal
from labctl.worker.wire import GREETING, LONGEST_ANSWER, NotDone, decode_answer, encode

A = TypeVar("A", bound=Model)
CONNECT, ANSWER = 5.0, 60.0  # seconds
PULSE = 40.0  # seconds; the worker sends an event every 15
CHUNK = 64 << 10  # bytes


@dataclass(frozen=True)
class OpenedConsole:
    """An open console: `stream` carries its bytes; the end of `control` says that it was cut, closing it ends it."""

    about: ConsoleOpened
    stream: socket.socket
    control: socket.socket

    def close(self) -> None:
        """End it on this side."""
        self.stream.close()
        self.control.close()


class Worker(Protocol):
    """What the web process needs of the worker. Every method raises NotDone."""

    async def ask(self, request: Ask[A]) -> A:
        """Return the answer to a request."""
        ...

    def listen(self, request: Subscribe) -> AsyncIterator[Event]:
        """Yield events until either side ends it."""
        ...

    async def open_console(self, request: OpenConsole) -> OpenedConsole:
        """Open the console of a ticket."""
        ...


def unreachable(error: OSError | EOFError | TimeoutError) -> NotDone:
    """Return the error for a worker that does not answer."""
    text = _("the labs cannot be reached at the moment; what runs in them goes on")
    failure = NotDone(Refusal.NO_WORKER, text, wait=5)
    failure.__cause__ = error
    return failure


@dataclass(frozen=True)
class Client:
    """Asks over asyncio, each request on a connection of its own: nobody waits for another one's answer."""

    path: Path

    async def ask(self, request: Ask[A]) -> A:
        """Return the answer to a request."""
        try:
            reader, writer = await self.connect(request)
            try:
                line = await asyncio.wait_for(read_line(reader), ANSWER)
            finally:
                writer.close()
        except (OSError, EOFError, TimeoutError) as exc:
            raise unreachable(exc) from exc
        return decode_answer(line, request.answer_model())

    async def listen(self, request: Subscribe) -> AsyncIterator[Event]:
        """Yield events until the session ends or the worker stops. Raises NotDone where it may not be heard."""
        try:
            reader, writer = await self.connect(request)
            try:
                decode_answer(await asyncio.wait_for(read_line(reader), ANSWER), request.answer_model())
                while line := await asyncio.wait_for(reader.readline(), PULSE):
                    yield Event.model_validate_json(line)
            finally:
                writer.close()
        except (OSError, EOFError, TimeoutError) as exc:
            raise unreachable(exc) from exc

    async def open_console(self, request: OpenConsole) -> OpenedConsole:
        """Open the console of a ticket."""
        return await asyncio.to_thread(BlockingClient(self.path).open_console, request)

    async def connect(self, request: Ask[A]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection on which a request was sent."""
        opening = asyncio.open_unix_connection(self.path, limit=LONGEST_ANSWER)
        reader, writer = await asyncio.wait_for(opening, CONNECT)
        try:
            writer.write(GREETING + encode(request))
            await asyncio.wait_for(read_greeting(reader), CONNECT)
        except BaseException:
            writer.close()
            raise
        return reader, writer


async def read_line(reader: asyncio.StreamReader) -> bytes:
    """Return a whole line. Raises EOFError where the other side has closed, or sent more than a line may hold."""
    try:
        line = await reader.readline()
    except ValueError as exc:  # asyncio's word for a line beyond the limit
        raise EOFError from exc
    if not line.endswith(b"\n"):
        raise EOFError
    return line


async def read_greeting(reader: asyncio.StreamReader) -> None:
    """Read the worker's first line. Raises EOFError for that of another version."""
    if await read_line(reader) != GREETING:
        raise EOFError


@dataclass(frozen=True)
class BlockingClient:
    """Asks and waits; for the command line, tests, and descriptors, which asyncio does not pass."""

    path: Path

    def ask(self, request: Ask[A]) -> A:
        """Return the answer to a request."""
        with self.connect(request) as (_connection, lines):
            return decode_answer(lines.read(), request.answer_model())

    def listen(self, request: Subscribe) -> Iterator[Event]:
        """Yield events until the worker ends it."""
        with self.connect(request) as (connection, lines):
            decode_answer(lines.read(), request.answer_model())
            connection.settimeout(PULSE)
            while True:
                yield Event.model_validate_json(lines.read())

    def open_console(self, request: OpenConsole) -> OpenedConsole:
        """Open the console of a ticket."""
        with self.connect(request) as (connection, lines):
            about = decode_answer(lines.read(), request.answer_model())
            if not lines.descriptors:
                raise NotDone(Refusal.NO_WORKER, _("the worker sent no console"))
            stream = socket.socket(fileno=lines.descriptors.pop(0))
            return OpenedConsole(about, stream, connection.dup())

    @contextmanager
    def connect(self, request: Ask[A]) -> Iterator[tuple[socket.socket, "Lines"]]:
        """Give a connection on which a request was sent, and the lines that come on it."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(CONNECT)
                connection.connect(str(self.path))
                connection.sendall(GREETING + encode(request))
                lines = Lines(connection)
                try:
                    lines.read_greeting()
                    connection.settimeout(ANSWER)
                    yield connection, lines
                finally:
                    lines.close()
        except (OSError, EOFError, TimeoutError) as exc:
            raise unreachable(exc) from exc


class Lines:
    """The lines that come on a socket, with the descriptors that come beside them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.descriptors: list[int] = []
        self.buffer = b""

    def read(self) -> bytes:
        """Return the next line. Raises EOFError at the end, and for a line that is too long."""
        parts = []
        size = 0
        while b"\n" not in self.buffer:
            parts.append(self.buffer)
            size += len(self.buffer)
            if size > LONGEST_ANSWER:
                raise EOFError
            self.buffer = self.receive()
        head, _newline, self.buffer = self.buffer.partition(b"\n")
        return b"".join([*parts, head, b"\n"])

    def read_greeting(self) -> None:
        """Read the worker's first line. Raises EOFError for that of another version."""
        if self.read() != GREETING:
            raise EOFError

    def receive(self) -> bytes:
        """Return some bytes, and keep the descriptors that come with them. Raises EOFError at the end."""
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        data, beside, _flags, _address = self.connection.recvmsg(CHUNK, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in beside:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
                self.descriptors.extend(found)
        if not data:
            raise EOFError
        return data

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        for descriptor in self.descriptors:
            socket.close(descriptor)
        self.descriptors.clear()
