"""Requests about one lab: what its page shows, and what may be done with it."""

from contextlib import suppress
from dataclasses import dataclass

from labctl.checks.hints import steps_of
from labctl.checks.model import Result
from labctl.errors import LabctlError
from labctl.lab.checkpoint import checkpoints_of
from labctl.lab.status import LabStatus
from labctl.language import _, current_language
from labctl.topology.model import Check
from labctl.worker.answers import (
    Accepted,
    CheckLine,
    CheckpointLine,
    Done,
    Drawing,
    Event,
    Feedback,
    Hints,
    Jobs,
    LabLine,
    LabSheet,
    MyLabs,
    Statement,
    Ticket,
)
from labctl.worker.authority import RULES, About
from labctl.worker.describing import describe_checks, describe_lab, describe_message, describe_nodes
from labctl.worker.gate import Gate
from labctl.worker.idling import NAPPING
from labctl.worker.office import Caller, Office
from labctl.worker.records import now
from labctl.worker.requests import (
    AnswerCall,
    AskDrawing,
    AskFeedback,
    AskHint,
    AskJobs,
    AskLab,
    AskMyLabs,
    AskStatement,
    CallTrainer,
    CheckpointRemove,
    CheckpointRestore,
    CheckpointSave,
    ConsoleTicket,
    Reset,
    RunChecks,
    Suspend,
    Wake,
)
from labctl.worker.values import LabState, Refusal, Role
from labctl.worker.watch import state_of
from labctl.worker.wire import NotDone

SHOWN_JOBS = 12
MOST_CHECKPOINTS = 5  # of a student's lab; each takes as much disk as the lab has written


@dataclass(frozen=True)
class OwnLab:
    """Answers requests about labs for whoever may."""

    office: Office
    gate: Gate

    def status(self, lab: str) -> LabStatus:
        """Return how a lab is. Raises NotDone for one that is not there any more."""
        status = self.office.watch.find(lab)
        if status is None:
            raise NotDone(Refusal.UNKNOWN, _("there is no such lab"))
        return status

    def line(self, status: LabStatus, names: dict[str, str]) -> LabLine:
        """Return a lab as a line."""
        title = status.topology
        with suppress(LabctlError):  # a copy that cannot be read must not hide the lab
            title = self.office.library.topology(status.name).title.pick(current_language())
        owner = names.get(status.owner, status.owner)
        awake = state_of(status) in NAPPING
        ends = self.office.idling.suspend_at(status.name, self.office.records.visits()) if awake else ""
        line = describe_lab(status, title, owner, self.office.newest_job(status.name), ends)
        return line.model_copy(update={"ends": self.office.records.end_of(status.owner)})

    def my_labs(self, caller: Caller, _request: AskMyLabs) -> MyLabs:
        """Return the labs of a person."""
        names = {caller.name: caller.account.shown}
        examined = self.office.exams.seats()
        mine = [one for one in self.office.watch.labs() if one.owner == caller.name and one.name not in examined]
        return MyLabs(labs=tuple(self.line(one, names) for one in mine))

    def show(self, caller: Caller, request: AskLab) -> LabSheet:
        """Return one lab; its owner's visit wakes it."""
        office, status = self.office, self.status(request.lab)
        if caller.name == status.owner:
            office.visit(status.name)
            if state_of(status) is LabState.SUSPENDED:
                office.wish(caller, "wake", status)
        topology = office.library.topology(status.name)
        holders = office.consoles.holders(status.name) if office.consoles else {}
        stored = office.place.store.outcomes().get(status.name, ())
        jobs = office.jobs.history([status.name], SHOWN_JOBS)
        return LabSheet(
            line=self.line(status, office.names()),
            description=topology.description.pick(current_language()),
            nodes=describe_nodes(status, topology, holders),
            checkpoints=tuple(
                CheckpointLine(name=one.id, kept=one.built, by=one.by, bytes=one.bytes())
                for one in checkpoints_of(office.place, status.name)
            ),
            jobs=tuple(office.line(job) for job in jobs),
            verbs=self.verbs(caller, status.name),
            exam=seat.session if (seat := office.exams.seat(status.name)) else "",
            checked_at=max((one.at for one in stored), default=""),
        )

    def verbs(self, caller: Caller, lab: str) -> dict[str, str]:
        """Return each verb of a lab: "" where the person may now, else why not."""
        verdicts = {verb: self.gate.judge(caller, verb, lab) for verb, rule in RULES.items() if rule.about is About.LAB}
        return {verb: verdict.tell() if verdict else "" for verb, verdict in verdicts.items()}

    def statement(self, _caller: Caller, request: AskStatement) -> Statement:
        """Return the text of a lab."""
        return self.office.library.statement(self.status(request.lab).name)

    def drawing(self, _caller: Caller, request: AskDrawing) -> Drawing:
        """Return the drawing of a lab."""
        return self.office.library.drawing(self.status(request.lab).name)

    def jobs(self, caller: Caller, request: AskJobs) -> Jobs:
        """Return the jobs of a lab, or of all that a person may see."""
        if request.lab is not None:
            found = self.office.jobs.history([request.lab], SHOWN_JOBS)
        else:
            labs = [one.name for one in self.office.watch.labs() if self.gate.judge(caller, "lab", one.name) is None]
            found = self.office.jobs.history(labs, 100)
        return Jobs(jobs=tuple(self.office.line(job) for job in found))

    def feedback(self, _caller: Caller, request: AskFeedback) -> Feedback:
        """Return the last results of a lab's checks as a student may see them."""
        status = self.status(request.lab)
        stored = {one.check: one for one in self.office.place.store.outcomes().get(status.name, ())}
        asked = self.office.records.hints(status.name, status.made)
        topology = self.office.library.topology(status.name)
        lines = tuple(
            describe_check(check, stored[check.id].result if check.id in stored else "", asked.get(check.id, 0))
            for check in topology.checks
        )
        at = max((one.at for one in stored.values()), default="")
        return Feedback(lab=status.name, at=at, counts=describe_checks(status.checks), checks=lines)

    def hint(self, caller: Caller, request: AskHint) -> Hints:
        """Return the first hints of a check that has not passed; that they were asked for is kept."""
        status = self.status(request.lab)
        checks = {check.id: check for check in self.office.library.topology(status.name).checks}
        if request.check not in checks:
            raise NotDone(Refusal.UNKNOWN, _("this lab has no such check"))
        stored = {one.check: one.result for one in self.office.place.store.outcomes().get(status.name, ())}
        if stored.get(request.check) == Result.PASSED:
            return Hints(check=request.check)
        steps = steps_of(checks[request.check], current_language())
        count = min(request.n, len(steps))
        if caller.role is Role.STUDENT:
            self.office.records.note_hints(status.name, request.check, count, status.made)
        self.office.log(caller, "hint", lab=status.name, owner=status.owner, detail=f"{request.check} {count}")
        return Hints(check=request.check, hints=tuple(steps[:count]), left=len(steps) - count)

    def run_checks(self, caller: Caller, request: RunChecks) -> Accepted:
        """Have the checks of a lab run."""
        return self.accept(caller, "run_checks", request.lab)

    def reset(self, caller: Caller, request: Reset) -> Accepted:
        """Have machines made anew."""
        nodes = self.require_nodes(request.lab, request.nodes)
        if request.keep_checkpoint is not None:
            self.require_room(caller, request.lab, request.keep_checkpoint)
        return self.accept(caller, "reset", request.lab, nodes=nodes, keep_checkpoint=request.keep_checkpoint or "")

    def require_nodes(self, lab: str, nodes: tuple[str, ...]) -> list[str]:
        """Return machines of a lab, sorted, none where all are meant. Raises NotDone for an unknown one."""
        known = self.office.library.topology(self.status(lab).name).nodes
        if unknown := [node for node in nodes if node not in known]:
            text = _('this lab has no machine "{node}"')
            raise NotDone(Refusal.UNKNOWN, text.format(node=unknown[0]))
        return sorted({*nodes}) if {*nodes} != {*known} else []

    def require_room(self, caller: Caller, lab: str, name: str) -> None:
        """Raise NotDone where a checkpoint of this name exists, or a student has kept enough of them."""
        kept = checkpoints_of(self.office.place, lab)
        if any(one.id == name for one in kept):
            text = _('there is a checkpoint "{name}" already; choose another name')
            raise NotDone(Refusal.NOT_NOW, text.format(name=name))
        if caller.role is Role.STUDENT and len(kept) >= MOST_CHECKPOINTS:
            text = _("{count} checkpoints are kept already: delete one first")
            raise NotDone(Refusal.NOT_NOW, text.format(count=len(kept)))

    def require_checkpoint(self, lab: str, name: str) -> None:
        """Raise NotDone where a lab has no such checkpoint."""
        if all(one.id != name for one in checkpoints_of(self.office.place, lab)):
            raise NotDone(Refusal.UNKNOWN, _("there is no such checkpoint"))

    def checkpoint_save(self, caller: Caller, request: CheckpointSave) -> Accepted:
        """Have a lab kept as it is."""
        self.require_room(caller, request.lab, request.name)
        return self.accept(caller, "checkpoint_save", request.lab, name=request.name)

    def checkpoint_restore(self, caller: Caller, request: CheckpointRestore) -> Accepted:
        """Have a lab brought back."""
        self.require_checkpoint(request.lab, request.name)
        return self.accept(caller, "checkpoint_restore", request.lab, name=request.name)

    def checkpoint_remove(self, caller: Caller, request: CheckpointRemove) -> Accepted:
        """Have a checkpoint deleted."""
        self.require_checkpoint(request.lab, request.name)
        return self.accept(caller, "checkpoint_remove", request.lab, name=request.name)

    def wake(self, caller: Caller, request: Wake) -> Accepted:
        """Have a lab run again."""
        return self.accept(caller, "wake", request.lab)

    def suspend(self, caller: Caller, request: Suspend) -> Accepted:
        """Have a lab stand still."""
        return self.accept(caller, "suspend", request.lab)

    def accept(self, caller: Caller, verb: str, lab: str, **details: object) -> Accepted:
        """Store a wish about a lab."""
        status = self.status(lab)
        if caller.name == status.owner:
            self.office.visit(lab)
        job, new = self.office.wish(caller, verb, status, **details)
        return Accepted(job=job, new=new)

    def console_ticket(self, caller: Caller, request: ConsoleTicket) -> Ticket:
        """Give a ticket for a console."""
        status = self.status(request.lab)
        self.require_nodes(request.lab, (request.node,))
        if self.office.consoles is None:
            raise NotDone(Refusal.HOST_NOT_READY, _("there are no consoles here"))
        if caller.name == status.owner:
            self.office.visit(status.name)
        return self.office.consoles.ticket(caller, request)

    def call_trainer(self, caller: Caller, request: CallTrainer) -> Done:
        """Call the trainer; a call that was not answered yet is replaced."""
        status = self.status(request.lab)
        self.office.records.answer_calls(status.name)
        self.office.records.add_message(caller.name, [""], request.text, status.name, call=True)
        self.office.log(caller, "call", lab=status.name, owner=status.owner, detail=request.text)
        message = describe_message(self.office.records.calls()[status.name], {caller.name: caller.account.shown})
        event = Event(kind="call", at=now(), lab=status.name, owner=status.owner, message=message)
        self.office.hub.publish(lambda _language: event, status.name, status.owner)
        return Done(said=_("the trainer has been called"))

    def answer_call(self, caller: Caller, request: AnswerCall) -> Done:
        """Note that a call was answered."""
        status = self.status(request.lab)
        if self.office.records.answer_calls(status.name):
            self.office.log(caller, "call answered", lab=status.name, owner=status.owner)
            event = Event(kind="call", at=now(), lab=status.name, owner=status.owner)
            self.office.hub.publish(lambda _language: event, status.name, status.owner)
        return Done()


def describe_check(check: Check, result: str, asked: int) -> CheckLine:
    """Return a check as a student may see it, with the hints that were asked for."""
    language = current_language()
    steps = [] if result == Result.PASSED else steps_of(check, language)
    words = {"passed": _("passed"), "failed": _("failed"), "unknown": _("could not be checked")}
    return CheckLine(
        id=check.id, title=check.title.pick(language), competency=check.competency, result=result,
        words=words.get(result, _("not run yet")), hints=tuple(steps[:asked]), hints_left=len(steps[asked:]),
        after_reboot=check.after_reboot,
    )  # fmt: skip
