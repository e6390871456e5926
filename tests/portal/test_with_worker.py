"""The pages before a real worker on its real socket: nothing that the stand-in only imagines."""

import re
import time
from collections.abc import Iterator
from typing import get_args

import pytest
from starlette.testclient import TestClient

from labctl.portal.app import create_app
from labctl.portal.settings import Settings
from labctl.portal.trainer import Format
from labctl.worker.client import Client
from tests.lab.doubles import World, make_place
from tests.portal.conftest import OURS
from tests.worker.offices import ALICE, BOB, CLASS, Desk, make_labs, open_desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, world = tmp_path_factory.mktemp("home"), World()
    make_labs(make_place(home, world), "alice", "bob")
    with open_desk(home, world) as found:
        yield found


def client(desk: Desk, name: str) -> TestClient:
    app = create_app(Client(desk.client.path), Settings())
    made = TestClient(app, "https://testserver", headers={**OURS, "Accept-Language": "fr"}, follow_redirects=False)
    made.cookies.set("__Host-session", desk.tokens[name])
    return made


def token(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("alice", "/labs"), ("alice", f"/labs/{ALICE}"), ("alice", f"/labs/{ALICE}/checks"),
        ("alice", f"/labs/{ALICE}/reset"), ("alice", f"/labs/{ALICE}/checkpoints"), ("alice", f"/labs/{ALICE}/call"),
        ("alice", f"/labs/{ALICE}/statement"), ("alice", "/messages"), ("durand", "/classes"),
        ("durand", f"/classes/{CLASS}"), ("durand", f"/classes/{CLASS}/start"),
        ("durand", f"/classes/{CLASS}/start?topology=dmz"), ("durand", f"/classes/{CLASS}/message"),
        ("durand", f"/classes/{CLASS}/grid"), ("durand", f"/log?class={CLASS}"), ("durand", f"/accounts?class={CLASS}"),
        ("durand", f"/labs/{BOB}"), ("garde", f"/classes/{CLASS}"), ("chef", "/accounts"),
    ],
)  # fmt: skip
def test_the_page_is_there(desk: Desk, name: str, path: str) -> None:
    answer = client(desk, name).get(path)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("kind", get_args(Format))
@pytest.mark.parametrize(
    ("place", "said"),
    [
        (f"labs/{BOB}", ["Les contrôles du labo «\xa0small-bob\xa0»", "Lancez les contrôles sur la page du labo"]),
        (f"classes/{CLASS}", ["labo de cette classe", "bouton «\xa0Lancer les contrôles\xa0»"]),
    ],
)
def test_no_report_before_the_first_check(desk: Desk, place: str, kind: str, said: list[str]) -> None:
    answer = client(desk, "durand").get(f"/{place}/report?format={kind}")
    assert answer.status_code == 409, "nothing is broken: it is too early"
    assert [words for words in said if words not in answer.text] == []
    given = [line for line in desk.office.records.lines() if line.what == "report" and not line.refused]
    assert given == [], "none was given out"


def test_the_lab_page_shows_its_machines_as_links_and_rows(desk: Desk) -> None:
    page = client(desk, "alice").get(f"/labs/{ALICE}").text
    machines = set(re.findall(r'<tr id="machine-([a-z0-9-]+)"', page))
    links = re.findall(r'<a href="#machine-([a-z0-9-]+)"[^>]*aria-label', page)
    assert machines
    assert machines == set(links)


@pytest.mark.parametrize("name", ["bob", "zoe"])
def test_nobody_elses_lab_is_shown(desk: Desk, name: str) -> None:  # SEC-01
    for path in ("", "/checks", "/statement", "/reset", "/checkpoints", "/call", "/report"):
        assert client(desk, name).get(f"/labs/{ALICE}{path}").status_code == 403
    assert client(desk, name).get(f"/classes/{CLASS}").status_code == 403


def test_a_reset_is_a_job_that_the_page_shows(desk: Desk) -> None:
    browser = client(desk, "bob")
    csrf = token(browser.get(f"/labs/{BOB}/reset").text)
    answer = browser.post(f"/labs/{BOB}/reset", data={"csrf": csrf})
    assert answer.headers["location"] == f"/labs/{BOB}#jobs"
    until = time.monotonic() + 20
    while 'class="sign state good"' not in (page := browser.get(f"/labs/{BOB}").text):
        assert time.monotonic() < until, page
        time.sleep(0.05)


def test_a_call_reaches_the_board_and_a_message_the_student(desk: Desk) -> None:
    alice, durand = client(desk, "alice"), client(desk, "durand")
    csrf = token(alice.get(f"/labs/{ALICE}/call").text)
    assert alice.post(f"/labs/{ALICE}/call", data={"csrf": csrf, "text": "le DNS <b>"}).status_code == 200
    board = durand.get(f"/classes/{CLASS}").text
    assert "le DNS &lt;b&gt;" in board
    form = {"csrf": token(board), "text": "Pause à 10 h", "to": "all"}
    assert durand.post(f"/classes/{CLASS}/message", data=form).status_code == 303
    assert "Pause à 10 h" in alice.get("/labs").text


def test_a_worker_that_is_away_is_told_so(desk: Desk) -> None:  # F-37
    app = create_app(Client(desk.client.path.with_name("nobody.sock")), Settings())
    browser = TestClient(app, "https://testserver", headers={"Accept-Language": "fr"}, follow_redirects=False)
    browser.cookies.set("__Host-session", desk.tokens["alice"])
    answer = browser.get("/labs")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Injoignable pour le moment" in answer.text
