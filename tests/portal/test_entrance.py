"""The way in: codes, passwords, cookies, languages; and what the guard keeps out."""

import json

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from labctl.portal.app import create_app
from labctl.portal.guard import LARGEST_BODY
from labctl.portal.settings import Settings, read_settings
from labctl.portal.visit import local_path
from labctl.worker.requests import ChooseLanguage, Login
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone
from tests.portal.conftest import Browser
from tests.portal.fake_worker import FakeWorker

LOGIN = {"name": " E01 ", "secret": "code-1", "back": "/labs/dmz-e01"}


def test_a_code_leads_to_ones_own_password_and_then_in(browser: Browser, worker: FakeWorker) -> None:
    client = browser()
    answer = client.post("/login", data=LOGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/password")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=e01-secret; ")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert client.get("/").headers["location"] == "/password"
    form = {"csrf": "csrf-e01", "new": "four words that fit", "again": "four words that fit"}
    differ = client.post("/password", data={**form, "again": "x"})
    assert (differ.status_code, "differ" in differ.text) == (422, True)
    short = client.post("/password", data={**form, "new": "short", "again": "short"})
    assert (short.status_code, "ten characters" in short.text) == (400, True)
    done = client.post("/password", data=form)
    assert (done.headers["location"], "__Host-session=" in done.headers["set-cookie"]) == ("/", True)
    assert client.get("/").headers["location"] == "/labs"
    (login,) = [one for one in worker.asked if isinstance(one, Login)]
    assert (login.name, login.token) == ("e01", "")


def test_a_wrong_code_says_so_and_keeps_the_name(browser: Browser) -> None:
    answer = browser().post("/login", data={**LOGIN, "secret": "wrong"})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert 'value="e01"' in answer.text
    assert "wrong" not in answer.text
    assert "set-cookie" not in answer.headers


def test_too_many_tries_are_told_with_when_to_come_again(browser: Browser, worker: FakeWorker) -> None:
    worker.refuse = {"login": NotDone(Refusal.TOO_MANY, "wait a little", wait=30)}
    answer = browser().post("/login", data=LOGIN)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")


def test_leaving_takes_the_cookie_away(browser: Browser) -> None:
    answer = browser("e01").post("/logout", data={"csrf": "csrf-e01"})
    assert answer.headers["location"] == "/login"
    assert "Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "back", ["https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example", "javascript:alert(1)", "x"]
)
def test_the_way_back_is_one_of_ours(browser: Browser, back: str) -> None:
    assert local_path(back) == "/"
    answer = browser().post("/login", data={**LOGIN, "secret": "a long password", "back": back})
    assert answer.headers["location"] == "/"


def test_the_language_is_that_of_the_cookie_then_of_the_browser(browser: Browser, worker: FakeWorker) -> None:
    client = browser("e01", "de, en-GB;q=0.8")
    assert '<html lang="en">' in client.get("/labs").text
    answer = client.post("/language", data={"language": "fr", "back": "/labs"})
    assert answer.headers["location"] == "/labs"
    assert '<html lang="fr">' in client.get("/labs").text
    assert [one.language for one in worker.asked if isinstance(one, ChooseLanguage)] == ["fr"]
    assert client.post("/language", data={"language": "xx"}).status_code == 400
    assert '<html lang="fr">' in browser("", "de").get("/login").text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://testserver", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://testserver", "Sec-Fetch-Site": "same-site"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/language", "/logout", "/labs/dmz-e01/reset"])
def test_what_another_site_sends_reaches_nobody(worker: FakeWorker, headers: dict[str, str], path: str) -> None:
    client = TestClient(create_app(worker, Settings()), "https://testserver", headers=headers)
    client.cookies.set("__Host-session", "e01-secret")
    answer = client.post(path, data={"csrf": "csrf-e01", **LOGIN})
    assert answer.status_code == 403
    assert worker.asked == []


def test_either_word_of_the_browser_does_where_the_other_is_missing(worker: FakeWorker) -> None:
    app = create_app(worker, Settings())
    for headers in ({"Origin": "https://testserver"}, {"Sec-Fetch-Site": "same-origin"}):
        client = TestClient(app, "https://testserver", headers=headers, follow_redirects=False)
        assert client.post("/login", data=LOGIN).status_code == 303


def test_a_websocket_of_another_site_is_closed(worker: FakeWorker) -> None:  # SEC-19
    client = TestClient(create_app(worker, Settings()), "https://testserver")
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/x", headers={"Origin": "https://a.example"}):
        pass


def test_a_foreign_host_name_is_refused(browser: Browser) -> None:
    client = browser("e01")
    assert client.get("/labs", headers={"Host": "elsewhere.example"}).status_code == 400
    assert client.get("/labs", headers={"Host": "testserver:8443"}).status_code == 200
    assert client.get("/labs", headers={"Host": "[::"}).status_code == 400


def test_a_body_is_read_no_further_than_it_may_be(browser: Browser, worker: FakeWorker) -> None:
    client = browser("e01")
    sent = 0

    def endless() -> object:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            yield b"a" * (1 << 16)

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/labs/dmz-e01/call", content=b"a" * (LARGEST_BODY + 1), headers=kind).status_code == 413
    assert client.post("/labs/dmz-e01/call", headers={**kind, "Content-Length": "1073741824"}).status_code == 413
    answer = client.post("/login", content=endless(), headers=kind)  # type: ignore[arg-type]
    assert answer.status_code == 413
    assert worker.asked == [] or {type(one).__name__ for one in worker.asked} == {"Whoami"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"), ("multipart/form-data; boundary=x", b"--x--"), ("text/plain", b"csrf=csrf-e01"),
        ("application/x-www-form-urlencoded", b"csrf=csrf-e01&text=%ff"),
        ("application/x-www-form-urlencoded", "csrf=csrf-e01&text=é".encode()),
        ("application/x-www-form-urlencoded", b"a=1&" * 1000),
        ("application/x-www-form-urlencoded", b"csrf=csrf-e01&text=" + b"a" * 1001),
        ("application/x-www-form-urlencoded", b"csrf=csrf-e01&text="),
    ],
)  # fmt: skip
def test_a_form_that_no_page_of_ours_sends_is_refused(browser: Browser, kind: str, body: bytes) -> None:
    answer = browser("e01").post("/labs/dmz-e01/call", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/login", "/labs", "/nix", "/health", "/static/style.css"])
def test_every_answer_has_the_headers_that_protect(browser: Browser, path: str) -> None:
    headers = browser("e01").get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "strict-transport-security" not in headers
    if "static" not in path:
        assert headers["cache-control"] == "no-store"


def test_browsers_are_told_to_come_by_https_only_with_a_certificate_that_they_know(worker: FakeWorker) -> None:
    client = TestClient(create_app(worker, Settings(strict_transport=True)), "https://testserver")
    assert client.get("/login").headers["strict-transport-security"] == "max-age=31536000"


def test_a_mistake_of_ours_is_a_page_too(worker: FakeWorker) -> None:
    client = TestClient(create_app(worker, Settings()), "https://testserver", raise_server_exceptions=False)
    client.cookies.set("__Host-session", "e01-secret")
    worker.refuse = {"lab": RuntimeError("secret detail")}  # type: ignore[dict-item]
    answer = client.get("/labs/dmz-e01")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


def test_health_names_nothing(browser: Browser, worker: FakeWorker) -> None:  # F-11
    assert json.loads(browser().get("/health").text) == {"worker": True, "libvirt": True, "said": ""}
    worker.refuse = {"health": NotDone(Refusal.NO_WORKER, "not reachable", wait=5)}
    assert browser().get("/health").status_code == 503


def test_settings_are_those_of_the_environment() -> None:
    found = read_settings(
        {"LABCTL_PORTAL_NAMES": "Labs.example, ::1,", "LABCTL_PORTAL_CERT": "/c", "LABCTL_PORTAL_HSTS": ""}
    )
    assert found == Settings(("labs.example", "::1"), secure=True, strict_transport=False)
    assert read_settings({}) == Settings((), secure=False)
