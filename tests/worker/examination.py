"""A worker in whose home an exam is held: three candidates with labs of stand-ins, their accounts, a hand clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labctl.exam import acts
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Conduct
from labctl.exam.freezing import freeze
from labctl.exam.model import Phase
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding
from labctl.exam.start import start
from labctl.lab.barring import bar
from labctl.plan.observed import DomainState
from labctl.worker.candidates import enrol_candidates
from labctl.worker.console_room import Room
from labctl.worker.exam_authority import ExamState
from labctl.worker.exam_words import seen_machines
from labctl.worker.values import Role
from tests.exam.papers import write_exam
from tests.exam.sessions import HandClock, make_session
from tests.exam.test_machines import Cables
from tests.lab.doubles import World, make_place
from tests.worker.machines import Machines
from tests.worker.offices import Desk, make_labs, open_desk, wait_for

OWNERS = ("c001", "c002", "c003")
SESSION, LAB = "e6", "small-c001"
WHY = "a test"


@dataclass
class Examination:
    """A worker, and the session that it holds."""

    desk: Desk
    session: Session
    clock: HandClock
    cables: Cables

    @property
    def conduct(self) -> Conduct:
        """Return what conducts the session, as another process has it."""
        return self.desk.office.room.conduct(Session(self.session.folder, self.clock))

    def one(self, number: str = "001") -> CandidateStanding:
        return self.session.read().candidate(number)

    def start(self, phase: Phase = Phase.PRACTICAL, *numbers: str) -> None:
        start(self.conduct, numbers, phase)
        self.look()

    def look(self) -> None:
        """Let the worker see its labs anew, as libvirt's events make it do."""
        labs = [f"small-{owner}" for owner in OWNERS]
        self.desk.office.watch.look_at(*labs)
        wait_for(lambda: all(self.is_seen(lab) for lab in labs))

    def is_seen(self, lab: str) -> bool:
        """Return whether the worker knows which machines of a lab run."""
        runs = self.desk.world.domains[f"{lab}.desk"].state is DomainState.RUNNING
        return set(seen_machines(self.desk.office.watch.find(lab)).values()) == {"running" if runs else "paused"}

    def bring(self, state: ExamState) -> None:
        """Bring everybody's work from its beginning to a state."""
        if state is ExamState.WAITING:
            return
        self.start()
        if state is ExamState.PAUSED:
            acts.pause(self.conduct, (), WHY)
        if state in {ExamState.FROZEN, ExamState.SHOWING, ExamState.ENDED}:
            freeze(self.conduct, (), WHY)
        if state is ExamState.SHOWING:
            self.start(Phase.RECETTE)
        if state is ExamState.ENDED:
            acts.close(self.conduct, ())
        self.look()


def open_session(session: Session, conduct: Conduct) -> None:
    """Bring a session to where it can start: labs paused, candidates kept out."""
    for one in session.read().candidates.values():
        conduct.labs.suspend(one.lab)
        bar(session.folder.parents[1], one.lab)
        with session.doing(Act.PREPARE, one.number) as told:
            told["result"] = "ready"
    with session.writing() as log:
        for act in (Act.PREPARE, Act.SEAL, Act.OPEN):
            log.add(act, Step.BEGUN)
            log.add(act, Step.DONE)


@contextmanager
def open_examination(home: Path, machines: Machines | None = None, **rules: str | float) -> Iterator[Examination]:
    """Give an examination that is open, and that nobody has begun; `rules` change what the exam allows."""
    world, clock, cables = World(), HandClock(), Cables()
    make_labs(make_place(home, world), *OWNERS)
    allowed: dict[str, str | float] = {"reset": "machine", "resets": 1, **rules}
    session = make_session(home, clock, len(OWNERS), **allowed)
    write_exam(session.papers)
    with open_desk(home, world, Room(machines or Machines()), links=cables, clock=clock) as desk:
        desk.server.gate.acts.burst = desk.server.gate.looks.burst = 100_000.0
        found = Examination(desk, session, clock, cables)
        open_session(session, found.conduct)
        accounts = desk.office.accounts
        enrol_candidates(accounts, SESSION, session.read().candidates)
        accounts.set_account("petit", "Petit", Role.TRAINER, ("*",))
        accounts.enrol("other", "other.csv", [])
        for row in accounts.list_accounts():
            desk.tokens[row.name] = accounts.begin_session(row, "10.0.0.1", must_choose=False).token
        found.look()
        yield found
