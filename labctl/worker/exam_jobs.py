"""What the worker does for exams with labs: a session joined with its labs, and the jobs that candidates ask for.

A job of a candidate looks at the log again when it runs: what was allowed when it was asked for may be over. It holds
the lab's lock, for which a freeze waits; if the clock was stopped meanwhile, the machines stand still afterwards too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import HostNotReady, LabctlError, Refused
from labctl.exam.allowed import allowed_names
from labctl.exam.conduct import Became, Conduct
from labctl.exam.machines import HostConsoles, HostLabs
from labctl.exam.resetting import reset
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding
from labctl.lab.doors import Links
from labctl.lab.lock import acting_for, hold_lab
from labctl.lab.status import NodeState, read_status
from labctl.lab.wish import Pace
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Silent
from labctl.worker.acts import words
from labctl.worker.exams import Exams
from labctl.worker.jobs import Job, Teller

OFF = frozenset({NodeState.STOPPED, NodeState.CRASHED})


class NoLinks:
    """Where nobody gave the worker a way to pull cables, no exam is held."""

    def set_link(self, name: str, lab: str, mac: str, *, up: bool) -> None:  # noqa: ARG002  the Protocol's
        """Raise HostNotReady."""
        raise HostNotReady(_("this service cannot pull the cables of machines: it holds no exams"))

    def limit_network(self, name: str, lab: str, pinned: Mapping[str, Sequence[str]]) -> None:  # noqa: ARG002  the Protocol's
        """Raise HostNotReady."""
        self.set_link(name, lab, "", up=False)


@dataclass(frozen=True)
class ExamRoom:
    """The sessions of one installation with the labs that they act on."""

    place: Workplace
    exams: Exams
    pace: Callable[[Path], Pace]
    links: Links

    def conduct(self, session: Session) -> Conduct:
        """Return what conducts a session, as the command line has it."""
        return Conduct(session, self.labs(session), HostConsoles(self.place.home))

    def labs(self, session: Session) -> HostLabs:
        """Return the labs of a session."""
        return HostLabs(self.place, self.links, session.folder, self.pace, Silent(), allowed=allowed_names(session))

    def acts(self) -> Mapping[str, Callable[[Job, Teller], None]]:
        """Return what does the jobs of candidates."""
        return {"exam_reset": self.reset, "exam_wake": self.wake}

    def find(self, job: Job) -> tuple[Session, str]:
        """Return the session of a job, and the number of the candidate who asked for it."""
        details = job.wish.details
        return self.exams.session(str(details["session"])), str(details["number"])

    def reset(self, job: Job, teller: Teller) -> None:
        """Make machines anew, by the function of the command line; what a crash broke off is not counted twice."""
        session, number = self.find(job)
        labs = self.labs(session)
        conduct = Conduct(session, labs, HostConsoles(self.place.home))
        first = job.attempts == 1
        teller.step(_("making machines anew"))
        with acting_for(f"{job.wish.who} (portal)"):
            reason = "" if first else _("broken off by a restart of the service")
            result = reset(conduct, labs, number, words(job, "nodes"), reason=reason, own=first)
        self.keep_still(session, number, labs)
        if result.became is not Became.DONE:
            raise LabctlError(result.reason)

    def wake(self, job: Job, teller: Teller) -> None:
        """Switch on a machine that is off; paused ones stay paused."""
        session, number = self.find(job)
        labs, lab, wanted = self.labs(session), job.wish.lab, words(job, "nodes")
        with hold_lab(self.place.home, lab, "exam wake"):
            self.require_work(session, number)
            (status,) = read_status(self.place, lambda _lab: False, [lab])
            off = {node.name for node in status.nodes if node.state in OFF and node.name in wanted}
            teller.step(_("switching on"))
            for node in labs.layout(lab).nodes:
                if node.member in off:
                    self.place.machines.start_domain(node.name, node.tag.seat_name)
            labs.set_links(lab, up=False)
        self.keep_still(session, number, labs)

    def require_work(self, session: Session, number: str) -> CandidateStanding:
        """Return a candidate who works now. Raises Refused for one whose work stands still."""
        one = session.read().candidate(number)
        if not (one.works and one.running) or one.paused or one.closed:
            raise Refused(_("this was asked for while you worked; your machines stand still now"))
        return one

    def keep_still(self, session: Session, number: str, labs: HostLabs) -> None:
        """Stop the machines of somebody whose clock was stopped, or whose work was frozen, while they were made."""
        one = session.read().candidate(number)
        if not one.running:
            labs.suspend(one.lab)
