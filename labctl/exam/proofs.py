"""The labs of a session's candidates to proofs: what they are at the start, what the work makes of the recette."""

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.exam.audit import Act, utc_text
from labctl.exam.doors import Labs, Proof
from labctl.exam.evidence.sources import start_file
from labctl.exam.evidence.store import write_durably
from labctl.exam.evidence.tree import dump_tree, read_tree
from labctl.exam.isolation import check_isolation
from labctl.exam.load import Paper
from labctl.exam.papers import open_papers
from labctl.exam.recette import Moment, count_results, judge_start, recette_of, results_file, run_recette, save_results
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding
from labctl.images.overlay import chain
from labctl.lab.checking import SshProber
from labctl.lab.files import explain_files
from labctl.lab.standstill import everywhere, quiesce
from labctl.lab.workplace import Workplace
from labctl.monitor import Monitor
from labctl.plan.model import PlannedNode
from labctl.topology.catalogue import Catalogue
from labctl.topology.hardware import System, runs_programs
from labctl.topology.variants import Value

LOGIN_SECONDS = 60.0  # for a machine that was suspended to answer again


@dataclass(frozen=True)
class SessionPapers:
    """The exam as each candidate has it, read from the papers of a session when it is first asked for."""

    session: Session
    catalogue: Catalogue
    shipped: Path
    read: dict[str, tuple[Paper, Mapping[str, Value]]] = field(default_factory=dict)

    def paper(self, number: str) -> Paper:
        """Return the exam with a candidate's values. Raises Refused while the papers are sealed."""
        return self.both(number)[0]

    def values(self, number: str) -> Mapping[str, Value]:
        """Return the values that a candidate has drawn, none where nothing varies."""
        return self.both(number)[1]

    def drawn(self) -> Mapping[str, Mapping[str, Value]]:
        """Return the values of all candidates by number; none where nothing varies."""
        _template, by_owner = open_papers(self.session, self.shipped)
        listed = self.session.read().candidates.values()
        return {one.number: by_owner[one.owner] for one in listed if one.owner in by_owner}

    def both(self, number: str) -> tuple[Paper, Mapping[str, Value]]:
        """Return the exam and the values of a candidate."""
        if number not in self.read:
            template, drawn = open_papers(self.session, self.shipped)
            values = drawn.get(self.session.read().candidate(number).owner, {})
            self.read[number] = template.resolve(self.catalogue, values or None), values
        return self.read[number]


@dataclass(frozen=True)
class LabProofs:
    """Proves things of the labs of one session: the Proofs of its life."""

    place: Workplace
    session: Session
    papers: SessionPapers
    monitor: Monitor

    def recette_at_start(self, number: str) -> Proof:
        """Run the checks of the recette on a lab on which nobody has worked, and keep its configuration as it is."""
        candidate = self.session.read().candidate(number)
        paper = self.papers.paper(number)
        expected = recette_of(paper)
        outcomes = run_recette(expected, self.prober(candidate, paper), self.monitor, Moment.START)
        path = results_file(self.session.folder, candidate.owner, Moment.START)
        with explain_files(self.session.folder):
            save_results(path, outcomes, expected, self.now())
            self.keep_start(candidate, paper)
        return judge_start(expected, outcomes)

    def isolation(self, number: str) -> Proof:
        """Probe from inside a lab whose links are still up."""
        return self.isolated(number, started=False)

    def isolated(self, number: str, *, started: bool) -> Proof:
        """Probe from inside a lab; once the exam has `started`, nothing at all may answer from outside."""
        candidate = self.session.read().candidate(number)
        topology = self.papers.paper(number).topology
        return check_isolation(self.place, self.place.layout(candidate.lab, topology), topology, started=started)

    def recette(self, number: str, labs: Labs) -> Mapping[str, JsonValue]:
        """Run the acceptance test on the resumed lab of a frozen candidate, and keep and log its results.

        Machines that stood still stand still again afterwards. What was frozen stays as it is.
        """
        candidate = self.session.read().candidate(number)
        paper = self.papers.paper(number)
        expected = recette_of(paper)
        with self.session.doing(Act.RECETTE, number) as told, awake(labs, candidate):
            self.wait_logins(candidate, paper)
            outcomes = run_recette(expected, self.prober(candidate, paper), self.monitor, Moment.END)
            path = results_file(self.session.folder, candidate.owner, Moment.END)
            with explain_files(self.session.folder):
                save_results(path, outcomes, expected, self.now())
            told.update(count_results(expected, outcomes))
        return told

    def prober(self, candidate: CandidateStanding, paper: Paper) -> SshProber:
        """Return what asks the machines of a candidate."""
        return SshProber(self.place.guests, self.place.logins(candidate.lab, paper.topology))

    def wait_logins(self, candidate: CandidateStanding, paper: Paper) -> None:
        """Wait until machines whose links were pulled answer again; one that does not is told by its checks."""
        logins = self.place.logins(candidate.lab, paper.topology).values()
        for login in (one for one in logins if runs_programs(one.system)):
            with suppress(LabctlError):
                self.place.guests.wait_login(login, LOGIN_SECONDS)

    def keep_start(self, candidate: CandidateStanding, paper: Paper) -> None:
        """Keep the configuration of each Debian before the work, so that the work is told from labctl's own.

        Evidence is complete without it; the whole difference counts as work then.
        """
        layout = self.place.layout(candidate.lab, paper.topology)

        def keep(node: PlannedNode) -> None:
            with suppress(LabctlError):
                quiesce(self.place, node)
            paths = tuple(paper.exam.evidence.paths.get(node.member, ()))
            tree = read_tree(chain(layout.folders.disk(node.member)), paths)
            path = start_file(self.session.folder, candidate.owner, node.member)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(path, gzip.compress(json.dumps(dump_tree(tree)).encode(), mtime=0))

        everywhere([node for node in layout.nodes if node.system is System.DEBIAN], keep, 1)

    def now(self) -> str:
        """Return the hour as the log has it."""
        return utc_text(self.session.clock.read().hour)


@contextmanager
def awake(labs: Labs, candidate: CandidateStanding) -> Iterator[None]:
    """Let the machines of a candidate run and be reached inside the block, and be as they were afterwards."""
    labs.set_links(candidate.lab, up=True)
    try:
        burst = labs.resume([candidate.lab])
        for reason in burst.failures.values():
            raise LabctlError(reason, hint="labctl exam status")
        yield
    finally:
        if not candidate.running:
            labs.suspend(candidate.lab)
        labs.set_links(candidate.lab, up=False)
