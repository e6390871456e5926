"""Bad input through the whole portal: the right status, a sentence in French, a line in a log, and nothing changed."""

import html
import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from labctl.errors import Refused
from labctl.language import speaking
from labctl.portal import consoles
from labctl.portal.app import create_app
from labctl.portal.guard import EVERY, Refusals
from labctl.portal.settings import Settings
from labctl.worker.accounts import SESSIONS_EACH, digest
from labctl.worker.client import Client
from labctl.worker.console_room import Room
from labctl.worker.records import StoredLine, later, now
from labctl.worker.tickets import LIFETIME, Tickets
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone
from tests.lab.doubles import World, make_place
from tests.portal.conftest import OURS
from tests.portal.serving import Portal, serving
from tests.worker.machines import Machines
from tests.worker.offices import ALICE, BOB, CLASS, Desk, make_labs, open_desk, student, wait_for

SCRIPT = "<script>alert(1)</script>"
GIGABYTE = 1 << 30


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """A portal that serves, and the clock of its tickets."""

    portal: Portal
    clock: Clock

    @property
    def desk(self) -> Desk:
        return self.portal.desk

    def browser(self, name: str = "") -> TestClient:
        """Return a French browser of somebody, in this process."""
        app = create_app(Client(self.desk.client.path), Settings(), consoles.routes())
        made = TestClient(app, "https://testserver", headers={**OURS, "Accept-Language": "fr"}, follow_redirects=False)
        if name:
            made.cookies.set("__Host-session", self.desk.tokens[name])
        return made

    def csrf(self, name: str) -> str:
        return self.portal.browser(name).csrf

    def state(self) -> object:
        """Return all that a bad request could change: machines, jobs, accounts, classes, messages, checkpoints."""
        office = self.desk.office
        return (
            dict(self.desk.world.domains), office.jobs.history([ALICE, BOB]), office.accounts.list_accounts(),
            office.accounts.classes(), office.records.calls(), office.records.messages("alice"),
            sorted(path.name for path in (office.place.home / "labs").iterdir()),
        )  # fmt: skip

    def refused(self) -> list[StoredLine]:
        """Return the refusals in the log, the newest first."""
        return [line for line in self.desk.office.records.lines() if line.refused]

    @contextmanager
    def refuses(self, who: str, *what: str) -> Iterator[None]:
        """Expect a refusal of one of these in the log, and nothing else anywhere.

        A page asks for several things at once: what is refused first ends the others.
        """
        before, lines = self.state(), len(self.refused())
        yield
        assert self.state() == before, "nothing was changed"
        fresh = self.refused()[: len(self.refused()) - lines]
        assert {line.who for line in fresh} == {who}
        assert {line.what for line in fresh} & {*what}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home, world, machines, clock = tmp_path_factory.mktemp("home"), World(), Machines(), Clock()
    make_labs(make_place(home, world), "alice", "bob")
    room = Room(machines, Tickets(clock))
    with open_desk(home, world, room) as desk, serving(Client(desk.client.path)) as address:
        yield Place(Portal(address, desk, machines), clock)


def sentence(page: str) -> str:
    """Return the sentence of the page of an error, or the one that stands by a form."""
    found = re.search(r'<p(?: class="said[^"]*"| role="alert"[^>]*)?>(.*?)</p>', page, re.DOTALL)
    assert found, page
    return html.unescape(found[1]).strip()


def test_a_wrong_code(place: Place) -> None:
    with place.refuses("zoe", "login"):
        answer = place.browser().post("/login", data={"name": "zoe", "secret": "WRNG-CODE"})
    assert answer.status_code == 401
    assert "cet identifiant et ce mot de passe ou ce code ne vont pas ensemble" in html.unescape(answer.text)
    assert "__Host-session" not in answer.headers.get("set-cookie", "")


def test_an_expired_ticket(place: Place) -> None:
    alice = place.portal.browser("alice")
    ticket = alice.ticket("text")
    place.clock.now += LIFETIME + 1
    french = {"Cookie": f"session={alice.token}; language=fr"}
    with place.refuses("alice", "open_console"), alice.connect("text", ticket, headers=french) as way:
        said = alice.notice(way, "refused")["refused"]
    assert said == "ce ticket n'est plus valable\xa0: rouvrez la console"
    assert place.portal.machines.streams == [], "no machine was asked"


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", "", "lab"), ("GET", "/checks", "lab feedback"), ("GET", "/report", "report_lab"),
        ("POST", "/reset", "reset"), ("POST", "/checks", "run_checks"),
        ("POST", "/checkpoints/one/remove", "checkpoint_remove"),
    ],
)  # fmt: skip
def test_somebody_elses_lab(place: Place, method: str, path: str, what: str) -> None:
    form = {"csrf": place.csrf("alice")} if method == "POST" else None
    with place.refuses("alice", *what.split()):
        answer = place.browser("alice").request(method, f"/labs/{BOB}{path}", data=form)
    assert (answer.status_code, sentence(answer.text)) == (403, "Ce labo n'est pas le vôtre.")


def test_a_forged_owner(place: Place) -> None:
    forged = {"csrf": place.csrf("alice"), "owner": "alice", "account": "bob", "role": "admin", "who": "durand"}
    with place.refuses("alice", "reset"):
        answer = place.browser("alice").post(f"/labs/{BOB}/reset", data=forged)
    assert answer.status_code == 403
    with place.refuses("durand", "forecast"):
        answer = place.browser("durand").get(f"/classes/{CLASS}/start?topology=dmz&owner=zoe")
    assert (answer.status_code, sentence(answer.text)) == (404, "«\xa0zoe\xa0» n'est pas dans cette classe.")
    form = {"csrf": place.csrf("durand"), "topology": "dmz", "owner": "zoe"}
    with place.refuses("durand", "start"):
        assert place.browser("durand").post(f"/classes/{CLASS}/start", data=form).status_code == 404


@pytest.mark.parametrize(
    ("who", "method", "path", "form", "what", "said"),
    [
        ("durand", "GET", "/labs/small-nobody", {}, "lab", "Ce labo n'existe pas."),
        ("chef", "GET", "/classes/nothing", {}, "board", "Cette classe n'existe pas."),
        ("alice", "POST", f"/labs/{ALICE}/reset", {"node": "ghost"}, "reset",
         "Ce labo n'a pas de machine «\xa0ghost\xa0»."),
        ("alice", "POST", f"/labs/{ALICE}/checkpoints/ghost/restore", {}, "checkpoint_restore",
         "Ce point de reprise n'existe pas."),
        ("alice", "POST", f"/labs/{ALICE}/checks/ghost/hint", {"n": "1"}, "hint", "Ce labo n'a pas ce contrôle."),
    ],
)  # fmt: skip
def test_an_id_that_does_not_exist(
    place: Place, who: str, method: str, path: str, form: dict[str, str], what: str, said: str
) -> None:  # fmt: skip
    data = {"csrf": place.csrf(who), **form} if method == "POST" else None
    with place.refuses(who, what):
        answer = place.browser(who).request(method, path, data=data)
    assert (answer.status_code, sentence(answer.text)) == (404, said)


def test_a_console_of_a_machine_that_does_not_exist(place: Place) -> None:
    form = {"csrf": place.csrf("alice"), "mode": "text"}
    with place.refuses("alice", "console_ticket"):
        answer = place.browser("alice").post(f"/labs/{ALICE}/machines/ghost/console/ticket", data=form)
    assert answer.status_code == 404


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in chunks"])
def test_a_body_of_a_gigabyte(place: Place, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    where, before, sent = urlsplit(place.portal.address), place.state(), 0
    words = f"Content-Length: {GIGABYTE}" if told else "Transfer-Encoding: chunked"
    head = (
        f"POST /login HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: {place.portal.address}\r\nAccept-Language: fr\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n{words}\r\n\r\n"
    )
    block = b"a" * (1 << 16)
    with caplog.at_level(logging.WARNING, "labctl.portal"), connect(place) as connection:
        connection.sendall(head.encode())
        while sent < GIGABYTE and not ready(connection):
            try:
                sent += connection.send(block if told else b"10000\r\n" + block + b"\r\n")
            except OSError:
                break
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert sent < 64 << 20, "it is not read to its end"
    page = answer.partition(b"\r\n\r\n")[2].decode()
    assert sentence(page) == "Ce qui a été envoyé est trop volumineux, et rien n'a été fait."
    assert place.state() == before


def test_what_never_reaches_the_worker_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    refusals = Refusals(clock, told=-EVERY)
    with caplog.at_level(logging.WARNING, "labctl.portal"):
        for _number in range(500):
            refusals.note({"client": ("10.0.0.9", 1)}, NotDone(Refusal.TOO_LARGE, "words"))
        clock.now += EVERY
        refusals.note({}, NotDone(Refusal.FORBIDDEN, "words"))
    assert [record.getMessage() for record in caplog.records] == [
        "refused: 1, the last one too_large, from 10.0.0.9", "refused: 500, the last one forbidden, from ?",
    ]  # fmt: skip


def test_what_another_site_sends_is_in_the_log_of_the_web_process(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    form, before = {"csrf": place.csrf("alice")}, place.state()
    with caplog.at_level(logging.WARNING, "labctl.portal"):
        answer = place.browser("alice").post(
            f"/labs/{ALICE}/reset",
            data=form,
            headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        )
    assert answer.status_code == 403
    assert sentence(answer.text) == "Ceci a été envoyé par un autre site, et rien n'a été fait."
    assert "refused: 1, the last one forbidden" in caplog.text
    assert place.state() == before


def test_ten_thousand_sessions(place: Place) -> None:
    accounts = place.desk.office.accounts
    rows = [(digest(f"t{n}"), f"s{n % 1500}", "c", now(), now(), later(3600), "", 0) for n in range(10_000)]
    with accounts.records.transaction() as connection:
        connection.executemany("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    row = accounts.find("zoe")
    assert row
    tokens = [accounts.begin_session(row, "", must_choose=False).token for _number in range(SESSIONS_EACH + 5)]
    ended_ones = [token for token in tokens if accounts.find_session(token) is None]
    assert len(ended_ones) == 5
    browser, lines = place.browser(), len(place.refused())
    browser.cookies.set("__Host-session", ended_ones[0])
    ended = browser.get("/labs")
    assert (ended.status_code, ended.headers["location"].partition("?")[0]) == (303, "/login")
    assert [line.detail for line in place.refused()[: len(place.refused()) - lines]] == ["login_needed"]
    browser.cookies.set("__Host-session", tokens[-1])
    start = time.monotonic()
    assert browser.get("/labs").status_code == 200
    assert place.browser("alice").get(f"/labs/{ALICE}").status_code == 200
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("token", ["x" * 43, "' OR '1'='1", "A" * 128])
def test_a_forged_session(place: Place, token: str) -> None:
    browser = place.browser()
    browser.cookies.set("__Host-session", token)
    answer = browser.get(f"/labs/{ALICE}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


def test_half_open_websockets(place: Place) -> None:
    """Handshakes that never end, and consoles whose page is gone without a word, hold nobody up."""
    alice = place.portal.browser("alice")
    where = urlsplit(alice.address)
    with ExitStack() as held:
        for _number in range(60):
            connection = held.enter_context(connect(place))
            connection.sendall(f"GET {alice.place()}/socket HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: webs".encode())
        for _number in range(5):
            way = held.enter_context(alice.connect("ssh"))
            way.socket.shutdown(socket.SHUT_WR)
        start = time.monotonic()
        page = httpx2.get(f"{alice.address}/labs", headers=alice.cookies, timeout=20)
        assert page.status_code == 200
        assert time.monotonic() - start < 5
    wait_for(lambda: not any(place.desk.office.consoles.holders(ALICE).values()))  # type: ignore[union-attr]
    wait_for(lambda: all(shell.closed.is_set() for shell in place.portal.machines.shells))


def test_a_name_with_script_tags(place: Place) -> None:
    accounts = place.desk.office.accounts
    accounts.enrol("eve", f"{SCRIPT}.csv", [student("eve", SCRIPT)])
    eve = accounts.find("eve")
    assert eve
    place.desk.tokens["eve"] = accounts.begin_session(eve, "", must_choose=False).token
    accounts.set_account("durand", f"Mme {SCRIPT}", accounts.find("durand").role, (CLASS, "eve"))  # type: ignore[union-attr]
    form = {"csrf": place.csrf("durand"), "text": SCRIPT, "to": "all"}
    assert place.browser("durand").post("/classes/eve/message", data=form).status_code == 303
    pages = [
        place.browser(who).get(path)
        for who, path in [
            ("durand", "/classes/eve"), ("durand", "/classes/eve/message"), ("durand", "/accounts?class=eve"),
            ("durand", "/log?class=eve"), ("chef", "/accounts"), ("eve", "/messages"), ("eve", "/labs"),
        ]
    ]  # fmt: skip
    assert [(page.url.path, page.status_code) for page in pages if page.status_code != 200] == []
    assert [page.url.path for page in pages if SCRIPT in page.text] == []
    assert sum("&lt;script&gt;alert(1)&lt;/script&gt;" in page.text for page in pages) >= 5


def test_an_account_in_two_classes(place: Place) -> None:
    """One person with one id is one account; two people with one name are refused, whole list and all."""
    accounts = place.desk.office.accounts
    accounts.enrol("options", "options.csv", [student("bob")])
    assert accounts.classes_of("bob") == {CLASS, "options"}
    before = place.state()
    with speaking("fr"), pytest.raises(Refused) as caught:
        accounts.enrol("third", "third.csv", [student("new"), replace(student("bob"), id="bob.2")])
    assert caught.value.message.startswith("«\xa0bob\xa0» ")
    assert place.state() == before


def connect(place: Place) -> socket.socket:
    where = urlsplit(place.portal.address)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=20)


def ready(connection: socket.socket) -> bool:
    """Return whether an answer has begun."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(20)


def read_all(connection: socket.socket) -> bytes:
    """Return the answer."""
    found = b""
    try:
        while data := connection.recv(1 << 16):
            found += data
            if b"</html>" in found:
                break
    except OSError:
        pass
    return found
