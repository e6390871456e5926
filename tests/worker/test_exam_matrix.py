"""Every role, relation, verb and state of an exam: as a table, and through the worker's socket on a real session."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from labctl.language import speaking
from labctl.worker.authority import RULES, Relation
from labctl.worker.exam_authority import EXAM_RULES, NOT_NOW, ExamState, decide_exam
from labctl.worker.exam_requests import EXAM_KINDS, AskExam, AskExamBoard, AskExams, ExamAct, ExamReset, ExamWake
from labctl.worker.requests import KINDS, Ask, AskJobs, AskMessages, AskMyLabs, Subscribe
from labctl.worker.values import Refusal, Role
from labctl.worker.wire import NotDone
from tests.worker.examination import LAB, SESSION, Examination, open_examination
from tests.worker.test_matrix import lab_requests

MATRIX = Path(__file__).with_name("exam_authority.txt")
ROLES = {
    "c001": Role.CANDIDATE, "c002": Role.CANDIDATE, "alice": Role.STUDENT, "petit": Role.TRAINER,
    "garde": Role.PROCTOR, "chef": Role.ADMIN,
}  # fmt: skip
# What answers without doing anything where it is allowed; the others would change what the next case finds.
HARMLESS = {"exam", "exams", "exam_board", "lab", "drawing", "console", "console_view", "log_lab"}


def cases() -> list[tuple[str, Role, Relation, ExamState]]:
    return list(product([*EXAM_RULES, "reset", "hint"], Role, Relation, ExamState))


def exam_requests(token: str) -> dict[str, Ask[Any]]:
    """Return a request for each verb about exams alone."""
    who: dict[str, Any] = {"token": token, "language": "en"}
    return {
        "exam": AskExam(**who), "exam_reset": ExamReset(**who, nodes=("nix",)),
        "exam_wake": ExamWake(**who, node="nix"),
        "exams": AskExams(**who), "exam_board": AskExamBoard(**who, session=SESSION),
        "exam_act": ExamAct(**who, session=SESSION, verb="message", numbers=("nobody",), text="!"),
    }  # fmt: skip


def outcome(examination: Examination, request: Ask[Any]) -> Refusal | None:
    try:
        examination.desk.client.ask(request)
    except NotDone as exc:
        return exc.refusal
    return None


def test_the_matrix_is_what_was_agreed_upon(update_golden: bool) -> None:
    allowed: dict[tuple[str, Role, Relation], list[str]] = {}
    for verb, role, relation, state in cases():
        if decide_exam(verb, role, relation, state) is None:
            allowed.setdefault((verb, role, relation), []).append(state)
    text = "".join(f"{' '.join(key):40} {' '.join(states)}\n" for key, states in allowed.items())
    if update_golden:
        MATRIX.write_text(text, encoding="utf-8")
    assert text == MATRIX.read_text(encoding="utf-8")
    assert len(cases()) > 1000


def test_every_request_about_exams_has_a_rule() -> None:
    assert EXAM_KINDS.keys() == {verb for verb in EXAM_RULES if verb.startswith("exam")}
    assert not EXAM_KINDS.keys() & KINDS.keys()
    assert {verb for verb in EXAM_RULES if not verb.startswith("exam")} <= RULES.keys()


def test_only_the_candidate_works_in_a_lab_of_an_exam() -> None:
    for verb, role, relation, state in cases():
        if decide_exam(verb, role, relation, state) is None:
            assert role in {Role.CANDIDATE, Role.PROCTOR, Role.ADMIN}, verb
            if role is Role.CANDIDATE:
                assert relation is Relation.OWN
                assert verb in {"exam", "console", "exam_reset", "exam_wake"}
            else:
                assert verb not in {"exam", "console", "exam_reset", "exam_wake", "reset", "hint"}


def test_nothing_is_reached_while_work_stands_still() -> None:
    for verb, role, relation, state in cases():
        if role is Role.CANDIDATE and state not in {ExamState.WORKING, ExamState.SHOWING} and verb != "exam":
            assert decide_exam(verb, role, relation, state), (verb, state)


def test_each_sentence_is_a_sentence_in_both_languages() -> None:
    for verdict in {decide_exam(*case) for case in cases()} - {None}:
        assert verdict
        with speaking("fr"):
            assert verdict.tell() != verdict.sentence, verdict.sentence
    assert set(NOT_NOW) == set(ExamState)


@pytest.mark.parametrize("state", ExamState)
def test_every_verb_for_everybody_through_the_socket(tmp_path: Path, state: ExamState) -> None:  # SEC-01
    wrong: list[tuple[str, str, Refusal | None]] = []
    with open_examination(tmp_path / "home") as exam:
        exam.bring(state)
        assert exam.desk.office.exams.seats()[LAB].state is state
        for name, role in ROLES.items():
            token = exam.desk.tokens[name]
            relation = Relation.OWN if name == "c001" else Relation.OTHER
            for verb, request in {**lab_requests(token, LAB), **exam_requests(token)}.items():
                own = Relation.OWN if verb.startswith("exam") else relation
                got, verdict = outcome(exam, request), decide_exam(verb, role, own, state)
                if verdict is not None:
                    wrong += [] if got is verdict.refusal else [(name, verb, got)]
                elif verb in HARMLESS:
                    wrong += [] if got is None else [(name, verb, got)]
                else:
                    wrong += [] if got is Refusal.UNKNOWN else [(name, verb, got)]
        assert wrong == []
        assert exam.desk.office.jobs.open_jobs() == ()


def test_a_candidate_has_nothing_but_the_exam(tmp_path: Path) -> None:
    with open_examination(tmp_path / "home") as exam:
        exam.start()
        token = exam.desk.tokens["c001"]
        for ask in (
            AskMyLabs(token=token),
            AskJobs(token=token),
            AskMessages(token=token),
            AskJobs(token=token, lab=LAB),
        ):
            assert outcome(exam, ask) is Refusal.FORBIDDEN, ask
        with pytest.raises(NotDone):
            next(exam.desk.client.listen(Subscribe(token=token, labs=("small-c002",))))
