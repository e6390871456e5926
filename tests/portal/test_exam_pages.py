"""The pages of candidates and proctors before the stand-in: whole, in both languages, nothing more than is theirs."""

import re

import pytest
from starlette.routing import Route

from labctl.portal import consoles
from labctl.portal.app import exam_routes
from labctl.portal.pages import say_left, show_clock, show_hour, write_marks
from labctl.portal.proctor import VERBS
from labctl.worker.exam_requests import ExamAct, ExamReset, ExamWake
from tests.portal.conftest import Browser
from tests.portal.fake_exam import NUMBERS, SESSION
from tests.portal.fake_worker import FakeWorker
from tests.portal.test_pages import tags

assert consoles
CANDIDATE_PAGES = ["/exam", "/exam/reset?node=web"]
PROCTOR_PAGES = ["/exams", f"/exams/{SESSION}", f"/exams/{SESSION}?number=002"]
BOARD = f"/exams/{SESSION}"
DEEDS = [("/exam/reset", {"node": "web"}), ("/exam/wake", {"node": "web"})]
STATES = ["waiting", "working", "paused", "frozen", "showing", "ended"]


def act(browser: Browser, **form: object) -> tuple[int, str]:
    answer = browser("garde").post(f"{BOARD}/act", data={"csrf": "csrf-garde", **form})
    return answer.status_code, answer.text


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(
    ("name", "path"), [*(("c001", path) for path in CANDIDATE_PAGES), *(("garde", path) for path in PROCTOR_PAGES)]
)
def test_a_page_is_whole_and_loads_nothing_from_elsewhere(
    browser: Browser, name: str, path: str, language: str
) -> None:
    answer = browser(name, language).get(path)
    assert answer.status_code == 200, answer.text
    assert f'<html lang="{language}">' in answer.text
    found = tags(answer.text)
    assert sum(tag == "h1" for tag, _attributes in found) == 1
    ids = [attributes["id"] for _tag, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in found:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], (tag, attributes)
        assert tag != "script" or attributes.get("src"), "a script in the page"
    assert "<script>alert" not in answer.text
    assert "javascript:alert" not in re.sub(r"\[lien\]\([^)]*\)", "", answer.text)
    assert len(answer.content) < 60_000


def test_every_route_is_tried_here() -> None:
    known = {path.partition("?")[0] for path in [*CANDIDATE_PAGES, *PROCTOR_PAGES]}
    sent = {path for path, _form in DEEDS} | {f"{BOARD}/act"}
    for route in exam_routes():
        assert isinstance(route, Route)
        path = route.path.replace("{session}", SESSION)
        assert path in (known if "GET" in (route.methods or set()) else sent)


@pytest.mark.parametrize("name", ["e01", "durand", "garde", "chef"])
def test_a_candidates_page_is_for_candidates(browser: Browser, name: str) -> None:
    assert browser(name).get("/exam").status_code == 403
    for path, form in DEEDS:
        assert browser(name).post(path, data={**form, "csrf": f"csrf-{name}"}).status_code == 403


@pytest.mark.parametrize("name", ["e01", "durand", "c001"])
def test_the_board_is_for_proctors_and_administrators(browser: Browser, name: str) -> None:
    for path in PROCTOR_PAGES:
        assert browser(name).get(path).status_code == 403
    form = {"verb": "freeze", "number": "001", "asked": "1", "confirmed": "1", "text": "x", "csrf": f"csrf-{name}"}
    assert browser(name).post(f"{BOARD}/act", data=form).status_code == 403


@pytest.mark.parametrize("path", [*CANDIDATE_PAGES, *PROCTOR_PAGES])
def test_nobody_sees_a_page_without_a_session(browser: Browser, path: str) -> None:
    answer = browser().get(path)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")


def test_a_form_without_its_mark_does_nothing(browser: Browser, worker: FakeWorker) -> None:
    for name, path in (("c001", "/exam/reset"), ("c001", "/exam/wake"), ("garde", f"{BOARD}/act"), ("c001", "/look")):
        answer = browser(name).post(path, data={"node": "web", "verb": "freeze", "look": "large"})
        assert answer.status_code == 403, path
    assert not [one for one in worker.asked if isinstance(one, ExamReset | ExamWake | ExamAct)]


@pytest.mark.parametrize("state", STATES)
def test_what_a_candidate_sees_in_each_state(browser: Browser, worker: FakeWorker, state: str) -> None:
    worker.exam_state = state
    page = browser("c001").get("/exam").text
    assert ("console?mode=" in page) is (state in {"working", "showing"})
    assert ("/exam/reset" in page) is (state == "working")
    assert ("Valmont" in page) is (state not in {"waiting", "ended"})
    assert ("data-left" in page) is (state in {"working", "paused", "showing"})
    for word in ("/checks", "/checkpoints", "hint", "/classes", '/labs"', "/messages", '/log"'):
        assert word not in page, word


def test_home_leads_everybody_to_their_own(browser: Browser) -> None:
    homes = {"c001": "/exam", "garde": "/exams", "e01": "/labs", "durand": "/classes", "chef": "/classes"}
    assert {name: browser(name).get("/").headers["location"] for name in homes} == homes


def test_a_reset_is_asked_for_and_then_sent(browser: Browser, worker: FakeWorker) -> None:
    client = browser("c001")
    page = client.get("/exam/reset?node=web").text
    assert "The jury sees each reset." in page
    answer = client.post("/exam/reset", data={"csrf": "csrf-c001", "node": "web"})
    assert answer.headers["location"] == "/exam"
    assert [one.nodes for one in worker.asked if isinstance(one, ExamReset)] == [("web",)]
    assert client.get("/exam/reset?node=*").headers["location"] == "/exam", "this exam allows machines only"
    worker.exam_scope = "lab"
    assert client.get("/exam/reset?node=*").status_code == 200
    assert client.post("/exam/reset", data={"csrf": "csrf-c001", "node": "*"}).status_code == 303
    assert [one.nodes for one in worker.asked if isinstance(one, ExamReset)][1] == ()
    assert client.get("/exam/reset?node=nix").headers["location"] == "/exam"


def test_a_machine_that_is_off_can_be_switched_on(browser: Browser, worker: FakeWorker) -> None:
    worker.exam_machines = ("running", "stopped")
    assert 'id="wake-web"' in browser("c001").get("/exam").text
    browser("c001").post("/exam/wake", data={"csrf": "csrf-c001", "node": "web"})
    assert [one.node for one in worker.asked if isinstance(one, ExamWake)] == ["web"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_act_needs_a_reason_and_a_word_of_confirmation(browser: Browser, worker: FakeWorker, verb: str) -> None:
    status, page = act(browser, verb=verb, number=["001", "003"])
    assert status == 200
    assert [number for number in NUMBERS if f"<li>{number} " in page] == ["001", "003"]
    whole = {"verb": verb, "number": ["001", "003"], "asked": "1", "text": "alarm", "minutes": "2,5", "confirmed": "1"}
    for missing in ("text", "confirmed"):
        status, page = act(browser, **{key: value for key, value in whole.items() if key != missing})
        assert (status, 'role="alert"' in page) == (422, True)
    assert not [one for one in worker.asked if isinstance(one, ExamAct)]
    assert act(browser, **whole)[0] == 303
    (sent,) = [one for one in worker.asked if isinstance(one, ExamAct)]
    assert (sent.verb, sent.numbers, sent.everybody, sent.text) == (verb, ("001", "003"), False, "alarm")
    assert sent.minutes == 2.5


@pytest.mark.parametrize("minutes", ["", "0", "-3", "many", "nan", "9999"])
def test_more_time_needs_minutes(browser: Browser, worker: FakeWorker, minutes: str) -> None:
    form = {"verb": "extend", "number": "001", "asked": "1", "text": "x", "minutes": minutes, "confirmed": "1"}
    assert act(browser, **form)[0] in {400, 422}
    assert not [one for one in worker.asked if isinstance(one, ExamAct)]


def test_acts_on_nobody_and_on_everybody(browser: Browser, worker: FakeWorker) -> None:
    assert "No candidate was chosen." in act(browser, verb="pause")[1]
    assert act(browser, verb="nix", number="001")[0] == 400
    assert act(browser, verb="pause", everybody="1", asked="1", confirmed="1", text="x")[0] == 303
    (sent,) = [one for one in worker.asked if isinstance(one, ExamAct)]
    assert (sent.everybody, sent.numbers) == (True, ())


def test_what_was_not_done_is_said(browser: Browser, worker: FakeWorker) -> None:
    worker.exam_refused = {"002": "has no right to pauses"}
    form = {"verb": "pause", "everybody": "1", "asked": "1", "confirmed": "1", "text": "x"}
    status, page = act(browser, **form)
    assert (status, "has no right to pauses" in page, "001, 003" in page) == (200, True, True)
    worker.exam_slow = True
    assert "It has begun and goes on" in act(browser, **form)[1]


def test_a_board_shows_who_needs_the_proctor(browser: Browser, worker: FakeWorker) -> None:
    page = browser("garde").get(BOARD).text
    assert page.count('class="urgent"') == 1
    assert "supervisor at work" in page
    assert "look=1" in page
    worker.supervised = False
    assert "no supervisor" in browser("garde").get(BOARD).text
    assert browser("garde").get("/exams/other").status_code == 404
    assert browser("garde").get("/exams/UPPER").status_code == 404


def test_high_contrast_and_large_text_stay_with_the_browser(browser: Browser) -> None:
    client = browser("c001")
    for look, classes in (("contrast", "contrast"), ("large", "contrast large"), ("contrast", "large"), ("large", "")):
        answer = client.post("/look", data={"csrf": "csrf-c001", "look": look, "back": "/exam"})
        assert answer.headers["location"] == "/exam"
        page = client.get("/exam").text
        assert (f'class="{classes}">' in page.partition("<head>")[0]) is bool(classes)
    assert client.post("/look", data={"csrf": "csrf-c001", "look": "nix"}).status_code == 400


def test_times_in_words() -> None:
    assert [show_clock(seconds) for seconds in (0, 59.9, 61, 3725, -5)] == ["0:00", "0:59", "1:01", "1:02:05", "−0:05"]
    assert show_hour("") == ""
    assert say_left(30)
    assert write_marks(()) == "{}"
