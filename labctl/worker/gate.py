"""Every request is stopped here: whose session it is, what it is about, and whether they may, now, in this state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labctl.lab.barring import is_barred
from labctl.lab.status import LabStatus
from labctl.language import N_, _
from labctl.worker.authority import BEFORE_PASSWORD, RULES, Relation, Verdict, decide, relate, relate_class
from labctl.worker.exam_authority import ExamState, decide_exam, exam_state
from labctl.worker.exam_requests import EXAM_KINDS
from labctl.worker.exams import Seat
from labctl.worker.office import Caller, Office
from labctl.worker.records import Line
from labctl.worker.requests import Ask, ConsoleTicket, NewCode, OpenConsole
from labctl.worker.throttle import Buckets
from labctl.worker.values import Refusal, Role
from labctl.worker.watch import state_of
from labctl.worker.wire import NotDone

# Verbs that may be about a lab, a class, or nothing of them, and the rule for each.
BY_OBJECT = {
    "report": ("report_lab", "report_class", "report_lab"), "log": ("log_lab", "log_class", "log"),
    "accounts": ("accounts", "accounts_class", "accounts"), "jobs": ("lab", "jobs", "jobs"),
    "subscribe": ("lab", "board", "subscribe"),
}  # fmt: skip
LOOKS = frozenset({
    "whoami", "messages", "my_labs", "lab", "statement", "drawing", "jobs", "feedback", "classes", "board", "forecast",
    "log", "grid", "accounts", "subscribe", "exam", "exams", "exam_board",
})  # fmt: skip
BARRED = N_("this lab is closed: its exam has not begun, or its time is over")
NO_LAB, NO_CLASS = N_("there is no such lab"), N_("there is no such class")


@dataclass(frozen=True)
class Gate:
    """Lets requests in or refuses them; each refusal is in the log."""

    office: Office
    looks: Buckets = field(default_factory=lambda: Buckets(rate=40, burst=400))
    acts: Buckets = field(default_factory=lambda: Buckets(rate=2, burst=60))
    strangers: Buckets = field(default_factory=lambda: Buckets(rate=0.1, burst=10))

    def identify(self, request: Ask[Any], kind: str) -> Caller:
        """Return who asks. Raises NotDone without a session, or with one that must choose a password first."""
        session = self.office.accounts.find_session(request.token)
        if session is None:
            if request.token and self.strangers.take(request.address):
                line = Line("?", kind, detail=Refusal.LOGIN_NEEDED, address=request.address, refused=True)
                self.office.note(line)
            raise NotDone(Refusal.LOGIN_NEEDED, _("your session has ended: log in again"))
        if session.must_choose and kind not in BEFORE_PASSWORD:
            raise NotDone(Refusal.PASSWORD_TO_CHOOSE, _("choose a password of your own first"))
        name = session.account.name
        # A flood of acts would push the older lines out of the log, and others out of the queue.
        if not self.looks.take(name) or (kind not in LOOKS and not self.acts.take(name)):
            raise NotDone(Refusal.TOO_MANY, _("too many requests at once: wait a moment"), wait=2)
        return self.office.caller(session, request.address, request.language)

    def admit(self, caller: Caller, request: Ask[Any], kind: str) -> None:
        """Return where the person may, by what the request names. Raises NotDone, logged."""
        lab = getattr(request, "lab", None)
        class_name = getattr(request, "class_name", None)
        about_lab, about_class, otherwise = BY_OBJECT.get(kind, (kind, kind, kind))
        if isinstance(request, ConsoleTicket | OpenConsole):
            about_lab = "console_view" if request.view_only else "console"
        if lab is not None:
            self.require_lab(caller, about_lab, lab)
        elif class_name is not None:
            self.require_class(caller, about_class, class_name)
        elif kind in EXAM_KINDS:
            self.admit_exam(caller, kind)
        elif isinstance(request, NewCode):
            self.require_person(caller, kind, request.name)
        else:
            relation = Relation.OTHER if caller.role is Role.ADMIN else Relation.OWN
            verdict = decide(otherwise, caller.role, Relation.OWN) and decide(otherwise, caller.role, relation)
            self.refuse(caller, kind, verdict)

    def judge(self, caller: Caller, verb: str, lab: str) -> Verdict | None:
        """Return why somebody may not do something in a lab, None where they may."""
        if seat := self.office.exams.seat(lab):
            return self.judge_seat(caller, verb, seat)
        status = self.office.watch.find(lab)
        owner = status.owner if status else owner_of_unknown(lab, caller)
        relation = relate(caller.role, caller.name, caller.classes, owner, self.office.accounts.classes_of(owner))
        if status is None and caller.role is not Role.STUDENT and caller.role in RULES[verb].relations:
            return Verdict(Refusal.UNKNOWN, NO_LAB)
        verdict = decide(verb, caller.role, relation, state_of(status))
        if verdict is None and caller.role is Role.STUDENT and verb not in LOOKS:
            return Verdict(Refusal.NOT_NOW, BARRED) if is_barred(self.office.place.home, lab) else None
        return verdict

    def judge_seat(self, caller: Caller, verb: str, seat: Seat) -> Verdict | None:
        """Return why somebody may not do something in the lab of an exam, None where they may."""
        own = caller.role is Role.CANDIDATE and caller.name == seat.owner and seat.session in caller.classes
        verdict = decide_exam(verb, caller.role, Relation.OWN if own else Relation.OTHER, seat.state)
        if verdict is None and self.office.watch.find(seat.lab) is None:
            return Verdict(Refusal.UNKNOWN, NO_LAB)
        if verdict is None and own and is_barred(self.office.place.home, seat.lab):
            return Verdict(Refusal.NOT_NOW, BARRED)
        return verdict

    def admit_exam(self, caller: Caller, kind: str) -> None:
        """Return where somebody may ask this about exams. What concerns a lab of their own is judged by its state."""
        found = next((one for one in map(self.seat_of(caller), caller.classes) if one), None)
        state = found.state if found else ExamState.WAITING
        if kind in {"exam_reset", "exam_wake"} and found:
            self.refuse(caller, kind, self.judge_seat(caller, kind, found), lab=found.lab)
            return
        self.refuse(caller, kind, decide_exam(kind, caller.role, Relation.OWN, state))

    def seat_of(self, caller: Caller) -> Callable[[str], Seat | None]:
        """Return what finds the seat of a candidate in a session."""

        def find(session: str) -> Seat | None:
            if caller.role is not Role.CANDIDATE:
                return None
            found = self.office.exams.of_candidate(session, caller.name)
            if found is None:
                return None
            standing, one = found
            return Seat(session, one.number, one.owner, one.lab, exam_state(standing.stage, one))

        return find

    def require_lab(self, caller: Caller, verb: str, lab: str) -> LabStatus | None:
        """Return the state of a lab in which somebody may do something. Raises NotDone."""
        self.refuse(caller, verb, self.judge(caller, verb, lab), lab=lab)
        return self.office.watch.find(lab)

    def require_class(self, caller: Caller, verb: str, class_name: str) -> None:
        """Return where somebody may do something with a class that exists. Raises NotDone."""
        relation = relate_class(caller.role, caller.classes, class_name)
        self.refuse(caller, verb, decide(verb, caller.role, relation), detail=class_name)
        if class_name not in self.office.accounts.classes():
            self.refuse(caller, verb, Verdict(Refusal.UNKNOWN, NO_CLASS), detail=class_name)

    def require_person(self, caller: Caller, verb: str, name: str) -> None:
        """Return where somebody may do something with the account of a student, or an admin with any."""
        account = self.office.accounts.find(name)
        relation = relate(caller.role, caller.name, caller.classes, name, self.office.accounts.classes_of(name))
        if caller.role is not Role.ADMIN and (account is None or account.role is not Role.STUDENT):
            relation = Relation.OTHER
        self.refuse(caller, verb, decide(verb, caller.role, relation), detail=name)

    def refuse(self, caller: Caller, verb: str, verdict: Verdict | None, lab: str = "", detail: str = "") -> None:
        """Raise NotDone for a verdict, and write it into the log."""
        if verdict is not None:
            self.note_refusal(caller, verb, verdict.refusal, lab, detail)
            raise NotDone(verdict.refusal, verdict.tell())

    def note_refusal(self, caller: Caller, verb: str, refusal: Refusal, lab: str = "", detail: str = "") -> None:
        """Write into the log that somebody was refused something. A look that comes too early is no such thing."""
        if refusal is Refusal.NOT_NOW and verb in LOOKS:
            return
        line = Line(
            caller.name, verb, lab=lab, owner=caller.name, detail=" ".join(filter(None, [detail, refusal])),
            address=caller.address, refused=True,
        )  # fmt: skip
        if self.acts.take(caller.name):
            self.office.note(line)


def owner_of_unknown(lab: str, caller: Caller) -> str:
    """Return who would be the owner of a lab that does not exist: one's own may be gone, others' are nobody's."""
    return caller.name if lab.endswith(f"-{caller.name}") else ""
