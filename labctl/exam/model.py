"""A practical exam as its author wrote it: frozen models, one class for each thing of the file.

What the parts mean together, and with their topology, is checked in `meaning`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.model import Check
from labctl.topology.values import (
    EXAM_NUMBER_PATTERN,
    VERSION_PATTERN,
    CompetencyId,
    FilePath,
    Line,
    Model,
    Name,
    ServiceName,
    Text,
)
from labctl.topology.variants import (
    AccountVariant,
    AddressVariant,
    Domain,
    DomainVariant,
    HostNameVariant,
    NetworkVariant,
    PortVariant,
)

LONGEST_PHASE = 480  # minutes

# What differs in a demand. Faults are the topology's: a variant of it draws them.
DemandVariant = Annotated[
    AddressVariant | NetworkVariant | HostNameVariant | DomainVariant | AccountVariant | PortVariant,
    Field(discriminator="type"),
]
Minutes = Annotated[int, Field(ge=1, le=LONGEST_PHASE)]


class Phase(StrEnum):
    """A part of the exam that has a time of its own."""

    PREPARATION = "preparation"
    INTERVIEW = "interview"
    PRACTICAL = "practical"
    RECETTE = "recette"


class Start(StrEnum):
    """What a check must say before the candidate has done anything."""

    FAILS = "fails"
    PASSES = "passes"


class Demand(Model):
    """The *expression de besoins*: what an organisation asks of the candidate."""

    context: Text = Field(description=N_("the organisation, and what it has today"))
    work: tuple[Text, ...] = Field(min_length=1, max_length=20, description=N_("what is to be changed or added"))
    constraints: tuple[Text, ...] = Field(default=(), max_length=20, description=N_("what must be respected"))
    results: tuple[Text, ...] = Field(min_length=1, max_length=20, description=N_("what is expected in the end"))


class Phases(Model):
    """The standard time of each phase, in minutes."""

    preparation: Minutes = Field(default=30, description=N_("reading the demand and preparing, in minutes"))
    interview: Minutes = Field(default=20, description=N_("the first interview, in minutes"))
    practical: Minutes = Field(default=60, description=N_("work on the machines, alone, in minutes"))
    recette: Minutes = Field(default=20, description=N_("the acceptance test and the second interview, in minutes"))

    def minutes(self, phase: Phase) -> int:
        """Return the standard time of a phase."""
        return int(getattr(self, phase))


class Acceptance(Model):
    """A check of the *recette*."""

    check: Name = Field(description=N_("a check of this file or of the topology"))
    start: Start | None = Field(
        default=None,
        description=N_("what it says before the work: `fails` for checks of this file, `passes` for the topology's"),
    )


class Reset(Model):
    """What candidates may bring back to its first state by themselves."""

    scope: Literal["none", "machine", "lab"] = Field(default="none", description=N_("nothing, one machine, or all"))
    most: int = Field(default=1, ge=0, le=20, description=N_("how many times"))


class Evidence(Model):
    """What is kept of a candidate's work, beside check results, disks and logs."""

    paths: Mapping[Name, tuple[FilePath, ...]] = Field(
        default_factory=dict, description=N_("files and folders beside /etc whose changes are shown, by node")
    )
    flows: bool = Field(default=True, description=N_("flows seen on networks of the kind `internet`"))
    screenshots: bool = Field(default=True, description=N_("a picture of each machine's screen"))


class Question(Model):
    """A question of the *entretien d'explicitation*."""

    ask: Text = Field(description=N_("the question"))
    expected: Text = Field(description=N_("what a good answer has, for the jury alone"))
    competency: CompetencyId = Field(description=N_("the competency that it shows"))


class Exam(Model):
    """One practical exam."""

    name: Name = Field(description=N_("name of the exam"))
    version: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)] = Field(
        description=N_('quoted, such as "1.0": unquoted, 1.10 would be the number 1.1')
    )
    title: Text = Field(description=N_("title shown to candidates"))
    session: int = Field(ge=2022, le=2099, description=N_("the year of the session"))
    block: Literal["B1", "B2", "B3"] = Field(default="B2", description=N_("the block of competencies that is examined"))
    exam_number: Annotated[str, StringConstraints(pattern=EXAM_NUMBER_PATTERN)] | None = Field(
        default=None, description=N_("such as E6, where labctl's table of sessions has none or another one")
    )
    topology: Line = Field(description=N_("a shipped topology, or a file seen from the folder of this one"))
    competencies: tuple[CompetencyId, ...] = Field(min_length=1, description=N_("competencies that are assessed"))
    demand: Demand = Field(description=N_("the *expression de besoins*"))
    phases: Phases = Field(default_factory=Phases, description=N_("the standard times"))
    grace: int = Field(
        default=30, ge=0, le=600, description=N_("seconds after the end of the practical phase before machines freeze")
    )
    pauses: bool = Field(default=True, description=N_("whether the proctor may stop a candidate's clock"))
    internet: tuple[Domain, ...] = Field(
        default=(),
        max_length=50,
        description=N_(
            "names that machines may reach during the work, at the addresses that the host finds for them; all "
            "others are neither asked nor reached"
        ),
    )
    reset: Reset = Field(default_factory=Reset, description=N_("what candidates may reset"))
    checks: tuple[Check, ...] = Field(default=(), description=N_("outcomes of the work, as in a topology"))
    recette: tuple[Acceptance, ...] = Field(min_length=1, description=N_("the checks of the acceptance test, in order"))
    questions: tuple[Question, ...] = Field(default=(), max_length=50, description=N_("questions for the jury"))
    evidence: Evidence = Field(default_factory=Evidence, description=N_("what is kept of the work"))
    retention: int = Field(
        default=365, ge=1, le=3650, description=N_("days after which the results may be removed; never by itself")
    )
    variants: Mapping[ServiceName, DemandVariant] = Field(
        default_factory=dict,
        max_length=20,
        description=N_("values of the demand that differ from one candidate to the next, beside the topology's"),
    )
