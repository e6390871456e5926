"""Measures the pages of the portal: the board of a class of 24 × 5, and all that a student's first page loads."""

import asyncio
import re
import statistics
import time

from starlette.testclient import TestClient

from labctl.portal.app import create_app
from labctl.portal.pages import STATIC, render_page
from labctl.portal.settings import Settings
from labctl.portal.trainer import VERBS, Filter, board_values
from labctl.worker.requests import AskBoard
from tests.portal.fake_worker import CLASS, FakeWorker

ROUNDS = 20


def measure() -> dict[str, float]:
    """Return milliseconds and KB of the board, KB of the first page with its files, and of all requests of a page."""
    worker = FakeWorker()
    person = worker.person("durand-secret")
    board = asyncio.run(worker.ask(AskBoard(class_name=CLASS, token="durand-secret")))
    times, page = [], ""
    for _round in range(ROUNDS):
        begun = time.perf_counter()
        values = board_values(board, Filter())
        page = render_page("board.html.j2", person=person, path=f"/classes/{CLASS}", topology="", verbs=VERBS, **values)
        times.append(time.perf_counter() - begun)
    return {
        "board_ms": statistics.median(times) * 1000,
        "board_first_ms": times[0] * 1000,
        "board_kb": len(page.encode()) / 1000,
        "first_page_kb": first_page(worker) / 1000,
    }


def first_page(worker: FakeWorker) -> int:
    """Return the bytes of a student's first page and of all that it loads."""
    client = TestClient(create_app(worker, Settings()), "https://testserver")
    client.cookies.set("__Host-session", "e01-secret")
    page = client.get("/labs")
    files = {found.partition("?")[0].removeprefix("/static/") for found in re.findall(r'"(/static/[^"]+)"', page.text)}
    size: int = len(page.content) + sum((STATIC / name).stat().st_size for name in files)
    return size
