"""The pictures of the documentation: made by the tests, written with --update-golden, looked at by people."""

from pathlib import Path

import pytest

from labctl.worker.answers import JobLine
from labctl.worker.values import JobState, LabState
from tests.browser.conftest import Site, Visits
from tests.portal.fake_exam import SESSION
from tests.portal.fake_worker import AT

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
PICTURES = {
    "portal-login": ("", "/login", (1280, 760), False),
    "portal-labs": ("e01", "/labs", (1280, 760), False),
    "portal-lab": ("e01", "/labs/dmz-e01", (1280, 1000), False),
    "portal-lab-dark": ("e01", "/labs/dmz-e01", (1280, 1000), True),
    "portal-lab-phone": ("e01", "/labs/dmz-e01", (390, 844), False),
    "portal-statement": ("e01", "/labs/dmz-e01/statement", (1280, 900), False),
    "portal-checks": ("e01", "/labs/dmz-e01/checks", (1280, 900), False),
    "portal-reset": ("e01", "/labs/dmz-e01/reset?node=web", (1280, 900), False),
    "portal-board": ("durand", "/classes/sisr2", (1600, 1100), False),
    "portal-board-dark": ("durand", "/classes/sisr2", (1920, 1080), True),
    "portal-start": ("durand", "/classes/sisr2/start?topology=dmz", (1280, 800), False),
    "portal-grid": ("durand", "/classes/sisr2/grid", (1280, 900), False),
    "exam-candidate": ("c001", "/exam", (1280, 900), False),
    "exam-board": ("garde", f"/exams/{SESSION}", (1600, 900), False),
}
KEPT = {  # in the documentation
    "portal-lab", "portal-board", "portal-checks", "portal-start", "exam-candidate", "exam-board",
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture(visitor: Visits, site: Site, tmp_path: Path, update_golden: bool, name: str) -> None:
    who, path, size, dark = PICTURES[name]
    if "lab" in name.split("-"):
        site.worker.state = LabState.PARTLY
        site.worker.job = JobLine(
            id=7, lab="dmz-e01", verb="reset", words="remise à zéro de dns", who="Élève 01", state=JobState.RUNNING,
            state_words="en cours", fraction=0.4, step="démarrage", at=AT, started=AT,
        )  # fmt: skip
    if "exam" in name.split("-"):
        site.worker.exam_messages = ["Encore dix minutes."]
    page = visitor(who, size=size, dark=dark).open(path)
    folder = FOLDER if update_golden and name in KEPT else tmp_path
    target = folder / f"{name}.png"
    page.screenshot(path=target, full_page="phone" in name)
    assert target.stat().st_size > 5000
