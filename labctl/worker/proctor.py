"""Requests of proctors: the sessions, the board of one, and their acts, done by the functions of the command line."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from labctl.crew import Crew
from labctl.errors import LabctlError
from labctl.exam import acts
from labctl.exam.audit import utc_text
from labctl.exam.board import Alert, Row, Seen, make_board
from labctl.exam.conduct import Became, Conduct, Results
from labctl.exam.freezing import freeze
from labctl.exam.rules import stage_text
from labctl.exam.standing import Standing
from labctl.lab.lock import acting_for
from labctl.language import _, current_language
from labctl.worker.exam_answers import BoardAlert, ExamActed, ExamBoard, ExamLine, ExamRow, Exams, Supervision
from labctl.worker.exam_authority import exam_state
from labctl.worker.exam_requests import AskExamBoard, AskExams, ExamAct
from labctl.worker.exam_words import describe_clock, describe_machines, seen_machines, state_words
from labctl.worker.office import Caller, Office
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

WAIT = 8.0  # seconds that a page waits for an act; a freeze goes on copying for longer, and the board shows it
SIDE_BY_SIDE = 8
LOG = logging.getLogger("labctl.worker")


def new_crew() -> Crew:
    """Return the threads that acts go on in when nobody waits for them any more."""
    return Crew(SIDE_BY_SIDE, thread_name_prefix="exam")


@dataclass(frozen=True)
class ProctorRoom:
    """Answers proctors and administrators."""

    office: Office
    wait: float = WAIT
    crew: Crew = field(default_factory=new_crew)

    def exams(self, _caller: Caller, _request: AskExams) -> Exams:
        """Return the sessions of this host."""
        language, lines = current_language(), []
        for name in self.office.exams.names():
            standing = self.office.exams.standing(name)
            lines.append(
                ExamLine(
                    session=name, stage=standing.stage, words=stage_text(standing.stage),
                    title=standing.text(f"title_{language}"), rehearsal=standing.rehearsal,
                    candidates=len(standing.candidates),
                )
            )  # fmt: skip
        return Exams(exams=tuple(lines))

    def standing(self, session: str) -> Standing:
        """Return the standing of a session. Raises NotDone for one that does not exist."""
        if session not in self.office.exams.names():
            raise NotDone(Refusal.UNKNOWN, _("there is no such exam session"))
        return self.office.exams.standing(session)

    def board(self, _caller: Caller, request: AskExamBoard) -> ExamBoard:
        """Return the board of a session, with what is seen of machines and consoles."""
        standing, now = self.standing(request.session), self.office.exams.clock.read().hour
        beat, alive = self.office.exams.supervision()
        board = make_board(request.session, standing, now, self.look(standing, supervised=alive))
        connected = self.office.hub.connected()
        rows = tuple(self.row(standing, row, now, connected) for row in board.rows)
        looked, following = (utc_text(beat.looked), beat.next_freeze) if beat else ("", None)
        return ExamBoard(
            session=request.session, title=standing.text(f"title_{current_language()}"), stage=board.stage,
            words=board.stage_words, rehearsal=board.rehearsal, at=utc_text(now), rows=rows,
            alerts=(*map(describe_alert, board.alerts), *self.broken(request.session)),
            supervisor=Supervision(alive=alive, looked=looked, next_freeze=utc_text(following) if following else ""),
        )  # fmt: skip

    def broken(self, session: str) -> tuple[BoardAlert, ...]:
        """Return what is wrong with the log of a session."""
        trouble = self.office.exams.trouble(session)
        return (BoardAlert(text=trouble, urgent=True),) if trouble else ()

    def look(self, standing: Standing, *, supervised: bool) -> Seen:
        """Return what is seen beside the log; of machines nothing while libvirt is away."""
        office, machines, consoles = self.office, {}, {}
        for number, one in standing.candidates.items():
            if not office.watch.trouble:
                machines[number] = seen_machines(office.watch.find(one.lab))
            holders = office.consoles.holders(one.lab) if office.consoles else {}
            consoles[number] = sum(len(names) for names in holders.values())
        return Seen(machines, consoles, supervised)

    def row(self, standing: Standing, row: Row, now: datetime, connected: frozenset[str]) -> ExamRow:
        """Return the row of one candidate."""
        one = standing.candidates[row.number]
        state = exam_state(standing.stage, one)
        return ExamRow(
            number=row.number, lab=row.lab, state=state, words=state_words(state),
            clock=describe_clock(standing, one, now), nodes=describe_machines(self.office.watch.find(row.lab), None),
            consoles=row.consoles or 0, connected=one.owner in connected, alerts=tuple(map(describe_alert, row.alerts)),
        )  # fmt: skip

    def act(self, caller: Caller, request: ExamAct) -> ExamActed:
        """Do an act for candidates; who did it stands in the log of the session."""
        standing = self.standing(request.session)
        numbers = () if request.everybody else request.numbers
        if unknown := [number for number in numbers if number not in standing.candidates]:
            text = _('there is no candidate "{number}" in this session')
            raise NotDone(Refusal.UNKNOWN, text.format(number=unknown[0]))
        if not numbers and not request.everybody:
            raise NotDone(Refusal.MALFORMED, _("choose a candidate first"))
        conduct = self.office.room.conduct(self.office.exams.session(request.session))
        detail = f"{request.session} {', '.join(numbers) or '*'}: {request.text[:200]}"
        self.office.log(caller, f"exam {request.verb}", detail=detail)
        with acting_for(f"{caller.name} (portal)"):
            future = self.crew.submit(DEEDS[request.verb], conduct, numbers, request)
        try:
            return describe_results(future.result(self.wait), standing, numbers)
        except TimeoutError:
            future.add_done_callback(tell_failure)
            return ExamActed(under_way=numbers or tuple(standing.candidates))


Deed = Callable[[Conduct, tuple[str, ...], ExamAct], Results]


def send(conduct: Conduct, numbers: tuple[str, ...], request: ExamAct) -> Results:
    """Tell candidates something."""
    acts.message(conduct, numbers, request.text)
    return {}


DEEDS: dict[str, Deed] = {
    "extend": lambda c, numbers, r: acts.extend(c, numbers, timedelta(minutes=r.minutes), r.text),
    "pause": lambda c, numbers, r: acts.pause(c, numbers, r.text),
    "resume": lambda c, numbers, r: acts.resume(c, numbers, r.text),
    "freeze": lambda c, numbers, r: freeze(c, numbers, acts.refuse_no_reason(r.text)),
    "message": send,
    "incident": lambda c, numbers, r: acts.note_incident(c, numbers, r.text, timedelta(minutes=r.minutes)),
}


def tell_failure(future: "Future[Results]") -> None:
    """Tell of an act that failed when nobody waited for it any more; the log of its session has what became of it."""
    if isinstance(error := future.exception(), LabctlError):
        LOG.error("%s", error.message)
    elif error:
        LOG.error("an act of a proctor failed", exc_info=error)


def describe_results(results: Results, standing: Standing, numbers: tuple[str, ...]) -> ExamActed:
    """Return what became of each; a message, or a note on all, has no results but that it is written."""
    if not results:
        return ExamActed(done=numbers or tuple(standing.candidates))
    bad = {Became.REFUSED, Became.FAILED}
    return ExamActed(
        done=tuple(n for n, one in results.items() if one.became is Became.DONE),
        already=tuple(n for n, one in results.items() if one.became is Became.ALREADY),
        refused={n: one.reason for n, one in results.items() if one.became in bad},
    )


def describe_alert(alert: Alert) -> BoardAlert:
    """Return an alert."""
    return BoardAlert(text=alert.text, urgent=alert.urgent, why=alert.why)
