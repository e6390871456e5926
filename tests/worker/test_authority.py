"""Every role, relation, verb and state: what is allowed stands in one file, and a few sentences hold for all of it."""

from itertools import product
from pathlib import Path

import pytest

from labctl.language import speaking
from labctl.worker.authority import (
    BEFORE_PASSWORD,
    NOT_NOW,
    NOT_YOURS,
    RULES,
    WITHOUT_SESSION,
    About,
    Relation,
    decide,
    relate,
    relate_class,
)
from labctl.worker.requests import KINDS
from labctl.worker.values import LabState, Role

MATRIX = Path(__file__).with_name("authority.txt")
READS = {"lab", "statement", "drawing", "feedback", "console_view", "board", "log_class", "log_lab", "classes", "log"}
OWN_AFFAIRS = {verb for verb, rule in RULES.items() if rule.about is About.PERSON}


def cases() -> list[tuple[str, Role, Relation, LabState | None]]:
    found: list[tuple[str, Role, Relation, LabState | None]] = []
    for verb, rule in RULES.items():
        states: list[LabState | None] = [*LabState] if rule.about is About.LAB else [None]
        found += product([verb], Role, Relation, states)
    return found


def test_the_matrix_is_what_was_agreed_upon(update_golden: bool) -> None:
    """One line for each verb, role and relation, with the states in which it is allowed."""
    allowed: dict[tuple[str, Role, Relation], list[str]] = {}
    for verb, role, relation, state in cases():
        if decide(verb, role, relation, state) is None:
            allowed.setdefault((verb, role, relation), []).append(state or "always")
    text = "".join(f"{' '.join(key):40} {' '.join(states)}\n" for key, states in allowed.items())
    if update_golden:
        MATRIX.write_text(text, encoding="utf-8")
    assert text == MATRIX.read_text(encoding="utf-8")
    assert len(cases()) > 1000


def test_every_request_has_a_rule_or_needs_none() -> None:
    renamed = {
        "console_ticket": {"console"}, "open_console": {"console_view"}, "report": {"report_lab", "report_class"},
        "log": {"log", "log_lab", "log_class"}, "accounts": {"accounts", "accounts_class"}, "act": {"act", "down"},
    }  # fmt: skip
    covered = {verb for kind in KINDS for verb in renamed.get(kind, {kind})}
    assert covered - RULES.keys() == WITHOUT_SESSION
    assert RULES.keys() - covered == set()
    assert RULES.keys() >= BEFORE_PASSWORD


@pytest.mark.parametrize("state", LabState)
def test_a_student_reaches_nothing_of_others(state: LabState) -> None:
    for verb in RULES.keys() - OWN_AFFAIRS:
        for relation in (Relation.OTHER, Relation.CLASS):
            assert decide(verb, Role.STUDENT, relation, state), verb


def test_nobody_but_an_admin_reaches_labs_of_others() -> None:
    for verb, role, relation, state in cases():
        if role is not Role.ADMIN and relation is Relation.OTHER:
            assert decide(verb, role, relation, state), (verb, role, state)


def test_a_proctor_changes_no_lab() -> None:
    allowed = {verb for verb, role, relation, state in cases()
               if role is Role.PROCTOR and decide(verb, role, relation, state) is None}  # fmt: skip
    assert allowed - READS - OWN_AFFAIRS == {"answer_call", "message"}


def test_nothing_is_done_in_a_lab_that_does_not_exist() -> None:
    allowed = {verb for verb in RULES for role, relation in product(Role, Relation)
               if RULES[verb].about is About.LAB and decide(verb, role, relation, LabState.ABSENT) is None}  # fmt: skip
    assert allowed <= READS | {"call_trainer", "answer_call", "report_lab"}


def test_an_unknown_verb_is_refused() -> None:
    for role, relation in product(Role, Relation):
        assert decide("format_disk", role, relation, LabState.READY)


def test_refusals_differ_by_what_is_missing_and_never_by_what_exists() -> None:
    """Somebody else's lab is refused in the same words in each state: whether it exists is not told."""
    said = {decide("lab", Role.STUDENT, Relation.OTHER, state) for state in LabState}
    assert len(said) == 1


def test_each_sentence_is_a_sentence_in_both_languages() -> None:
    for verdict in {decide(*case) for case in cases()} - {None}:
        assert verdict
        with speaking("fr"):
            french = verdict.tell()
        with speaking("en"):
            assert verdict.tell() == verdict.sentence
        assert french != verdict.sentence, verdict.sentence
    assert set(NOT_NOW) == set(LabState)
    assert set(NOT_YOURS) == set(About)


def test_relations() -> None:
    none: frozenset[str] = frozenset()
    sisr, slam = frozenset({"sisr"}), frozenset({"slam"})
    assert relate(Role.STUDENT, "alice", sisr, "alice", sisr) is Relation.OWN
    assert relate(Role.STUDENT, "alice", sisr, "bob", sisr) is Relation.OTHER, "classmates are others"
    assert relate(Role.STUDENT, "alice", frozenset({"*"}), "bob", sisr) is Relation.OTHER
    assert relate(Role.TRAINER, "durand", sisr, "bob", sisr) is Relation.CLASS
    assert relate(Role.TRAINER, "durand", slam, "bob", sisr) is Relation.OTHER
    assert relate(Role.TRAINER, "durand", frozenset({"*"}), "demo", none) is Relation.CLASS
    assert relate(Role.TRAINER, "durand", none, "bob", none) is Relation.OTHER
    assert relate_class(Role.STUDENT, sisr, "sisr") is Relation.OTHER
    assert relate_class(Role.PROCTOR, sisr, "sisr") is Relation.CLASS
    assert relate_class(Role.TRAINER, sisr, "slam") is Relation.OTHER
