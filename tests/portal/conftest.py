"""The portal in this process, before a stand-in for the worker."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from labctl.portal.app import create_app
from labctl.portal.settings import Settings
from tests.portal.fake_worker import FakeWorker

Browser = Callable[..., TestClient]
HOST = "testserver"
OURS = {"Origin": f"https://{HOST}", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def worker() -> FakeWorker:
    """Return the stand-in."""
    return FakeWorker()


@pytest.fixture
def browser(worker: FakeWorker) -> Browser:
    """Return what makes a browser for somebody, "" for nobody yet, in English unless said otherwise."""

    def make(name: str = "", language: str = "en") -> TestClient:
        app = create_app(worker, Settings(names=(HOST,)))
        headers = {"Accept-Language": language, **OURS}
        made = TestClient(app, f"https://{HOST}", headers=headers, follow_redirects=False)
        if name:
            made.cookies.set("__Host-session", f"{name}-secret")
        return made

    return make
