"""Requests of a candidate: their demand, their clock, their machines, what the proctor says, and a reset if allowed."""

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from labctl.errors import LabctlError
from labctl.exam.documents.folder import FolderMaterial
from labctl.exam.standing import CandidateStanding, Standing
from labctl.language import _, current_language
from labctl.shipped import shipped_folder
from labctl.topology.model import Topology
from labctl.worker.answers import Accepted
from labctl.worker.exam_answers import ExamPage
from labctl.worker.exam_authority import ExamState
from labctl.worker.exam_requests import AskExam, ExamReset, ExamWake
from labctl.worker.exam_resets import explain_no_reset, reset_scope, resets_left
from labctl.worker.exam_words import (
    describe_clock,
    describe_machines,
    explain_state,
    read_messages,
    seen_machines,
    state_words,
    write_demand,
)
from labctl.worker.exams import Seat
from labctl.worker.gate import Gate
from labctl.worker.office import Caller, Office
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

LOG = logging.getLogger("labctl.worker")


@dataclass(frozen=True)
class CandidateRoom:
    """Answers candidates about their own exam. Demands are kept once read: a page must not take a file each time."""

    office: Office
    gate: Gate
    demands: dict[tuple[str, str, str], str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, caller: Caller) -> tuple[Seat, Standing, CandidateStanding]:
        """Return the seat of a candidate. Raises NotDone for one whose session is gone."""
        seat = next((one for one in map(self.gate.seat_of(caller), sorted(caller.classes)) if one), None)
        found = self.office.exams.of_candidate(seat.session, caller.name) if seat else None
        if seat is None or found is None:
            raise NotDone(Refusal.UNKNOWN, _("there is no exam for this account"))
        return seat, *found

    def show(self, caller: Caller, _request: AskExam) -> ExamPage:
        """Return the page of a candidate."""
        seat, standing, one = self.find(caller)
        now, language = self.office.exams.clock.read().hour, current_language()
        shown = seat.state is not ExamState.ENDED and bool(one.clocks)
        status = self.office.watch.find(seat.lab) if shown else None
        machines = bool(one.practical) and status is not None
        return ExamPage(
            session=seat.session, number=one.number, title=standing.text(f"title_{language}"),
            rehearsal=standing.rehearsal, lab=seat.lab, state=seat.state, words=state_words(seat.state),
            said=explain_state(seat.state, one.phase), clock=describe_clock(standing, one, now),
            markdown=self.demand(seat, one) if shown else "",
            nodes=describe_machines(status, self.topology(seat.lab)) if machines else (),
            messages=read_messages(standing, one), scope=reset_scope(standing), resets_left=resets_left(standing, one),
            job=self.office.newest_job(seat.lab), verbs=self.verbs(caller, seat, standing, one),
            trouble=self.office.exams.trouble(seat.session),
        )  # fmt: skip

    def topology(self, lab: str) -> Topology | None:
        """Return the topology of a lab with its owner's values, None where it cannot be read."""
        with suppress(LabctlError):
            return self.office.library.topology(lab)
        return None

    def demand(self, seat: Seat, one: CandidateStanding) -> str:
        """Return the demand of a candidate with their own values, "" where it cannot be read."""
        key = (seat.session, one.number, current_language())
        with self.lock:
            if key not in self.demands:
                session = self.office.exams.session(seat.session)
                try:
                    material = FolderMaterial(session, self.office.place.catalogue, shipped_folder("topologies"))
                    self.demands[key] = write_demand(material.own(one).paper.exam.demand)
                except LabctlError as exc:  # sealed, or broken: clock and machines matter more
                    LOG.warning("%s", exc.message)
                    return ""
            return self.demands[key]

    def verbs(self, caller: Caller, seat: Seat, standing: Standing, one: CandidateStanding) -> dict[str, str]:
        """Return what a candidate may do: "" where they may now, else why not."""
        found = {verb: self.gate.judge_seat(caller, verb, seat) for verb in ("console", "exam_reset", "exam_wake")}
        said = {verb: verdict.tell() if verdict else "" for verb, verdict in found.items()}
        some = ("",) if reset_scope(standing) == "machine" else ()
        said["exam_reset"] = said["exam_reset"] or explain_no_reset(standing, one, some)
        return said

    def reset(self, caller: Caller, request: ExamReset) -> Accepted:
        """Have machines made anew, as the exam allows; its log has it once it begins."""
        seat, standing, one = self.find(caller)
        nodes = self.known_nodes(seat, request.nodes)
        if reason := explain_no_reset(standing, one, nodes):
            raise NotDone(Refusal.NOT_NOW, reason)
        return self.accept(caller, "exam_reset", seat, nodes)

    def wake(self, caller: Caller, request: ExamWake) -> Accepted:
        """Have a machine switched on."""
        seat, _standing, _one = self.find(caller)
        nodes = self.known_nodes(seat, (request.node,))
        if seen_machines(self.office.watch.find(seat.lab)).get(request.node) not in {"stopped", "crashed"}:
            raise NotDone(Refusal.NOT_NOW, _("this machine is not off"))
        return self.accept(caller, "exam_wake", seat, nodes)

    def known_nodes(self, seat: Seat, nodes: tuple[str, ...]) -> list[str]:
        """Return machines of a lab, sorted. Raises NotDone for an unknown one."""
        known = seen_machines(self.office.watch.find(seat.lab))
        for node in nodes:
            if node not in known:
                raise NotDone(Refusal.UNKNOWN, _('this lab has no machine "{node}"').format(node=node))
        return sorted({*nodes})

    def accept(self, caller: Caller, verb: str, seat: Seat, nodes: list[str]) -> Accepted:
        """Store a wish about the lab of a candidate."""
        status = self.office.watch.find(seat.lab)
        if status is None:
            raise NotDone(Refusal.UNKNOWN, _("there is no such lab"))
        details = {"session": seat.session, "number": seat.number, "nodes": nodes}
        job, new = self.office.wish(caller, verb, status, **details)
        return Accepted(job=job, new=new)
