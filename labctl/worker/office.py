"""Joins the rooms that answer requests: one workplace, its labs' states, accounts, jobs and listeners."""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from labctl.errors import LabctlError
from labctl.exam.moments import Clock
from labctl.exam.standing import Standing
from labctl.lab.doors import Links
from labctl.lab.status import LabStatus
from labctl.lab.wish import Pace
from labctl.lab.workplace import Workplace
from labctl.language import current_language, ngettext, speaking
from labctl.plan.names import is_spare
from labctl.worker.accounts import AccountRow, Accounts, SessionRow
from labctl.worker.acts import acts_of
from labctl.worker.answers import Event, JobLine, MessageLine, Ticket
from labctl.worker.describing import describe_checks, describe_job, node_words, state_words
from labctl.worker.directory import read_directory
from labctl.worker.events import Hub
from labctl.worker.exam_jobs import ExamRoom, NoLinks
from labctl.worker.exams import Exams
from labctl.worker.idling import Idling
from labctl.worker.jobs import Job, Jobs, Wish
from labctl.worker.library import Library
from labctl.worker.records import Line, Records, now
from labctl.worker.requests import ConsoleTicket, OpenConsole
from labctl.worker.runs import Runs
from labctl.worker.values import JobState, Role
from labctl.worker.watch import LONGEST_LOOK, Watch, state_of

SELF = "labctl"  # who does what nobody asked for
VISIT_STEP = 60.0  # seconds between two notes that a lab is used
CUTS = frozenset(
    {"reset", "checkpoint_restore", "down", "suspend", "exam_reset"}
)  # the jobs that end the consoles of a lab


@dataclass(frozen=True)
class Caller:
    """Who asks: their session and account, the classes they have to do with, and where the browser is."""

    session: SessionRow
    account: AccountRow
    classes: frozenset[str]
    address: str
    language: str

    @property
    def name(self) -> str:
        """Return the name of the account."""
        return self.account.name

    @property
    def role(self) -> Role:
        """Return the role of the account."""
        return self.account.role


class ConsoleRoom(Protocol):
    """The consoles. Whether somebody may was decided before each call, but by `still`, which is asked again."""

    def ticket(self, caller: Caller, request: ConsoleTicket) -> Ticket:
        """Return a ticket. Raises NotDone."""
        ...

    def serve(self, caller: Caller, request: OpenConsole, connection: socket.socket, still: Callable[[], bool]) -> str:
        """Answer with the descriptor of a console, and keep it until either side ends it. Raises NotDone before.

        Return what was wrong with the page where that is why it was ended, "" else.
        """
        ...

    def holders(self, lab: str) -> Mapping[str, Sequence[str]]:
        """Return who has a console of a lab open, by machine."""
        ...

    def cut(self, *, account: str = "", session: str = "", lab: str = "", nodes: Sequence[str] = ()) -> int:
        """End the tickets and consoles of an account, a session, a lab or some of its machines; return how many."""
        ...


class Office:
    """What the handlers of requests work with. `consoles` is None where there are none, as in some tests.

    `links` pull cables, for exams; `longest_look` is after how many seconds libvirt counts as hanging.
    """

    def __init__(
        self,
        place: Workplace,
        pace: Callable[[Path], Pace],
        consoles: ConsoleRoom | None = None,
        suspend_after: timedelta | None = None,
        *,
        links: Links | None = None,
        clock: Clock | None = None,
        longest_look: float = LONGEST_LOOK,
    ) -> None:
        self.place = place
        self.exams = Exams(place.home, clock)
        self.room = ExamRoom(place, self.exams, pace, links or NoLinks())
        self.records = Records(place.home)
        self.accounts = Accounts(self.records, lambda: read_directory(place.home))
        self.hub = Hub()
        self.library = Library(place)
        self.watch = Watch(place, self.lab_changed, longest_look, self.host_changed)
        self.runs = Runs(place.home, self.run_changed)
        self.jobs = Jobs(self.records, {**acts_of(place, pace), **self.room.acts()}, self.job_changed)
        self.consoles = consoles
        self.idling = Idling(self.records, suspend_after)
        self._visited: dict[str, float] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Begin to watch, and take up the jobs that a crash left."""
        self.watch.start()
        self.runs.start()
        for job in self.jobs.resume():
            self.note(Line(SELF, f"{job.wish.verb} taken up again", lab=job.wish.lab, owner=job.wish.owner))
        if self.idling.after is not None:
            threading.Thread(target=self.idling.run, args=(self,), name="idling", daemon=True).start()

    def close(self, patience: float = 10.0) -> None:
        """Stop everything that runs here; labs go on."""
        self.idling.stopping.set()
        self.hub.close()
        self.jobs.stop(patience)
        self.runs.stop()
        self.watch.stop()

    def caller(self, session: SessionRow, address: str, language: str) -> Caller:
        """Return who asks."""
        account = session.account
        classes = self.accounts.classes_of(account.name) if account.role is Role.STUDENT else account.classes
        return Caller(session, account, classes, address, language)

    def wish(self, caller: Caller, verb: str, status: LabStatus, **details: object) -> tuple[JobLine, bool]:
        """Store a wish about a lab and write it into the log; return its job and whether it is new."""
        wish = Wish(verb=verb, lab=status.name, owner=status.owner, details=details, who=caller.name,
                    language=caller.language)  # fmt: skip
        job, new = self.jobs.add(wish)
        detail = " ".join(f"{key}={value}" for key, value in details.items() if value)
        self.log(caller, verb if new else f"{verb} (again)", lab=status.name, owner=status.owner, detail=detail)
        return self.line(job), new

    def line(self, job: Job) -> JobLine:
        """Return a job as a line in the reader's language."""
        return describe_job(job, self.jobs.ahead(job))

    def newest_job(self, lab: str) -> JobLine | None:
        """Return the job of a lab that runs, else the first that waits."""
        jobs = self.jobs.open_jobs(lab)
        running = [job for job in jobs if job.state is JobState.RUNNING] or list(jobs)
        return self.line(running[0]) if running else None

    def log(
        self, caller: Caller, what: str, *, lab: str = "", owner: str = "", class_name: str = "", detail: str = ""
    ) -> None:
        """Write what somebody did into the log."""
        self.note(Line(caller.name, what, lab, owner, class_name, detail, caller.address))

    def note(self, line: Line) -> None:
        """Write a line into the log; a full disk stops no one from reading."""
        with suppress(LabctlError):
            self.records.add_line(line)

    def visit(self, lab: str) -> None:
        """Note that somebody uses a lab: it is not suspended then."""
        at = time.monotonic()
        with self._lock:
            if at - self._visited.get(lab, -VISIT_STEP) < VISIT_STEP:
                return
            self._visited[lab] = at
        with suppress(LabctlError):
            self.records.note_visit(lab)

    def labs(self) -> tuple[LabStatus, ...]:
        """Return the labs of people who have an account."""
        names = {row.name for row in self.accounts.list_accounts() if row.role is Role.STUDENT and not row.closed}
        return tuple(status for status in self.watch.labs() if status.owner in names)

    def in_use(self, lab: str) -> bool:
        """Return whether somebody has a console of a lab open, or a job of it goes on."""
        return bool(
            self.jobs.open_jobs(lab) or (self.consoles is not None and any(self.consoles.holders(lab).values()))
        )

    def warn(self, status: LabStatus, minutes: int) -> None:
        """Tell the owner of a lab that it will be suspended."""
        row = self.accounts.find(status.owner)
        with speaking(row.language if row else ""):
            text = ngettext(
                "nobody has used {lab} for long: it will be suspended in {count} minute, unless you use it",
                "nobody has used {lab} for long: it will be suspended in {count} minutes, unless you use it",
                minutes,
            ).format(lab=status.name, count=minutes)
        self.send(SELF, SELF, status.owner, text, status.name)

    def send(self, sender: str, shown: str, receiver: str, text: str, lab: str = "") -> None:
        """Keep a message to a student, and show it at once on a page that is open."""
        number = self.records.add_message(sender, [receiver], text, lab)
        line = MessageLine(id=number, at=now(), sender=sender, sender_name=shown, text=text, lab=lab)
        event = Event(kind="message", at=line.at, lab=lab, owner=receiver, message=line)
        self.hub.publish(lambda _language: event, to=receiver)

    def suspend(self, status: LabStatus) -> None:
        """Have a lab suspended that nobody uses."""
        self.jobs.add(Wish(verb="suspend", lab=status.name, owner=status.owner, who=SELF, language=current_language()))
        self.note(Line(SELF, "suspend", lab=status.name, owner=status.owner, detail="unused"))

    def cut(self, *, account: str = "", session: str = "", lab: str = "", nodes: Sequence[str] = ()) -> None:
        """End the consoles, and for an account or session the listeners, whose right has ended."""
        if account or session:
            self.hub.end(account=account, session=session)
        if self.consoles is not None:
            self.consoles.cut(account=account, session=session, lab=lab, nodes=nodes)

    def names(self) -> dict[str, str]:
        """Return the names shown of all accounts."""
        return {one.name: one.shown for one in self.accounts.list_accounts()}

    def lab_changed(self, before: LabStatus | None, status: LabStatus | None) -> None:
        """Tell the listeners that a lab, or machines of it, changed."""
        about = status or before
        if about is None or is_spare(about.owner):
            return
        old = {node.name: node.state for node in before.nodes} if before else {}
        fresh = self.watch.find(about.name) if status else None
        state = state_of(fresh or status)

        def lab_event(language: str) -> Event:
            with speaking(language):
                return Event(kind="lab", at=now(), lab=about.name, owner=about.owner, state=state,
                             words=state_words(state), checks=describe_checks(about.checks))  # fmt: skip

        for node in status.nodes if status else ():
            if old.get(node.name) is not node.state:

                def node_event(language: str, name: str = node.name, word: str = str(node.state)) -> Event:
                    with speaking(language):
                        return Event(kind="node", at=now(), lab=about.name, owner=about.owner, node=name, state=word,
                                     words=node_words(word))  # fmt: skip

                self.hub.publish(node_event, about.name, about.owner)
        self.hub.publish(lab_event, about.name, about.owner)

    def exam_changed(self, session: str) -> None:
        """Tell candidates and proctors of a session that its log, its supervisor or a time mark is new."""
        for one in self.exams.standing(session).candidates.values():
            event = Event(kind="exam", at=now(), lab=one.lab, owner=one.owner)
            self.hub.publish(lambda _language, event=event: event, one.lab, one.owner)  # type: ignore[misc]

    def look_at_exam(self, standing: Standing) -> object:
        """Return what a board shows beside the log, to be compared: open consoles, and who has a page open."""
        connected, ones = self.hub.connected(), standing.candidates.values()
        holders = [self.consoles.holders(one.lab) if self.consoles else {} for one in ones]
        return holders, [one.owner in connected for one in ones]

    def host_changed(self) -> None:
        """Tell all listeners that libvirt is away, or there again."""
        event = Event(kind="host", at=now())
        self.hub.publish_to_all(event)

    def run_changed(self, lab: str) -> None:
        """Tell the listeners that a run of a command line took or gave back a lab, and look at it; ours are told of."""
        if any(job.state is JobState.RUNNING for job in self.jobs.open_jobs(lab)):
            return
        self.watch.look_at(lab)
        if status := self.watch.find(lab):
            self.lab_changed(status, status)

    def job_changed(self, job: Job) -> None:
        """Tell the listeners how far a job is; one that begins may end consoles, one that ends changes its lab."""
        wish = job.wish
        if wish.lab and job.state is JobState.RUNNING and not job.step and wish.verb in CUTS:
            nodes = wish.details.get("nodes") or ()
            self.cut(lab=wish.lab, nodes=tuple(nodes) if isinstance(nodes, list | tuple) else ())
        if job.state not in {JobState.WAITING, JobState.RUNNING} or (job.state is JobState.RUNNING and not job.step):
            self.watch.look_at(*filter(None, [wish.lab]))
        if job.state in {JobState.FAILED, JobState.INTERRUPTED}:
            self.note(Line(wish.who, f"{wish.verb} failed", lab=wish.lab, owner=wish.owner, detail=job.error))

        def event(language: str) -> Event:
            with speaking(language):
                return Event(kind="job", at=now(), lab=wish.lab, owner=wish.owner, job=self.line(job))

        self.hub.publish(event, wish.lab, wish.owner or wish.who)
