"""The whole matrix through HTTP: what each person gets for each verb in each state of a lab, by the pages for it."""

from collections.abc import Iterable, Iterator

import pytest
from starlette.testclient import TestClient

from labctl.portal import consoles
from labctl.portal.app import create_app
from labctl.portal.settings import Settings
from labctl.worker.authority import RULES, About, Relation, decide
from labctl.worker.client import Client
from labctl.worker.console_room import Room
from labctl.worker.values import STATUS, LabState, Refusal, Role
from tests.portal.conftest import OURS
from tests.worker.machines import Machines
from tests.worker.offices import CLASS, Desk
from tests.worker.still import PEOPLE, lab_in, open_still_desk

Form = dict[str, str] | None
FORBIDDEN, UNKNOWN, NOT_NOW = (STATUS[one] for one in (Refusal.FORBIDDEN, Refusal.UNKNOWN, Refusal.NOT_NOW))


def lab_pages(lab: str) -> dict[str, tuple[str, Form]]:
    """Return the address of each verb about a lab, with the form where it is one that is sent."""
    here = f"/labs/{lab}"
    ticket = f"{here}/machines/desk/console/ticket"
    return {
        "lab": (here, None), "statement": (f"{here}/statement", None), "feedback": (f"{here}/checks", None),
        "run_checks": (f"{here}/checks", {}), "hint": (f"{here}/checks/reach/hint", {"n": "1"}),
        "reset": (f"{here}/reset", {}), "checkpoint_save": (f"{here}/checkpoints", {"name": "kept"}),
        "checkpoint_restore": (f"{here}/checkpoints/none/restore", {}),
        "checkpoint_remove": (f"{here}/checkpoints/none/remove", {}), "call_trainer": (f"{here}/call", {"text": "?"}),
        "answer_call": (f"{here}/answered", {}), "console": (ticket, {"mode": "text"}),
        "console_view": (ticket, {"mode": "text", "look": "1"}), "wake": (f"{here}/wake", {}),
        "suspend": (f"{here}/suspend", {}), "report_lab": (f"{here}/report?format=json", None),
        "log_lab": (f"/log?lab={lab}", None),
    }  # fmt: skip


CLASS_PAGES: dict[str, tuple[str, Form]] = {
    "board": (f"/classes/{CLASS}", None), "message": (f"/classes/{CLASS}/message", {"text": "!", "to": "all"}),
    "log_class": (f"/log?class={CLASS}", None), "forecast": (f"/classes/{CLASS}/start?topology=nothing", None),
    "start": (f"/classes/{CLASS}/start", {"topology": "nothing"}), "set_end": (f"/classes/{CLASS}/end", {"ends": ""}),
    "grid": (f"/classes/{CLASS}/grid", None),
    "report_class": (f"/classes/{CLASS}/report?format=json", None),
    "accounts_class": (f"/accounts?class={CLASS}", None), "accounts": ("/accounts", None),
    "new_code": ("/accounts/bob/code", {}),
}  # fmt: skip
# The drawing is part of the page of a lab; labs are removed among many, which each are looked at.
ELSEWHERE = {"drawing", "down"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_still_desk(tmp_path_factory.mktemp("home"), Room(Machines())) as found:
        yield found


def browsers(desk: Desk, names: Iterable[str] = PEOPLE) -> dict[str, tuple[TestClient, str]]:
    """Return the browser of each person, with the mark of their forms."""
    app = create_app(Client(desk.client.path), Settings(), consoles.routes())
    made = {}
    for name in names:
        client = TestClient(app, "https://testserver", headers=OURS, follow_redirects=False)
        client.cookies.set("__Host-session", desk.tokens[name])
        row = desk.office.accounts.find_session(desk.tokens[name])
        assert row
        made[name] = client, row.csrf
    return made


def status_of(browser: tuple[TestClient, str], page: tuple[str, Form]) -> int:
    (client, csrf), (path, form) = browser, page
    answer = client.get(path) if form is None else client.post(path, data={**form, "csrf": csrf})
    return int(answer.status_code)


@pytest.mark.parametrize("state", LabState)
def test_every_verb_about_a_lab_for_everybody_in_each_state(desk: Desk, state: LabState) -> None:  # SEC-01
    wrong = []
    with lab_in(desk, state) as lab:
        people = browsers(desk)
        for name, (role, relation) in PEOPLE.items():
            for verb, page in lab_pages(lab).items():
                got, verdict = status_of(people[name], page), decide(verb, role, relation, state)
                if state is LabState.ABSENT:
                    right = got == FORBIDDEN or (got == UNKNOWN and role is not Role.STUDENT)
                elif verdict is not None:
                    right = got == STATUS[verdict.refusal]
                else:  # what is allowed may have nothing to do it with, such as a checkpoint of that name
                    right = got in {200, 303, UNKNOWN} or (got == NOT_NOW and verb == "checkpoint_save")
                wrong += [] if right else [(name, verb, got)]
    assert wrong == []
    assert lab_pages("").keys() | ELSEWHERE == {verb for verb, rule in RULES.items() if rule.about is About.LAB}


def test_every_verb_about_a_class_for_everybody(desk: Desk) -> None:
    wrong = []
    people = browsers(desk)
    for name, (role, _relation) in PEOPLE.items():
        relation = Relation.CLASS if name in {"durand", "garde"} else Relation.OTHER
        for verb, page in CLASS_PAGES.items():
            if verb == "new_code" and name in {"durand", "chef"}:
                continue  # it ends the sessions that are needed here
            allowed = decide(verb, role, relation) is None
            if allowed is (status_of(people[name], page) == FORBIDDEN):
                wrong.append((name, verb))
    assert wrong == []
    assert CLASS_PAGES.keys() - {"accounts"} == {verb for verb, rule in RULES.items() if rule.about is About.CLASS}


def test_an_act_on_many_labs_is_for_whoever_teaches_them(desk: Desk) -> None:
    with lab_in(desk, LabState.READY) as lab:
        got = {
            name: status_of(browser, (f"/classes/{CLASS}/act", {"lab": lab, "verb": "down", "confirmed": "1"}))
            for name, browser in browsers(desk).items()
        }
    assert {name for name, status in got.items() if status == FORBIDDEN} == {"alice", "bob", "petit"}
    assert {job.wish.who for job in desk.office.jobs.open_jobs() if job.wish.verb == "down"} <= {"durand", "chef"}


def test_what_was_refused_left_no_job(desk: Desk) -> None:
    assert {job.wish.who for job in desk.office.jobs.open_jobs()} <= {"alice", "durand", "chef"}
