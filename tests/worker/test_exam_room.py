"""A candidate's page and a proctor's board and acts, through the worker's socket, over labs of stand-ins."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from labctl.exam.audit import Act, Step
from labctl.exam.freezing import freeze
from labctl.exam.model import Phase
from labctl.exam.standing import Frozen
from labctl.plan.observed import DomainState
from labctl.worker.answers import Event
from labctl.worker.candidates import enrol_candidates
from labctl.worker.exam_answers import ExamPage
from labctl.worker.exam_requests import AskExam, AskExamBoard, AskExams, ExamAct, ExamReset, ExamWake
from labctl.worker.exam_watch import follow_exams, passes
from labctl.worker.requests import AskMyLabs, ConsoleTicket, Subscribe
from labctl.worker.values import ConsoleMode, Refusal, Role
from labctl.worker.wire import NotDone
from tests.worker.examination import LAB, SESSION, WHY, Examination, open_examination
from tests.worker.offices import wait_for


@pytest.fixture
def exam(tmp_path: Path) -> Iterator[Examination]:
    with open_examination(tmp_path / "home") as found:
        yield found


def page(exam: Examination, name: str = "c001") -> ExamPage:
    return exam.desk.client.ask(AskExam(token=exam.desk.tokens[name], language="en"))


def act(exam: Examination, verb: str, *numbers: str, text: str = WHY, minutes: float = 0.0) -> object:
    return exam.desk.client.ask(
        ExamAct.model_validate(
            {"token": exam.desk.tokens["garde"], "language": "en", "session": SESSION, "verb": verb, "numbers": numbers,
             "everybody": not numbers, "text": text, "minutes": minutes}
        )
    )  # fmt: skip


def machines(exam: Examination, lab: str = LAB) -> set[DomainState]:
    return {one.state for name, one in exam.desk.world.domains.items() if name.startswith(f"{lab}.")}


def ended(exam: Examination, act: Act) -> bool:
    return act in exam.one().last or any(one.step is Step.FAILED for one in exam.one().entries(act))


def test_before_the_exam_nothing_is_told(exam: Examination) -> None:
    found = page(exam)
    assert (found.state, found.number, found.lab) == ("waiting", "001", LAB)
    assert (found.markdown, found.nodes, found.clock.left) == ("", (), None)
    assert found.verbs["console"] == "the work on the machines has not begun"


def test_the_demand_comes_with_the_preparation_and_the_machines_with_the_work(exam: Examination) -> None:
    exam.start(Phase.PREPARATION)
    found = page(exam)
    assert found.markdown
    assert "##" in found.markdown
    assert (found.nodes, found.clock.left) == ((), 30 * 60.0)
    exam.start()
    found = page(exam)
    assert {node.node for node in found.nodes} == {"server", "desk"}
    assert found.clock.left == 60 * 60.0
    assert 30 * 60 in found.clock.marks
    assert found.verbs["console"] == ""
    assert page(exam, "c002").clock.left == pytest.approx(80 * 60.0)


def test_a_page_has_no_word_of_checks_services_or_others(exam: Examination) -> None:
    exam.start()
    said = page(exam).model_dump_json(exclude={"markdown"})
    for word in ("check", "hint", "competency", "services", "c002", "002", "expected"):
        assert word not in said, word


def test_an_act_is_in_the_log_with_who_did_it_and_why(exam: Examination) -> None:
    exam.start()
    act(exam, "extend", "001", minutes=5)
    (entry,) = exam.one().entries(Act.EXTEND)
    assert (entry.who, entry.facts["reason"], entry.facts["seconds"]) == ("garde (portal)", WHY, 300.0)
    assert page(exam).clock.left == 65 * 60.0
    assert page(exam).clock.extended == 300.0
    assert exam.one("003").entries(Act.EXTEND) == ()
    line = next(one for one in exam.desk.office.records.lines() if one.what == "exam extend")
    assert (line.who, line.detail) == ("garde", f"e6 001: {WHY}")


def test_a_pause_stops_clock_and_machines_and_says_so(exam: Examination) -> None:
    exam.start()
    exam.clock.go(600)
    act(exam, "pause", "001")
    exam.clock.go(600)
    found = page(exam)
    assert (found.state, found.clock.paused, found.clock.left) == ("paused", True, 50 * 60.0)
    assert machines(exam) == {DomainState.PAUSED}
    assert machines(exam, "small-c003") == {DomainState.RUNNING}
    act(exam, "resume", "001")
    assert page(exam).state == "working"
    assert {entry.who for entry in (*exam.one().entries(Act.PAUSE), *exam.one().entries(Act.RESUME))} == {
        "garde (portal)"
    }


def test_a_freeze_cuts_the_candidate_off(exam: Examination) -> None:
    exam.start()
    act(exam, "freeze", "001")
    wait_for(lambda: exam.one().frozen is Frozen.YES)
    found = page(exam)
    assert (found.state, found.clock.left) == ("frozen", None)
    assert "frozen" in found.said
    ticket = ConsoleTicket(token=exam.desk.tokens["c001"], lab=LAB, node="desk", mode=ConsoleMode.TEXT)
    with pytest.raises(NotDone) as refused:
        exam.desk.client.ask(ticket)
    assert refused.value.refusal is Refusal.NOT_NOW
    assert page(exam, "c003").state == "working"


def test_a_message_reaches_whom_it_is_for(exam: Examination) -> None:
    exam.start()
    act(exam, "message", "001", text="raise <b>")
    act(exam, "message", text="ten minutes")
    assert [one.text for one in page(exam).messages] == ["ten minutes", "raise <b>"]
    assert [one.text for one in page(exam, "c002").messages] == ["ten minutes"]


def test_an_incident_gives_the_time_that_it_is_worth(exam: Examination) -> None:
    exam.start()
    act(exam, "incident", "001", text="fire alarm", minutes=2.5)
    assert page(exam).clock.left == 62.5 * 60
    assert exam.one().entries(Act.INCIDENT)[-1].facts["compensation"] == 150.0


@pytest.mark.parametrize(
    ("verb", "numbers", "said"),
    [
        ("resume", ("001",), "is not paused"), ("extend", ("001",), "between a second"),
        ("pause", ("nobody",), "no candidate"), ("pause", (), "choose a candidate"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_changes_nothing(exam: Examination, verb: str, numbers: tuple[str, ...], said: str) -> None:
    exam.start()
    before = exam.session.read().seq
    request = {"token": exam.desk.tokens["garde"], "language": "en", "session": SESSION, "verb": verb, "text": WHY}
    try:
        done = exam.desk.client.ask(ExamAct.model_validate({**request, "numbers": numbers}))
        told = "".join(done.refused.values())
    except NotDone as exc:
        told = exc.message
    assert said in told
    assert exam.session.read().seq == before


def test_the_board_has_clocks_machines_consoles_and_the_heartbeat(exam: Examination) -> None:
    exam.start()
    token = exam.desk.tokens["garde"]
    board = exam.desk.client.ask(AskExamBoard(token=token, language="en", session=SESSION))
    assert [row.number for row in board.rows] == ["001", "002", "003"]
    assert {node.state for row in board.rows for node in row.nodes} == {"running"}
    assert not board.supervisor.alive
    assert [alert.urgent for alert in board.alerts] == [True]
    name = f"{LAB}.server"
    exam.desk.world.domains[name] = type(exam.desk.world.domains[name])(
        **{**exam.desk.world.domains[name].__dict__, "state": DomainState.CRASHED}
    )
    exam.desk.office.watch.look_at(LAB)

    def alerts() -> list[str]:
        rows = exam.desk.client.ask(AskExamBoard(token=token, language="en", session=SESSION)).rows
        return [alert.text for alert in rows[0].alerts if "crashed" in alert.text]

    assert wait_for(alerts) == ["server crashed"]
    assert [one.session for one in exam.desk.client.ask(AskExams(token=token, language="en")).exams] == [SESSION]
    with pytest.raises(NotDone):
        exam.desk.client.ask(AskExamBoard(token=token, language="en", session="other"))


def test_a_reset_is_counted_and_leaves_the_links_pulled(exam: Examination) -> None:
    exam.start()
    pulled = set(exam.cables.down)
    assert pulled
    token = exam.desk.tokens["c001"]
    assert page(exam).resets_left == 1
    exam.desk.client.ask(ExamReset(token=token, language="en", nodes=("server",)))
    wait_for(lambda: ended(exam, Act.RESET))
    assert [one.step for one in exam.one().entries(Act.RESET)] == [Step.BEGUN, Step.DONE]
    assert exam.one().entries(Act.RESET)[0].who == "c001 (portal)"
    assert exam.cables.down == pulled
    assert page(exam).resets_left == 0
    with pytest.raises(NotDone) as refused:
        exam.desk.client.ask(ExamReset(token=token, language="en", nodes=("desk",)))
    assert refused.value.message == "you have no reset left: raise your hand"
    with pytest.raises(NotDone):
        exam.desk.client.ask(ExamReset(token=exam.desk.tokens["c002"], language="en"))  # one machine at a time


def test_a_reset_that_runs_after_the_freeze_is_not_done(exam: Examination) -> None:
    exam.start()
    office = exam.desk.office
    before = {name for name in exam.desk.world.domains if name.startswith(LAB)}
    freeze(exam.conduct, ("001",), WHY)
    room = office.room
    with pytest.raises(NotDone):
        exam.desk.client.ask(ExamReset(token=exam.desk.tokens["c001"], language="en", nodes=("server",)))
    with pytest.raises(Exception, match="stand still now"):
        room.require_work(exam.session, "001")
    assert {name for name in exam.desk.world.domains if name.startswith(LAB)} == before
    assert machines(exam) == {DomainState.PAUSED}


def test_a_machine_that_is_off_is_switched_on_again(exam: Examination) -> None:
    exam.start()
    name = f"{LAB}.desk"
    seen = exam.desk.world.domains[name]
    exam.desk.world.domains[name] = type(seen)(**{**seen.__dict__, "state": DomainState.STOPPED})
    exam.desk.office.watch.look_at(LAB)
    wait_for(lambda: [node for node in page(exam).nodes if node.state == "stopped"])
    token = exam.desk.tokens["c001"]
    with pytest.raises(NotDone, match="not off"):
        exam.desk.client.ask(ExamWake(token=token, language="en", node="server"))
    exam.desk.client.ask(ExamWake(token=token, language="en", node="desk"))
    wait_for(lambda: machines(exam) == {DomainState.RUNNING})


def test_a_log_that_was_changed_opens_no_lab(exam: Examination) -> None:
    exam.start()
    text = exam.session.audit.read_text(encoding="utf-8")
    exam.session.audit.write_text(text + '{"seq": 99}\n', encoding="utf-8")
    exam.desk.office.exams.standing(SESSION)
    assert exam.desk.office.exams.trouble(SESSION)
    token = exam.desk.tokens["petit"]
    with pytest.raises(NotDone) as refused:
        exam.desk.client.ask(ConsoleTicket(token=token, lab=LAB, node="desk", mode=ConsoleMode.TEXT))
    assert refused.value.refusal is Refusal.FORBIDDEN
    board = exam.desk.client.ask(AskExamBoard(token=exam.desk.tokens["garde"], language="en", session=SESSION))
    assert any(alert.urgent and "audit.jsonl" in alert.text for alert in board.alerts)


def test_a_line_of_the_log_reaches_candidate_and_proctor_at_once(exam: Examination) -> None:
    heard: dict[str, list[Event]] = {}
    stopping = threading.Event()
    office = exam.desk.office
    following = threading.Thread(
        target=follow_exams, args=(office.exams, office.look_at_exam, office.exam_changed, stopping.wait), daemon=True
    )
    following.start()

    def listen(name: str) -> None:
        with suppress(NotDone):  # the worker goes
            for event in exam.desk.client.listen(Subscribe(token=exam.desk.tokens[name], language="en")):
                heard.setdefault(name, []).append(event)

    for name in ("c001", "garde", "petit"):
        threading.Thread(target=listen, args=(name,), daemon=True).start()
    wait_for(lambda: office.hub.count() == 3)
    time.sleep(0.5)
    exam.conduct.session.note(Act.MESSAGE, "001", text="hello")  # as another process does
    wait_for(
        lambda: {"c001", "garde"} <= {name for name, events in heard.items() if "exam" in {e.kind for e in events}}
    )
    assert "petit" not in {name for name, events in heard.items() if "exam" in {e.kind for e in events}}
    assert {e.lab for e in heard["c001"] if e.kind == "exam"} == {LAB}
    stopping.set()
    following.join(5)


def test_time_alone_changes_a_board(exam: Examination) -> None:
    exam.start()
    standing, now = exam.session.read(), exam.clock.hour
    assert not passes(standing, now, now + timedelta(minutes=1))
    assert passes(standing, now + timedelta(minutes=54), now + timedelta(minutes=56))
    assert passes(standing, now + timedelta(minutes=59), now + timedelta(minutes=60))


def test_accounts_of_candidates_have_numbers_and_codes(exam: Examination) -> None:
    accounts = exam.desk.office.accounts
    row = accounts.find("c001")
    assert row
    assert (row.shown, row.role, row.classes) == ("001", Role.CANDIDATE, frozenset({SESSION}))
    again = enrol_candidates(accounts, SESSION, exam.session.read().candidates)
    session = accounts.log_in("C001", again[0].code, "10.0.0.2")
    accounts.choose_password(session.row, "", "quatre mots sans rapport", "10.0.0.2")
    kept = enrol_candidates(accounts, SESSION, exam.session.read().candidates)
    assert [bool(one.code) for one in kept] == [False, True, True]
    moved = enrol_candidates(accounts, "e6-2028", exam.session.read().candidates)
    assert all(one.code for one in moved), "a rehearsal's password is worth nothing in the exam"


def test_a_student_of_the_same_name_gets_no_lab_of_the_exam(exam: Examination) -> None:
    accounts = exam.desk.office.accounts
    accounts.set_account("c003", "Zoé", Role.STUDENT, ())
    row = accounts.find("c003")
    assert row
    token = accounts.begin_session(row, "", must_choose=False).token
    assert exam.desk.client.ask(AskMyLabs(token=token)).labs == ()
    with pytest.raises(Exception, match="already"):
        enrol_candidates(accounts, SESSION, exam.session.read().candidates)
