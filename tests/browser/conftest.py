"""The portal over https before a stand-in for the worker, and Debian's Chromium before the portal."""

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from labctl.portal.app import create_app
from labctl.portal.guard import Guard
from labctl.portal.server import Server
from labctl.portal.settings import Settings
from labctl.worker.answers import Event
from labctl.worker.certificate import ensure_certificate
from tests.portal.fake_worker import FakeWorker

CHROMIUM = shutil.which("chromium") or ""
TOP = Path(__file__).parents[2]
AXE = TOP / "node_modules" / "axe-core" / "axe.min.js"
ASSETS = TOP / "labctl" / "portal" / "static" / "vendor" / "htmx.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
DESKTOP, PHONE, ZOOMED = (1280, 800), (375, 740), (640, 400)  # the last is a desktop at 200 %
PATIENCE = 120_000  # milliseconds; a moment, unless the host is full of machines
LOCALES = {"fr": "fr-FR", "en": "en-GB"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Place(Protocol):
    """A portal somewhere, and the sessions of its people."""

    @property
    def address(self) -> str: ...

    def token(self, name: str) -> str: ...


@dataclass
class Site:
    """The portal as it is served, its stand-in, and the loop that both live in."""

    address: str
    worker: FakeWorker
    loop: asyncio.AbstractEventLoop

    def token(self, name: str) -> str:
        """Return the session of somebody."""
        return f"{name}-secret"

    def tell(self, event: Event) -> None:
        """Let everybody who listens hear of something."""
        self.loop.call_soon_threadsafe(self.worker.events, event)

    def reset(self) -> None:
        """Make the stand-in forget what a test did to it."""
        self.worker.__dict__.update(FakeWorker().__dict__ | {"listeners": self.worker.listeners})


@dataclass
class Seen:
    """What a browser complained of, and what it asked for."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    certificate = ensure_certificate(tmp_path_factory.mktemp("tls"), ("localhost",))
    worker = FakeWorker()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    started = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        app: Guard = create_app(worker, Settings(("localhost",)))
        config = uvicorn.Config(
            app, http="h11", lifespan="off", log_config=None, access_log=False, ssl_certfile=certificate.chain,
            ssl_keyfile=certificate.key, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = Server(config)
        found.extend([asyncio.get_running_loop(), server, app])
        started.set()
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    loop, server, app = found
    yield Site(f"https://localhost:{listener.getsockname()[1]}", worker, loop)
    loop.call_soon_threadsafe(app.stopping.set)
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def site(served: Site) -> Site:
    served.reset()
    return served


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Give a browser. While Playwright runs, no test of its thread can run a loop of its own."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # No sandbox of its own: CI runs as root. It sees nothing but this host.
        missing = [str(path) for path in (Path(CHROMIUM or "chromium"), AXE, ASSETS) if not path.exists()]
        assert missing == [], "./bootstrap test brings Chromium and the packages of npm"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A browser for this folder only."""
    with open_chromium() as browser:
        yield browser


class Visitor:
    """Somebody before a browser of their own."""

    def __init__(self, site: Place, context: BrowserContext) -> None:
        self.site, self.context, self.seen = site, context, Seen()
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.seen.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complain(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.seen.requests.append(request.url))
        self.page.on("websocket", lambda way: self.seen.requests.append(way.url.replace("wss:", "https:", 1)))

    def complain(self, text: str) -> None:
        """Note what the browser complains of, but that labs beside the tests come and go with their networks."""
        if "net::ERR_NETWORK_CHANGED" not in text:
            self.seen.complaints.append(text)

    def open(self, path: str) -> Page:
        """Open a page of the portal."""
        self.page.goto(self.site.address + path)
        return self.page

    def log_in(self, name: str) -> "Visitor":
        """Give the browser a session."""
        self.context.add_cookies(
            [{"name": "__Host-session", "value": self.site.token(name), "url": self.site.address, "secure": True}]
        )
        return self

    def violations(self) -> list[str]:
        """Return what axe finds on the page, rule by rule."""
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        return self.ask_axe({"type": "tag", "values": RULES})

    def violations_in_the_dark(self) -> list[str]:
        """Return what axe finds once the page, which it has looked at, turns dark: nothing but colours changes."""
        self.page.emulate_media(color_scheme="dark")
        self.page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")  # colours fade in
        found = self.ask_axe({"type": "rule", "values": ["color-contrast"]})
        self.page.emulate_media(color_scheme="light")
        return found

    def ask_axe(self, what: dict[str, object]) -> list[str]:
        """Return what axe finds, rule by rule."""
        found = self.page.evaluate(f"axe.run(document, {json.dumps({'runOnly': what})})")
        return [
            f"{one['id']}: {one['help']} – {[node['html'][:160] for node in one['nodes'][:3]]}"
            for one in found["violations"]
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture
def visitor(site: Site, chromium: Browser) -> Iterator["Visits"]:
    visits = Visits(site, chromium)
    yield visits
    visits.close()


class Visits:
    """Makes browsers for people, and looks at the end whether they had to complain."""

    def __init__(self, site: Place, chromium: Browser) -> None:
        self.site, self.chromium = site, chromium
        self.made: list[Visitor] = []

    def __call__(
        self, name: str = "", *, size: tuple[int, int] = DESKTOP, dark: bool = False, scripts: bool = True,
        language: str = "fr", scale: float = 1,
    ) -> Visitor:  # fmt: skip
        context = self.chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light",
            java_script_enabled=scripts, locale=LOCALES[language], ignore_https_errors=True, device_scale_factor=scale,
        )  # fmt: skip
        made = Visitor(self.site, context)
        self.made.append(made)
        return made.log_in(name) if name else made

    def close(self) -> None:
        """Close all of them."""
        for one in self.made:
            one.context.close()
        foreign = [
            url for one in self.made for url in one.seen.requests if not url.startswith((self.site.address, "data:"))
        ]
        assert foreign == []
