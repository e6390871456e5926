"""Tells browsers that something changed: one stream of server-sent events each, from the worker's, few and small."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from labctl.language import current_language
from labctl.portal.visit import parse_form, session_token, signed, worker_of
from labctl.worker.answers import Event
from labctl.worker.requests import Subscribe, Whoami
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

GATHER = 0.15  # seconds in which changes become one
MOST_STREAMS = 8  # of one session: a window each, and those that a browser has not closed yet
PER_PORTAL = 600
RETRY = 3000  # milliseconds before a browser connects again
FIRST = f"retry: {RETRY}\nevent: hello\ndata:\n\n"


async def stream_changes(request: Request) -> Response:
    """Send `changed` whenever something in a lab, a class or all that the person may see is new."""
    token = session_token(request)
    streams: Counter[str] = request.app.state.streams
    query = parse_form(request.url.query)
    labs = tuple(filter(None, [query.get("lab")]))
    try:
        subscribe = Subscribe(labs=labs, class_name=query.get("class") or None)
        await worker_of(request).ask(signed(Whoami(), request, token))
    except ValidationError:
        return Response(status_code=404)
    except NotDone as error:
        return Response(status_code=error.status)
    if streams[token] >= MOST_STREAMS or streams.total() >= PER_PORTAL:
        return Response(status_code=429, headers={"Retry-After": "10"})
    events = worker_of(request).listen(signed(subscribe, request, token))
    streams[token] += 1

    def closed() -> None:
        streams[token] -= 1
        if not streams[token]:
            del streams[token]

    return StreamingResponse(
        write_changes(events, request.app.state.stopping, closed), media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Content-Language": current_language()},
    )  # fmt: skip


async def write_changes(
    events: AsyncIterator[Event], stopping: asyncio.Event, closed: Callable[[], None]
) -> AsyncIterator[str]:
    """Yield the lines of a stream until either side ends it; `closed` is called in the end."""
    changed, ended = asyncio.Event(), asyncio.Event()
    listening = asyncio.create_task(hear(events, changed, ended))
    watching = asyncio.create_task(stopping.wait())
    try:
        yield FIRST
        while not (ended.is_set() or stopping.is_set()):
            waiting = asyncio.create_task(changed.wait())
            try:
                await asyncio.wait({waiting, listening, watching}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if not changed.is_set():
                yield ": still here\n\n"
                continue
            await asyncio.sleep(GATHER)
            changed.clear()
            yield "event: changed\ndata:\n\n"
        if ended.is_set():
            yield f"event: ended\ndata: {listening.result()}\n\n"
    finally:
        listening.cancel()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        closed()


async def hear(events: AsyncIterator[Event], changed: asyncio.Event, ended: asyncio.Event) -> str:
    """Note that something changed; return why it ended: "session", or "worker" for one that may come back."""
    try:
        async for event in events:
            if event.kind == "session":
                return "session"
            if event.kind != "pulse":
                changed.set()
    except NotDone as error:
        return "session" if error.refusal is Refusal.LOGIN_NEEDED else "worker"
    else:
        return "worker"
    finally:
        ended.set()
