"""A browser's websocket and a machine's console, joined: bytes both ways, notices as text, until either side ends."""

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from labctl.worker.client import OpenedConsole
from labctl.worker.rfb import ClientFilter, Malformed
from labctl.worker.values import ConsoleMode

CHUNK = 64 << 10  # bytes read from a console at once; all that is kept of a picture
LONGEST_LINE = 64 << 10  # bytes; the worker names all who look at a machine
SENT_WITHIN = 30.0  # seconds in which a browser must take a chunk
TYPED_WITHIN = 10.0  # seconds in which a machine must take what was typed: one that is paused takes nothing
TOLD_WITHIN = 6.0  # seconds in which the worker says why a console ended: it asks libvirt


class Why(StrEnum):
    """Why a console ended, mostly in the worker's words.

    LOST, AWAY: the worker, or libvirt, is gone and may come back. GONE: the page says nothing any more; STUCK: the
    machine takes nothing.
    """

    LEFT = "left"
    RIGHTS = "rights"
    TAKEN_OVER = "taken_over"
    STOPPED = "stopped"
    ENDED = "ended"
    AWAY = "away"
    SLOW = "slow"
    GONE = "gone"
    STUCK = "stuck"
    NONSENSE = "nonsense"
    LOST = "lost"


FAULTS = frozenset({Why.SLOW, Why.GONE, Why.STUCK, Why.NONSENSE})  # the worker, which keeps the log, is told


class FromPage(BaseModel):
    """What a page says beside keystrokes: its size in letters, or that it is there."""

    model_config = ConfigDict(extra="forbid")

    columns: int = Field(default=0, ge=0, le=500)
    rows: int = Field(default=0, ge=0, le=300)
    pong: int = 0


@dataclass(frozen=True)
class Silence:
    """How long a page may say nothing, and how often it is asked whether it is there, in seconds."""

    longest: float = 45.0
    pulse: float = 15.0


class Relay:
    """One console of one page. Nothing is kept but one chunk each way: whoever is slow slows the other side down."""

    def __init__(self, websocket: WebSocket, opened: OpenedConsole, silence: Silence) -> None:
        self._websocket = websocket
        self._opened = opened
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._heard = time.monotonic()
        for side in (opened.stream, opened.control):
            side.setblocking(False)
        graphics = opened.about.mode is ConsoleMode.GRAPHICS
        self._filter = ClientFilter(view_only=opened.about.view_only) if graphics else None

    async def run(self) -> Why:
        """Join both sides and return why they parted. Both are left open."""
        await self._tell_worker(b"{}\n")  # the worker tells who else is there from now on
        acts: list[Coroutine[Any, Any, Why]] = [self._show(), self._type(), self._pass_on(), self._ask()]
        tasks = [asyncio.create_task(act) for act in acts]
        try:
            done, _running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            why = done.pop().result()
            if why is Why.ENDED:  # the worker may know more
                told = await asyncio.wait([tasks[2]], timeout=TOLD_WITHIN)
                why = tasks[2].result() if told[0] else why
            if why in FAULTS:
                await self._tell_worker(json.dumps({"why": why.value}).encode() + b"\n")
                await asyncio.wait([tasks[2]], timeout=TOLD_WITHIN)  # before the stream ends, which has no reason
            return Why.ENDED if why is Why.LEFT and not self._page_left(tasks) else why
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _page_left(tasks: "list[asyncio.Task[Why]]") -> bool:
        return tasks[1].done() or tasks[3].done()

    async def _show(self) -> Why:
        """Send what the machine shows."""
        try:
            while data := await self._loop.sock_recv(self._opened.stream, CHUNK):
                async with asyncio.timeout(SENT_WITHIN):
                    await self._websocket.send_bytes(data)
        except TimeoutError:
            return Why.SLOW
        except ConnectionError:
            pass
        except (WebSocketDisconnect, RuntimeError):  # the page left in the middle of it
            return Why.LEFT
        return Why.ENDED

    async def _type(self) -> Why:
        """Take what the page sends: bytes are for the machine, text is for us."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return Why.LEFT
            self._heard = time.monotonic()
            try:
                if data := message.get("bytes"):
                    await self._press(data)
                elif text := message.get("text"):
                    await self._hear(text)
            except TimeoutError:
                return Why.STUCK
            except (Malformed, ValidationError):
                return Why.NONSENSE
            except OSError:
                return Why.ENDED

    async def _press(self, data: bytes) -> None:
        if self._filter is not None:
            data = self._filter.feed(data)
        elif self._opened.about.view_only:
            return
        if data:
            async with asyncio.timeout(TYPED_WITHIN):
                await self._loop.sock_sendall(self._opened.stream, data)

    async def _hear(self, text: str) -> None:
        said = FromPage.model_validate_json(text)
        if said.columns and said.rows:
            await self._tell_worker(json.dumps({"columns": said.columns, "rows": said.rows}).encode() + b"\n")

    async def _tell_worker(self, line: bytes) -> None:
        with suppress(OSError):  # its end is read elsewhere
            await self._loop.sock_sendall(self._opened.control, line)

    async def _pass_on(self) -> Why:
        """Pass on what the worker says; return why it ended the console."""
        rest = b""
        with suppress(OSError):
            while heard := await self._loop.sock_recv(self._opened.control, CHUNK):
                *lines, rest = (rest + heard).split(b"\n")
                if len(rest) > LONGEST_LINE:
                    break
                for line in lines:
                    notice = json.loads(line)
                    if notice.get("notice") == "end":
                        return Why(notice["why"])
                    await self._websocket.send_text(json.dumps({"people": notice["people"]}))
        return Why.LOST

    async def _ask(self) -> Why:
        """Find a page that is gone without a word: a laptop that was closed, a cable that was pulled (F-36)."""
        while time.monotonic() - self._heard < self._silence.longest:
            await asyncio.sleep(self._silence.pulse)
            await self._websocket.send_text('{"ping": 1}')
        return Why.GONE
