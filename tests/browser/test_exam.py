"""An exam in real browsers: three candidates at once and their proctor, before a real worker; axe in each state."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from labctl.exam import acts
from labctl.exam.audit import Act
from labctl.worker.answers import Event
from labctl.worker.bars import follow_bars
from labctl.worker.certificate import ensure_certificate
from labctl.worker.client import Client
from labctl.worker.exam_requests import ExamAct
from labctl.worker.exam_watch import follow_exams
from tests.browser.conftest import DESKTOP, PHONE, ZOOMED, Site, Visits
from tests.portal.fake_exam import SESSION as STAND_IN
from tests.portal.serving import serving
from tests.worker.examination import SESSION, WHY, Examination, open_examination

CANDIDATES = ("c001", "c002", "c003")
STATES = ["waiting", "working", "paused", "frozen", "showing", "ended"]
LOOKS = {"desktop": (DESKTOP, False), "dark": (DESKTOP, True), "phone": (PHONE, False), "zoomed": (ZOOMED, True)}
PAGES = {"c001": ["/exam", "/exam/reset?node=web"], "garde": ["/exams", f"/exams/{STAND_IN}"]}


@dataclass
class ExamPlace:
    """A portal before the worker that holds an exam."""

    address: str
    exam: Examination

    def token(self, name: str) -> str:
        return self.exam.desk.tokens[name]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ExamPlace]:
    certificate = ensure_certificate(tmp_path / "tls", ("localhost",))
    stopping = threading.Event()
    with open_examination(tmp_path / "home") as exam:
        office = exam.desk.office
        watching = [
            threading.Thread(
                target=follow_exams, args=(office.exams, office.look_at_exam, office.exam_changed, stopping.wait)
            ),
            threading.Thread(
                target=follow_bars, args=(office.place.home, lambda lab: office.cut(lab=lab), stopping.wait)
            ),
        ]
        for one in watching:
            one.start()
        with serving(Client(exam.desk.client.path), certificate) as address:
            yield ExamPlace(address, exam)
        stopping.set()
        for one in watching:
            one.join(5)


@pytest.fixture
def people(place: ExamPlace, chromium: Browser) -> Iterator[Visits]:
    visits = Visits(place, chromium)
    yield visits
    visits.close()


def press(board: Page, verb: str, *numbers: str, minutes: str = "") -> None:
    """Do an act on the board as a proctor does."""
    for number in numbers:
        board.check(f"input[aria-label='{number}']")
    board.click(f"button[value={verb}]")
    board.fill("#text", WHY)
    if minutes:
        board.fill("#minutes", minutes)
    board.check("#confirmed")
    board.click("form[action$='/act'] .row button")
    expect(board).to_have_url(re.compile(f"/exams/{SESSION}$"))


def test_three_candidates_at_once_and_their_proctor(people: Visits, place: ExamPlace, tmp_path: Path) -> None:
    pages = {name: people(name).open("/exam") for name in CANDIDATES}
    for page in pages.values():
        expect(page.locator(".clock")).to_contain_text("n'a pas commencé")
    place.exam.start()
    for name, page in pages.items():
        expect(page.locator(".time [data-time]")).to_contain_text(
            re.compile(r"1:19:|1:20:" if name == "c002" else "59:|1:00:")
        )
        assert page.locator("a[href*='/console']").count() == 4
        others = [f"small-{other}" for other in CANDIDATES if other != name]
        assert not [other for other in others if other in page.content()]
    board = people("garde", size=(1600, 1000)).open(f"/exams/{SESSION}")
    expect(board.locator("tbody tr")).to_have_count(3)
    press(board, "pause", "002")
    expect(pages["c002"].locator(".clock")).to_contain_text("arrêté votre temps")
    expect(pages["c002"].locator("a[href*='/console']")).to_have_count(0)
    expect(pages["c001"].locator("a[href*='/console']")).to_have_count(4)
    press(board, "extend", "003", minutes="10")
    expect(pages["c003"].locator(".clock")).to_contain_text("10:00 ont été ajoutées")
    press(board, "message", "001")
    expect(pages["c001"].locator(".said")).to_contain_text(WHY)
    expect(pages["c001"].locator("#live-said")).to_contain_text(WHY)
    assert pages["c003"].locator(".said").count() == 0

    console = people("c001").open("/labs/small-c001/machines/desk/console?mode=text")
    expect(console.locator("#console-state")).to_have_text(re.compile("Connecté"))
    expect(board.locator("tr", has_text="001").locator("td.number").last).to_have_text("1")
    press(board, "freeze", "001")
    expect(pages["c001"].locator(".clock")).to_contain_text("terminé et figé")
    expect(console.locator("#console-state")).not_to_have_text(re.compile("Connecté"))
    expect(pages["c003"].locator(".clock")).to_contain_text("Vous pouvez travailler")
    assert {entry.who for entry in place.exam.one().entries(Act.FREEZE)} == {"garde (portal)"}
    for name, page in pages.items():
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    board.screenshot(path=tmp_path / "board.png")
    assert [one.violations() for one in people.made] == [[]] * len(people.made)


def test_a_candidate_is_told_of_a_mark_once_and_not_each_second(people: Visits, place: ExamPlace) -> None:
    place.exam.start()
    place.exam.clock.go(30 * 60 - 4)
    page = people("c001").open("/exam")
    expect(page.locator("#clock-said")).to_have_text("encore 30 minutes")
    page.wait_for_timeout(2500)
    expect(page.locator("#clock-said")).to_have_text("encore 30 minutes")
    place.exam.clock.go(60)
    acts.pause(place.exam.conduct, ("001",), WHY)
    expect(page.locator(".clock")).to_contain_text("Le temps est arrêté")
    stands = page.locator(".time [data-time]").text_content()
    page.wait_for_timeout(2500)
    assert page.locator(".time [data-time]").text_content() == stands


@pytest.mark.parametrize("look", ["desktop", *(pytest.param(look, marks=pytest.mark.slow) for look in [*LOOKS][1:])])
@pytest.mark.parametrize(
    "state", ["working", *(pytest.param(s, marks=pytest.mark.slow) for s in STATES if s != "working")]
)
def test_every_page_in_each_state(visitor: Visits, site: Site, state: str, look: str) -> None:
    size, dark = LOOKS[look]
    site.worker.exam_state, site.worker.exam_messages = state, ["Encore dix minutes"]
    site.worker.supervised, site.worker.exam_machines = state != "paused", ("running", "stopped")
    found: dict[str, object] = {}
    for name, paths in PAGES.items():
        person = visitor(name, size=size, dark=dark)
        for path in paths:
            person.open(path)
            if violations := person.violations():
                found[path] = violations
            if (wide := person.overflow()) > 0:
                found[f"{path} too wide"] = wide
        assert person.seen.complaints == []
    assert found == {}


def test_high_contrast_large_text_and_the_steps_of_an_act(visitor: Visits, site: Site) -> None:
    candidate = visitor("c001")
    page = candidate.open("/exam")
    page.click("button[value=contrast]")
    page.click("button[value=large]")
    expect(page.locator("html")).to_have_class("contrast large")
    assert candidate.violations() == []
    assert candidate.overflow() <= 0
    proctor = visitor("garde")
    page = proctor.open(f"/exams/{STAND_IN}")
    page.check("#c-2")
    page.click("button[value=extend]")
    assert proctor.violations() == []
    page.click("form[action$='/act'] button.first")
    expect(page.locator("[role=alert]")).to_contain_text("motif")
    assert proctor.violations() == []
    site.worker.exam_refused = {"002": "n'a pas droit aux pauses"}
    page.fill("#text", "alarme")
    page.fill("#minutes", "5")
    page.check("#confirmed")
    page.click("form[action$='/act'] button.first")
    expect(page.locator(".note.bad")).to_contain_text("002")
    assert proctor.violations() == []


def test_without_javascript(visitor: Visits, site: Site) -> None:
    page = visitor("c001", scripts=False).open("/exam")
    expect(page.locator(".time")).to_contain_text("47:00")
    page.click("#reset-web")
    page.click("button.danger")
    expect(page).to_have_url(re.compile("/exam$"))
    board = visitor("garde", scripts=False).open(f"/exams/{STAND_IN}")
    board.check("#c-1")
    board.click("button[value=pause]")
    board.fill("#text", "alarme")
    board.check("#confirmed")
    board.click("form[action$='/act'] button.first")
    (sent,) = [one for one in site.worker.asked if isinstance(one, ExamAct)]
    assert (sent.verb, sent.numbers, sent.text) == ("pause", ("001",), "alarme")


def test_what_a_proctor_has_chosen_stays_when_the_board_changes(visitor: Visits, site: Site) -> None:
    page = visitor("garde").open(f"/exams/{STAND_IN}")
    page.check("#c-3")
    page.wait_for_timeout(500)
    site.worker.exam_state = "paused"
    site.tell(Event(kind="exam", lab="dmz-c001", owner="c001"))
    expect(page.locator("tbody .state").first).to_contain_text("en pause")
    expect(page.locator("#c-3")).to_be_checked()
