"""The whole matrix again, through the worker's socket: what each person gets for each verb in each state of a lab."""

from collections.abc import Iterator
from typing import Any

import pytest

from labctl.worker.authority import RULES, About, Relation, decide
from labctl.worker.requests import (
    Act,
    AnswerCall,
    Ask,
    AskAccounts,
    AskBoard,
    AskDrawing,
    AskFeedback,
    AskForecast,
    AskGrid,
    AskHint,
    AskLab,
    AskLog,
    AskReport,
    AskStatement,
    CallTrainer,
    CheckpointRemove,
    CheckpointRestore,
    CheckpointSave,
    ConsoleTicket,
    NewCode,
    Reset,
    RunChecks,
    SendMessage,
    SetEnd,
    SetRole,
    Start,
    Suspend,
    Wake,
)
from labctl.worker.values import ConsoleMode, LabState, Refusal, Role
from labctl.worker.wire import NotDone
from tests.worker.offices import ALICE, CLASS, Desk
from tests.worker.still import PEOPLE, lab_in, open_still_desk

AUTHORITY = {Refusal.FORBIDDEN, Refusal.NOT_NOW}


def lab_requests(token: str, lab: str) -> dict[str, Ask[Any]]:
    """Return a request for each verb about a lab."""
    who: dict[str, Any] = {"token": token, "language": "en", "lab": lab}
    console: dict[str, Any] = {"node": "desk", "mode": ConsoleMode.TEXT}
    return {
        "lab": AskLab(**who), "statement": AskStatement(**who), "drawing": AskDrawing(**who),
        "feedback": AskFeedback(**who), "run_checks": RunChecks(**who), "hint": AskHint(**who, check="reach", n=1),
        "reset": Reset(**who), "checkpoint_restore": CheckpointRestore(**who, name="none"),
        "checkpoint_save": CheckpointSave(**who, name="kept"),
        "checkpoint_remove": CheckpointRemove(**who, name="none"),
        "call_trainer": CallTrainer(**who, text="?"), "answer_call": AnswerCall(**who),
        "console": ConsoleTicket(**who, **console), "console_view": ConsoleTicket(**who, **console, view_only=True),
        "wake": Wake(**who), "suspend": Suspend(**who), "report_lab": AskReport(**who, format="json"),
        "log_lab": AskLog(**who),
    }  # fmt: skip


def class_requests(token: str) -> dict[str, Ask[Any]]:
    """Return a request for each verb about a class, or about the installation."""
    who: dict[str, Any] = {"token": token, "language": "en"}
    about: dict[str, Any] = {**who, "class_name": CLASS}
    return {
        "board": AskBoard(**about), "message": SendMessage(**about, text="!"), "log_class": AskLog(**about),
        "set_end": SetEnd(**about, ends=""),
        "forecast": AskForecast(**about, topology="nothing"), "start": Start(**about, topology="nothing"),
        "grid": AskGrid(**about), "report_class": AskReport(**about, format="json"),
        "accounts_class": AskAccounts(**about), "accounts": AskAccounts(**who),
        "set_account": SetRole(**who, name="martin", role=Role.PROCTOR),
    }  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_still_desk(tmp_path_factory.mktemp("home")) as found:
        yield found


def outcome(desk: Desk, request: Ask[Any]) -> Refusal | None:
    """Return why a request was refused, None where it was done or failed only later, by what was asked for."""
    try:
        desk.client.ask(request)
    except NotDone as exc:
        return exc.refusal
    return None


@pytest.mark.parametrize("state", LabState)
def test_every_verb_about_a_lab_for_everybody_in_each_state(desk: Desk, state: LabState) -> None:
    with lab_in(desk, state) as lab:
        wrong: list[tuple[str, str, Refusal | None]] = []
        for name, (role, relation) in PEOPLE.items():
            for verb, request in lab_requests(desk.tokens[name], lab).items():
                got, verdict = outcome(desk, request), decide(verb, role, relation, state)
                if state is LabState.ABSENT:
                    if role is Role.STUDENT:
                        wrong += [] if got is Refusal.FORBIDDEN else [(name, verb, got)]
                    else:
                        wrong += [] if got in {Refusal.UNKNOWN, Refusal.FORBIDDEN} else [(name, verb, got)]
                elif verdict is not None:
                    wrong += [] if got is verdict.refusal else [(name, verb, got)]
                elif got is Refusal.FORBIDDEN or (got is Refusal.NOT_NOW and verb != "checkpoint_save"):
                    wrong.append((name, verb, got))
        assert wrong == []
    assert lab_requests("", ALICE).keys() | {"down"} == {
        verb for verb, rule in RULES.items() if rule.about is About.LAB
    }


def test_every_verb_about_a_class_for_everybody(desk: Desk) -> None:
    wrong = []
    for name, (role, _relation) in PEOPLE.items():
        for verb, request in class_requests(desk.tokens[name]).items():
            got = outcome(desk, request)
            relation = Relation.CLASS if name in {"durand", "garde"} else Relation.OTHER
            allowed = decide(verb, role, relation) is None
            if allowed is (got is Refusal.FORBIDDEN):
                wrong.append((name, verb, got))
    assert wrong == []


def test_codes_are_drawn_for_students_of_ones_own_class_only(desk: Desk) -> None:
    desk.office.accounts.enrol("other", "other.csv", [])
    got = {name: outcome(desk, NewCode(token=desk.tokens[name], name="garde")) for name in PEOPLE if name != "chef"}
    assert set(got.values()) == {Refusal.FORBIDDEN}
    assert outcome(desk, NewCode(token=desk.tokens["petit"], name="alice")) is Refusal.FORBIDDEN
    assert outcome(desk, NewCode(token=desk.tokens["durand"], name="alice")) is None
    assert outcome(desk, AskLab(token=desk.tokens["alice"], lab=ALICE)) is Refusal.LOGIN_NEEDED


@pytest.mark.parametrize("verb", ["reset", "run_checks", "suspend", "wake", "down"])
def test_an_act_on_many_labs_looks_at_each(desk: Desk, verb: Any) -> None:
    for name, (role, _relation) in PEOPLE.items():
        if name == "alice":
            continue
        token = desk.tokens[name]
        act = Act(token=token, language="en", labs=(ALICE, "small-nobody", ALICE), verb=verb)
        if role is Role.STUDENT:
            assert outcome(desk, act) is Refusal.FORBIDDEN
            continue
        acted = desk.client.ask(act)
        assert "small-nobody" in acted.refused
        assert len(acted.jobs) <= 1
        assert name in {"durand", "chef"} or acted.jobs == ()


def test_refused_requests_left_no_job(desk: Desk) -> None:
    assert {job.wish.who for job in desk.office.jobs.open_jobs()} <= {"alice", "durand", "chef"}
