"""The stream of changes: many changes become one, ends are told, and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from starlette.applications import Starlette

from labctl.portal.guard import Guard
from labctl.portal.live import MOST_STREAMS, write_changes
from labctl.worker.answers import Event
from labctl.worker.requests import Subscribe
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone
from tests.portal.conftest import Browser
from tests.portal.fake_worker import FakeWorker


async def collect(events: AsyncIterator[Event], stop_after: float = 2.0) -> tuple[list[str], int]:
    """Return what a browser reads of a stream, and how often it was told that the stream is closed."""
    stopping = asyncio.Event()
    closed = 0

    def close() -> None:
        nonlocal closed
        closed += 1

    asyncio.get_running_loop().call_later(stop_after, stopping.set)
    lines = [part async for part in write_changes(events, stopping, close)]
    return lines, closed


async def some(*kinds: str, then: NotDone | None = None) -> AsyncIterator[Event]:
    for kind in kinds:
        yield Event(kind=kind)
    if then:
        raise then
    await asyncio.sleep(60)


def test_many_changes_at_once_are_told_once() -> None:
    lines, closed = asyncio.run(collect(some(*["node"] * 50), 0.6))
    assert sum("event: changed" in line for line in lines) == 1
    assert lines[0].startswith("retry: ")
    assert closed == 1


def test_a_pulse_is_no_change() -> None:
    lines, _closed = asyncio.run(collect(some("pulse", "pulse"), 0.4))
    assert not [line for line in lines if "changed" in line]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (("session",), "session"),
        ((NotDone(Refusal.LOGIN_NEEDED, "log in"),), "session"),
        ((NotDone(Refusal.NO_WORKER, "gone"),), "worker"),
    ],
)
def test_an_end_says_why(events: tuple[str | NotDone, ...], said: str) -> None:  # F-37
    (first,) = events
    source = some(then=first) if isinstance(first, NotDone) else some(first)
    lines, closed = asyncio.run(collect(source))
    assert lines[-1] == f"event: ended\ndata: {said}\n\n"
    assert closed == 1


def test_who_may_not_listen_gets_a_status(browser: Browser, worker: FakeWorker) -> None:
    assert browser().get("/events").status_code == 401
    assert browser("e01").get("/events?lab=../x").status_code == 404
    worker.refuse = {"whoami": NotDone(Refusal.NO_WORKER, "gone")}
    assert browser("e01").get("/events").status_code == 503


def test_a_browser_has_a_bounded_number_of_streams(browser: Browser) -> None:
    client = browser("e01")
    app = cast("Starlette", cast("Guard", client.app).app)
    app.state.streams["e01-secret"] = MOST_STREAMS
    assert client.get("/events").status_code == 429


def test_a_stream_asks_for_what_its_page_shows(worker: FakeWorker) -> None:
    asked = Subscribe(labs=("dmz-e01",), token="e01-secret")

    async def listen() -> None:
        stream = worker.listen(asked)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        worker.events(Event(kind="lab"))
        assert (await reading).kind == "lab"

    asyncio.run(listen())
