"""What is known of a session to the documents that are wanted: which there are, what each is called, its page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from labctl.exam.documents.annex import render_annex
from labctl.exam.documents.candidate import Access, render_candidate
from labctl.exam.documents.heading import Heading, head
from labctl.exam.documents.journal import render_journal
from labctl.exam.documents.person import Names
from labctl.exam.documents.proctor import Checksums, render_proctor
from labctl.exam.documents.questions import render_questions
from labctl.exam.documents.recette import Proof, render_recette
from labctl.exam.load import Paper
from labctl.exam.standing import CandidateStanding, Standing
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Topology
from labctl.topology.variants import Value


class Kind(StrEnum):
    """A document of an exam session."""

    CANDIDATE = "candidate"
    PROCTOR = "proctor"
    RECETTE = "recette"
    QUESTIONS = "questions"
    INCIDENTS = "incidents"
    ANNEX = "annex"


OF_ONE = frozenset({Kind.CANDIDATE, Kind.RECETTE, Kind.QUESTIONS})  # one for each candidate


@dataclass(frozen=True)
class Own:
    """The exam as one candidate has it, and the values that make it theirs."""

    paper: Paper
    values: Mapping[str, Value]


class Material(Protocol):
    """What documents are made from, beside the log. All raise LabctlError where it cannot be had."""

    def own(self, candidate: CandidateStanding) -> Own:
        """Return the exam of a candidate."""

    def topology(self) -> Topology:
        """Return the topology of the session."""

    def proof(self, candidate: CandidateStanding) -> Proof:
        """Return what was found of a candidate's work; of one whose work was not tested, without results."""

    def checksums(self, standing: Standing) -> Checksums:
        """Return what the proctor compares."""


@dataclass(frozen=True)
class Wanted:
    """One document; `candidate` is None for those of the whole session."""

    kind: Kind
    candidate: CandidateStanding | None = None

    def file_name(self, language: str, suffix: str) -> str:
        """Return what its file is called, in a folder with those of other languages."""
        of_whom = f"-{self.candidate.owner}" if self.candidate else ""
        return f"{self.kind}{of_whom}.{language}.{suffix}"


@dataclass(frozen=True)
class Maker:
    """Makes the documents of one session. `address` is the portal's, where it is known; `made` is the time, in UTC."""

    session: str
    standing: Standing
    material: Material
    catalogue: Catalogue
    made: datetime
    names: Names = field(default_factory=Names)
    address: str = ""

    def choose(self, kinds: Sequence[Kind], numbers: Sequence[str]) -> Iterator[Wanted]:
        """Yield the documents of these kinds, or of all; those of candidates for these numbers, or for all.

        With numbers, those of the whole session are left out unless they are named. Raises LabctlError for a number
        that is none.
        """
        those = [self.standing.candidate(number) for number in dict.fromkeys(numbers)]
        for kind in Kind:
            if kinds and kind not in kinds:
                continue
            if kind in OF_ONE:
                yield from (Wanted(kind, one) for one in those or self.standing.candidates.values())
            elif kinds or not numbers:
                yield Wanted(kind)

    def heading(self, language: str) -> Heading:
        """Return the heading of all documents."""
        return head(self.session, self.standing, language, self.made)

    def render(self, wanted: Wanted, language: str) -> str:
        """Return the page of a document. Raises LabctlError where something of it cannot be had."""
        heading = self.heading(language)
        if wanted.candidate:
            return self.renderers[wanted.kind](heading, wanted.candidate)
        if wanted.kind is Kind.PROCTOR:
            return render_proctor(heading, self.standing, self.names, self.material.checksums(self.standing))
        if wanted.kind is Kind.INCIDENTS:
            return render_journal(heading, self.standing, self.names)
        return render_annex(heading, self.material.topology(), self.catalogue)

    @property
    def renderers(self) -> Mapping[Kind, Callable[[Heading, CandidateStanding], str]]:
        """Return what makes the documents of one candidate."""
        return {Kind.CANDIDATE: self.candidate, Kind.RECETTE: self.recette, Kind.QUESTIONS: self.questions}

    def candidate(self, heading: Heading, one: CandidateStanding) -> str:
        """Return the sheet that a candidate gets. No name goes in."""
        return render_candidate(heading, self.material.own(one).paper, one, Access(self.address))

    def recette(self, heading: Heading, one: CandidateStanding) -> str:
        """Return the acceptance sheet of a candidate."""
        own = self.material.own(one)
        return render_recette(heading, own.paper, one, own.values, self.names, self.material.proof(one))

    def questions(self, heading: Heading, one: CandidateStanding) -> str:
        """Return the questions to a candidate."""
        own = self.material.own(one)
        return render_questions(heading, own.paper, one.number, own.values, self.names)
