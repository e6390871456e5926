"""axe finds nothing on any page in any state, light and dark, on a phone and at 200 %; nothing is cut off."""

import pytest

from labctl.worker.answers import JobLine
from labctl.worker.records import later
from labctl.worker.values import JobState, LabState, Refusal
from labctl.worker.wire import NotDone
from tests.browser.conftest import DESKTOP, PHONE, ZOOMED, Site, Visits
from tests.portal.fake_worker import AT
from tests.portal.test_pages import OPEN_PAGES, STUDENT_PAGES, TRAINER_PAGES

PAGES = [
    *(("", path) for path in OPEN_PAGES), *(("e01", path) for path in STUDENT_PAGES),
    *(("durand", path) for path in TRAINER_PAGES),
]  # fmt: skip
LOOKS = {"desktop": DESKTOP, "phone": PHONE, "zoomed": ZOOMED}


def job(state: JobState, fraction: float | None = None, ahead: int = 0) -> JobLine:
    return JobLine(
        id=1, lab="dmz-e01", verb="reset", words="remise à zéro de web", who="Élève 01", state=state,
        state_words="en cours", fraction=fraction, ahead=ahead, step="démarrage", at=AT, started=AT,
        error="le disque est plein" if state is JobState.FAILED else "", hint="" ,
    )  # fmt: skip


@pytest.mark.parametrize("look", ["desktop", *(pytest.param(look, marks=pytest.mark.slow) for look in [*LOOKS][1:])])
def test_every_page(visitor: Visits, look: str) -> None:
    found: dict[str, object] = {}
    for name in ("", "e01", "durand"):
        person = visitor(name, size=LOOKS[look])
        for path in [path for who, path in PAGES if who == name]:
            person.open(path)
            if violations := person.violations():
                found[f"{path} violations"] = violations
            if look == "desktop" and (violations := person.violations_in_the_dark()):
                found[f"{path} violations in the dark"] = violations
            if (wide := person.overflow()) > 0:
                found[f"{path} too wide"] = wide
        assert person.seen.complaints == []
    assert found == {}


@pytest.mark.slow
@pytest.mark.parametrize("state", list(LabState))
def test_every_state_of_a_lab(visitor: Visits, site: Site, state: LabState) -> None:
    site.worker.state, site.worker.unread, site.worker.hints = state, 1, 1
    site.worker.job = job(JobState.RUNNING, 0.4)
    site.worker.ends = later(47 * 60)
    person = visitor("e01")
    for path in ("/labs", "/labs/dmz-e01", "/labs/dmz-e01/checks"):
        person.open(path)
        assert person.violations() == []
        assert person.violations_in_the_dark() == []


@pytest.mark.slow
@pytest.mark.parametrize("state", list(JobState))
def test_every_state_of_a_job(visitor: Visits, site: Site, state: JobState) -> None:
    site.worker.job = job(state, None, 2)
    person = visitor("e01")
    person.open("/labs/dmz-e01")
    assert person.violations() == []
    trainer = visitor("durand")
    trainer.open("/classes/sisr2")
    assert trainer.violations() == []


def test_what_went_wrong(visitor: Visits, site: Site) -> None:
    person = visitor("e01")
    for path in ("/nix", "/labs/dmz-e02", "/classes"):
        person.open(path)
        assert person.violations() == []
    site.worker.refuse = {"lab": NotDone(Refusal.HOST_NOT_READY, "libvirt ne répond pas", wait=5)}
    person.open("/labs/dmz-e01")
    assert person.violations() == []
    site.reset()
    site.worker.verbs = dict.fromkeys(["reset", "run_checks", "checkpoint_save", "console"], "un examen est en cours")
    for path in ("", "/checks", "/checkpoints", "/reset"):
        person.open(f"/labs/dmz-e01{path}")
        assert person.violations() == []
    stranger = visitor()
    stranger.open("/login")
    stranger.page.fill("#name", "e01")
    stranger.page.fill("#secret", "wrong")
    stranger.page.press("#secret", "Enter")
    stranger.page.wait_for_selector("[role=alert]")
    assert stranger.violations() == []


def test_nothing_to_show(visitor: Visits, site: Site) -> None:
    site.worker.students, site.worker.checkpoints = 0, []
    trainer, student = visitor("durand"), visitor("e01")
    for path in ("/classes/sisr2", "/classes/sisr2/grid", "/classes/sisr2/start", "/classes/sisr2/message"):
        trainer.open(path)
        assert trainer.violations() == []
    student.open("/labs")
    assert student.violations() == []


def test_steps_of_the_trainer(visitor: Visits) -> None:
    trainer = visitor("durand")
    page = trainer.open("/classes/sisr2")
    page.check("#c-dmz-e01")
    page.check("#c-dmz-e02")
    page.click("button[value=reset]")
    page.wait_for_selector("text=2 labos")
    assert trainer.violations() == []
    page.click("form[action$='/act'] button.danger")
    page.wait_for_selector("text=un autre travail")
    assert trainer.violations() == []
    page = trainer.open("/accounts")
    page.click("#code-e01")
    page.wait_for_selector("text=kilo-mars-42")
    assert trainer.violations() == []
