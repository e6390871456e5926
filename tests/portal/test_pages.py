"""Every page for everybody: what is there, in which language, and what is escaped."""

import re
from datetime import UTC, datetime, time, timedelta
from html.parser import HTMLParser

import pytest
from starlette.routing import Route

from labctl.portal.app import open_routes, student_routes, trainer_routes
from labctl.portal.trainer import next_time
from labctl.worker.requests import Act, AskHint, CheckpointRemove, Reset, SendMessage, Start
from labctl.worker.values import LabState, Refusal
from labctl.worker.wire import NotDone
from tests.portal.conftest import Browser
from tests.portal.fake_worker import HOSTILE, FakeWorker

STUDENT_PAGES = [
    "/labs", "/messages", "/password", "/labs/dmz-e01", "/labs/dmz-e01/statement", "/labs/dmz-e01/checks",
    "/labs/dmz-e01/reset", "/labs/dmz-e01/reset?node=web&node=fw", "/labs/dmz-e01/checkpoints",
    "/labs/dmz-e01/checkpoints/etape-3", "/labs/dmz-e01/call",
]  # fmt: skip
TRAINER_PAGES = [
    "/classes", "/classes/sisr2", "/classes/sisr2?text=03&state=partly&called=1", "/classes/sisr2/start",
    "/classes/sisr2/start?topology=dmz&owner=e01", "/classes/sisr2/message", "/classes/sisr2/grid", "/log",
    "/log?lab=dmz-e01&before=3", "/accounts", "/accounts?class=sisr2", "/labs/dmz-e01",
]  # fmt: skip
OPEN_PAGES = ["/login", "/accessibility"]
DEEDS = [
    ("/labs/dmz-e01/checks", {}), ("/labs/dmz-e01/checks/check-1/hint", {"n": "1"}),
    ("/labs/dmz-e01/reset", {"node": "web", "keep": "1", "name": "avant"}),
    ("/labs/dmz-e01/checkpoints", {"name": "etape-4"}), ("/labs/dmz-e01/checkpoints/etape-3/restore", {}),
    ("/labs/dmz-e01/checkpoints/etape-3/remove", {}), ("/labs/dmz-e01/call", {"text": "help"}),
    ("/labs/dmz-e01/wake", {}), ("/labs/dmz-e01/suspend", {}),
]  # fmt: skip


class Tags(HTMLParser):
    """The tags of a page that would load or run something, and ids that stand twice."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    ("name", "path"),
    [*(("e01", path) for path in STUDENT_PAGES), *(("durand", path) for path in TRAINER_PAGES),
     *(("", path) for path in OPEN_PAGES)],
)  # fmt: skip
def test_a_page_is_whole_and_loads_nothing_from_elsewhere(
    browser: Browser, name: str, path: str, language: str
) -> None:
    answer = browser(name, language).get(path)
    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    found = tags(answer.text)
    assert sum(tag == "h1" for tag, _attributes in found) == 1
    ids = [attributes["id"] for _tag, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in found:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], (tag, attributes)
        for key in ("src", "href", "action", "formaction"):
            target = attributes.get(key) or "/"
            assert target.startswith(("/", "#")) or path.endswith("/statement"), (tag, target)
        if tag == "script":
            assert attributes.get("src"), "a script in the page"
    assert "<style" not in answer.text
    assert len(answer.content) < 60_000


def test_the_first_page_of_a_student_is_light(browser: Browser) -> None:
    client = browser("e01")
    size = 0
    page = client.get("/labs")
    for tag, attributes in tags(page.text):
        source = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if source:
            answer = client.get(source)
            assert answer.status_code == 200, source
            assert "immutable" in answer.headers["cache-control"]
            size += len(answer.content)
    assert 0 < size + len(page.content) <= 150_000


def test_a_module_that_modules_load_is_never_an_old_one(browser: Browser) -> None:
    client = browser("e01")
    first = client.get("/static/console/screen.js")
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = client.get("/static/console/screen.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_every_route_is_tried_here() -> None:
    """A page that is added must be added above too."""
    known = {path.partition("?")[0] for path in [*STUDENT_PAGES, *TRAINER_PAGES, *OPEN_PAGES]}
    names = {"lab": "dmz-e01", "class_name": "sisr2", "name": "etape-3", "check": "check-1"}
    elsewhere = {"/", "/health", "/events", "/favicon.ico", "/classes/sisr2/report", "/labs/dmz-e01/report"}
    for route in [*student_routes(), *trainer_routes(), *open_routes()]:
        if isinstance(route, Route) and "GET" in (route.methods or set()):
            path = route.path
            for key, value in names.items():
                path = path.replace(f"{{{key}}}", value)
            assert path in known | elsewhere


@pytest.mark.parametrize("path", [*STUDENT_PAGES, *TRAINER_PAGES])
def test_nobody_sees_a_page_without_a_session(browser: Browser, path: str) -> None:
    answer = browser().get(path)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize("path", [path for path in STUDENT_PAGES if path.startswith("/labs/")])
def test_a_lab_of_somebody_else_is_refused(browser: Browser, path: str) -> None:  # SEC-01
    answer = browser("e02").get(path)
    assert answer.status_code == 403
    assert "not yours" in answer.text


@pytest.mark.parametrize("path", [path for path in TRAINER_PAGES if not path.startswith("/labs/")])
def test_students_do_not_see_the_pages_of_trainers(browser: Browser, path: str) -> None:
    assert browser("e01").get(path).status_code == 403


@pytest.mark.parametrize(
    "path", ["/labs/nix", "/labs/dmz-e99", "/classes/nix", "/nix", "/labs/%2e%2e%2fetc", "/labs/Ä", "/static/nix.css"]
)
def test_what_is_not_there_is_told_in_the_language_of_the_reader(browser: Browser, path: str) -> None:
    answer = browser("durand", "fr").get(path)
    assert answer.status_code == 404
    if not path.startswith("/static"):
        assert "<h1>Cette page n&#39;existe pas</h1>" in answer.text


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"])
def test_no_file_outside_ours_is_sent(browser: Browser, path: str) -> None:  # SEC-10
    assert browser().get(path).status_code == 404


@pytest.mark.parametrize(("path", "form"), DEEDS)
def test_a_deed_needs_the_token_of_the_session(
    browser: Browser, worker: FakeWorker, path: str, form: dict[str, str]
) -> None:  # SEC-20
    client = browser("e01")
    for token in ({}, {"csrf": ""}, {"csrf": "csrf-e02"}):
        assert client.post(path, data={**form, **token}).status_code == 403
    assert {type(request).__name__ for request in worker.asked} == {"Whoami"}
    answer = client.post(path, data={**form, "csrf": "csrf-e01"})
    assert answer.status_code in {200, 303}
    assert browser("e02").post(path, data={**form, "csrf": "csrf-e02"}).status_code == 403


def test_a_reset_keeps_a_checkpoint_first_unless_it_is_said_otherwise(browser: Browser, worker: FakeWorker) -> None:
    client = browser("e01")
    page = client.get("/labs/dmz-e01/reset?node=web").text
    assert "What will be lost" in page
    assert re.search(r'name="keep" value="1" checked', page)
    client.post("/labs/dmz-e01/reset", data={"csrf": "csrf-e01", "node": "web", "keep": "1", "name": "avant"})
    client.post("/labs/dmz-e01/reset", data={"csrf": "csrf-e01", "name": "avant"})
    resets = [request for request in worker.asked if isinstance(request, Reset)]
    assert [(one.nodes, one.keep_checkpoint) for one in resets] == [(("web",), "avant"), ((), None)]
    assert all(one.token == "e01-secret" and one.address for one in resets)


def test_a_second_reset_proposes_another_name_for_what_is_kept(browser: Browser, worker: FakeWorker) -> None:
    client = browser("e01")
    worker.checkpoints = ["before-reset", "before-reset-2"]
    assert 'value="before-reset-3"' in client.get("/labs/dmz-e01/reset").text
    worker.checkpoints = ["etape-3"]
    assert 'value="before-reset"' in client.get("/labs/dmz-e01/reset").text


def test_a_machine_that_is_off_can_be_switched_on(browser: Browser, worker: FakeWorker) -> None:
    client = browser("e01")
    assert 'id="wake"' not in client.get("/labs/dmz-e01").text
    worker.state = LabState.PARTLY
    assert "Switch on what is off" in client.get("/labs/dmz-e01").text
    worker.verbs = {"wake": "not now"}
    assert 'id="wake"' not in client.get("/labs/dmz-e01").text


@pytest.mark.parametrize(("name", "paths"), [("e01", STUDENT_PAGES), ("durand", TRAINER_PAGES)])
def test_a_libvirt_that_is_away_is_told_once_on_every_page(
    browser: Browser, worker: FakeWorker, name: str, paths: list[str]
) -> None:  # F-11
    """Where a page refreshes by itself, what is said is in the part that does, and so goes away."""
    worker.trouble = "the machines cannot be reached"
    for path in paths:
        page = browser(name).get(path).text
        assert page.count(f'<div class="note bad"><p>{worker.trouble}') == 1, path
        live = page.find('id="live"')
        assert live < page.find(worker.trouble), path
        assert (live > 0) is ("data-summary" in page), path


def test_a_hint_sent_twice_takes_one(browser: Browser, worker: FakeWorker) -> None:
    client = browser("e01")
    for _again in range(2):
        client.post("/labs/dmz-e01/checks/check-1/hint", data={"csrf": "csrf-e01", "n": "1"})
    assert [one.n for one in worker.asked if isinstance(one, AskHint)] == [1, 1]
    assert "Regardez la table de routage." in client.get("/labs/dmz-e01/checks").text


@pytest.mark.parametrize("n", ["0", "99", "-1", "x", "²", ""])
def test_a_forged_number_does_no_harm(browser: Browser, n: str) -> None:
    answer = browser("e01").post("/labs/dmz-e01/checks/check-1/hint", data={"csrf": "csrf-e01", "n": n})
    assert answer.status_code in {303, 400}


def test_names_and_messages_are_shown_and_never_run(browser: Browser, worker: FakeWorker) -> None:  # SEC-20
    worker.names, worker.unread = dict.fromkeys(worker.owners(), HOSTILE), 1
    for name, path in [("e01", "/labs"), ("durand", "/classes/sisr2"), ("durand", "/classes/sisr2/message"),
                       ("durand", "/labs/dmz-e01"), ("e01", "/messages")]:  # fmt: skip
        page = browser(name).get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert "{{ 7*7 }}" in page


def test_why_something_is_not_allowed_stands_where_its_button_would(browser: Browser, worker: FakeWorker) -> None:
    worker.verbs = dict.fromkeys(["reset", "run_checks", "checkpoint_save", "console"], "an exam is going on")
    client = browser("e01")
    for path in ("", "/checks", "/checkpoints", "/reset"):
        page = client.get(f"/labs/dmz-e01{path}").text
        assert "an exam is going on" in page
    assert "Reset now" not in client.get("/labs/dmz-e01/reset").text


def test_a_trainer_finds_the_consoles_of_a_student(browser: Browser, worker: FakeWorker) -> None:
    """To look at first: from each machine of the board, and from the page of the lab."""
    trainer = browser("durand")
    watched = re.findall(r'<a class="\w+" href="(/labs/[^"]+)"', trainer.get("/classes/sisr2").text)
    assert "/labs/dmz-e01/machines/web/console?mode=graphics&amp;look=1" in watched
    page = trainer.get("/labs/dmz-e01").text
    for mode in ("graphics", "text", "ssh"):
        assert f'href="/labs/dmz-e01/machines/web/console?mode={mode}&amp;look=1"' in page
        assert f'href="/labs/dmz-e01/machines/web/console?mode={mode}"' in browser("e01").get("/labs/dmz-e01").text
    worker.verbs = {"console": "an exam is going on"}
    assert "console?mode=text&amp;look=1" in trainer.get("/labs/dmz-e01").text
    assert "console?mode" not in browser("e01").get("/labs/dmz-e01").text


@pytest.mark.parametrize("state", list(LabState))
def test_every_state_of_a_lab_has_its_words_and_its_sign(browser: Browser, worker: FakeWorker, state: LabState) -> None:
    worker.state = state
    for path in ("/labs", "/labs/dmz-e01"):
        assert re.search(r'class="state \w+"><span aria-hidden="true">.</span>', browser("e01").get(path).text)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal_has_its_status_and_its_sentence(browser: Browser, worker: FakeWorker, refusal: Refusal) -> None:
    error = NotDone(refusal, "that is the reason", "do this", wait=90)
    worker.refuse = {"lab": error}
    answer = browser("e01").get("/labs/dmz-e01")
    if refusal in {Refusal.LOGIN_NEEDED, Refusal.PASSWORD_TO_CHOOSE}:
        assert answer.status_code == 303
        return
    assert answer.status_code == error.status
    assert "That is the reason." in answer.text
    assert "do this" in answer.text
    assert answer.headers["retry-after"] == "90"


def test_many_labs_are_acted_on_after_a_confirmation_only(browser: Browser, worker: FakeWorker) -> None:
    client = browser("durand")
    form = {"csrf": "csrf-durand", "verb": "reset", "lab": ["dmz-e01", "dmz-e02", "dmz-of-nobody"]}
    page = client.post("/classes/sisr2/act", data=form)
    assert "will be lost" in page.text
    assert not [one for one in worker.asked if isinstance(one, Act)]
    done = client.post("/classes/sisr2/act", data={**form, "confirmed": "1"})
    (acted,) = [one for one in worker.asked if isinstance(one, Act)]
    assert (acted.labs, acted.verb) == (("dmz-e01", "dmz-e02"), "reset")
    assert "1 lab was not done" in done.text
    assert client.post("/classes/sisr2/act", data={**form, "verb": "format"}).status_code == 400
    assert "No lab was chosen" in client.post("/classes/sisr2/act", data={**form, "lab": []}).text


def test_the_forecast_stands_before_the_button_and_takes_it_away(browser: Browser, worker: FakeWorker) -> None:
    client = browser("durand")
    assert "Start 24 labs" not in client.get("/classes/sisr2/start?topology=dmz").text
    page = client.get("/classes/sisr2/start?topology=dmz&owner=e01&owner=e02").text
    assert page.index("Tout tient.") < page.index("Start 2 labs")
    client.post("/classes/sisr2/start", data={"csrf": "csrf-durand", "topology": "dmz", "owner": ["e01", "e02"]})
    (started,) = [one for one in worker.asked if isinstance(one, Start)]
    assert (started.topology, started.owners) == ("dmz", ("e01", "e02"))


def test_a_message_to_some_needs_somebody(browser: Browser, worker: FakeWorker) -> None:
    client = browser("durand")
    form = {"csrf": "csrf-durand", "text": "break", "to": "some"}
    assert client.post("/classes/sisr2/message", data=form).status_code == 400
    client.post("/classes/sisr2/message", data={**form, "owner": ["e01"]})
    client.post("/classes/sisr2/message", data={**form, "to": "all", "owner": ["e01"]})
    assert [one.owners for one in worker.asked if isinstance(one, SendMessage)] == [("e01",), ()]


def test_a_trainer_tells_when_the_session_ends_and_students_see_what_is_left(
    browser: Browser, worker: FakeWorker
) -> None:
    trainer, student = browser("durand"), browser("e01")
    assert "Time left" not in student.get("/labs/dmz-e01").text
    end = datetime.now().astimezone().replace(second=0, microsecond=0) + timedelta(minutes=95)
    form = {"csrf": "csrf-durand", "ends": end.strftime("%H:%M")}
    assert trainer.post("/classes/sisr2/end", data=form).headers["location"] == "/classes/sisr2"
    assert datetime.fromisoformat(worker.ends) == end
    assert f'value="{end:%H:%M}"' in trainer.get("/classes/sisr2").text
    for path in ("/labs", "/labs/dmz-e01"):
        page = student.get(path).text
        assert re.search(r"Time left: 1 h 3[45] min", page), path
        assert f"The session ends at {end:%H:%M}" in page or f"{end:%H:%M}." in page
    worker.ends = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    assert "The session has ended." in student.get("/labs/dmz-e01").text
    trainer.post("/classes/sisr2/end", data={**form, "none": "1"})
    assert worker.ends == ""
    assert trainer.post("/classes/sisr2/end", data={**form, "ends": "noon"}).status_code == 400
    assert student.post("/classes/sisr2/end", data={"csrf": "csrf-e01", "ends": "12:00"}).status_code == 403


def test_the_next_noon_is_today_or_tomorrow() -> None:
    morning = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
    assert next_time(time(12), morning) == datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert next_time(time(9, 30), morning) == datetime(2026, 12, 1, 9, 30, tzinfo=UTC)


def test_calls_codes_and_reports(browser: Browser, worker: FakeWorker) -> None:
    client = browser("durand")
    token = {"csrf": "csrf-durand"}
    answered = client.post("/labs/dmz-e05/answered", data={**token, "class_name": "sisr2"})
    assert answered.headers["location"] == "/classes/sisr2"
    assert "kilo-mars-42" in client.post("/accounts/e01/code", data=token).text
    report = client.get("/classes/sisr2/report?format=pdf")
    assert report.headers["content-disposition"] == "attachment; filename*=UTF-8''grille%20%C3%A9.pdf"
    assert "sandbox" in report.headers["content-security-policy"]
    assert client.get("/classes/sisr2/report?format=exe").status_code == 404
    assert client.get("/labs/dmz-e01/report?format=html").status_code == 200
    student = browser("e01")
    for path in ("/labs/dmz-e05/answered", "/accounts/e02/code"):
        assert student.post(path, data={"csrf": "csrf-e01"}).status_code == 403
    assert student.get("/labs/dmz-e01/report").status_code == 403
    assert not [one for one in worker.asked if isinstance(one, CheckpointRemove)]


def test_the_board_filters_without_a_script(browser: Browser) -> None:
    client = browser("durand")
    rows = {query: client.get(f"/classes/sisr2{query}").text.count('name="lab"') for query in
            ("", "?state=stopped", "?called=1", "?text=%C3%89L%C3%88VE%2007", "?text=nobody")}  # fmt: skip
    assert list(rows.values()) == [24, 2, 1, 1, 0]
