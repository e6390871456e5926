"""The matrix of exams through HTTP, before a real worker: what each person gets for each page in each state."""

from pathlib import Path

import pytest

from labctl.worker.authority import Relation
from labctl.worker.exam_authority import ExamState, decide_exam
from labctl.worker.values import STATUS, Refusal
from tests.portal.test_matrix import Form, browsers, lab_pages, status_of
from tests.worker.examination import LAB, SESSION, open_examination
from tests.worker.test_exam_matrix import HARMLESS, ROLES

UNKNOWN = STATUS[Refusal.UNKNOWN]
BOARD = f"/exams/{SESSION}"
ACT = {"verb": "message", "number": "nobody", "asked": "1", "confirmed": "1", "text": "!"}
EXAM_PAGES: dict[str, tuple[str, Form]] = {
    "exam": ("/exam", None), "exam_reset": ("/exam/reset", {"node": "nix"}),
    "exam_wake": ("/exam/wake", {"node": "nix"}), "exams": ("/exams", None), "exam_board": (BOARD, None),
    "exam_act": (f"{BOARD}/act", ACT),
}  # fmt: skip


@pytest.mark.parametrize("state", ExamState)
def test_every_page_for_everybody(tmp_path: Path, state: ExamState) -> None:  # SEC-01
    wrong = []
    with open_examination(tmp_path / "home") as exam:
        exam.bring(state)
        people = browsers(exam.desk, ROLES)
        for name, role in ROLES.items():
            for verb, page in {**lab_pages(LAB), **EXAM_PAGES}.items():
                own = verb.startswith("exam") or name == "c001"
                got = status_of(people[name], page)
                verdict = decide_exam(verb, role, Relation.OWN if own else Relation.OTHER, state)
                if verdict is not None:
                    right = got == STATUS[verdict.refusal]
                elif verb == "exam_act":  # nobody of that number: what was asked for is shown again
                    right = got == 422
                else:
                    right = got == (200 if verb in HARMLESS else UNKNOWN)
                wrong += [] if right else [(name, verb, got)]
        assert wrong == []
        assert exam.desk.office.jobs.open_jobs() == ()
        assert [entry.who for one in exam.session.read().candidates.values() for entry in one.history
                if "(portal)" in entry.who] == []  # fmt: skip


def test_consoles_of_an_exam_are_the_candidates(tmp_path: Path) -> None:
    with open_examination(tmp_path / "home") as exam:
        people = browsers(exam.desk, ROLES)
        place = f"/labs/{LAB}/machines/desk/console?mode=text"
        assert status_of(people["c001"], (place, None)) == UNKNOWN, "no machine is told of before the work"
        exam.start()
        assert status_of(people["c001"], (place, None)) == 200
        assert status_of(people["c002"], (place, None)) == UNKNOWN
        looked = people["garde"][0].get(f"{place}&look=1").text
        assert "Take part" not in looked
        assert f'href="{BOARD}"' in looked
        assert "Take part" not in people["chef"][0].get(f"{place}&look=1").text
        assert status_of(people["garde"], (f"/labs/{LAB}", None)) == 200
