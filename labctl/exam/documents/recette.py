"""A candidate's exam and the results of its checks to the *fiche de recette*: points are proposed, the jury decides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from labctl.exam.audit import Act
from labctl.exam.documents.heading import Heading, length
from labctl.exam.documents.hours import paused_time
from labctl.exam.documents.journal import Event, choose_told, list_events
from labctl.exam.documents.page import render, say
from labctl.exam.documents.person import Names, name_drawn
from labctl.exam.documents.words import count_points, name_aim, name_start, pick_words
from labctl.exam.load import Paper
from labctl.exam.model import Exam, Phase, Start
from labctl.exam.recette import recette_of
from labctl.exam.standing import CandidateStanding
from labctl.report.page import ShownScore, show_score, show_sheet
from labctl.report.sheet import (
    Found,
    Row,
    Sheet,
    Status,
    Subject,
    make_sheet,
    score_competencies,
    score_rows,
    sort_competencies,
    title_of,
)
from labctl.topology.variants import Value


@dataclass(frozen=True)
class Proof:
    """What the results rest on: results by check id after the freeze and before the work, and checksums.

    `manifest` is the SHA-256 of the list of the evidence, "" where none was collected; `head` and `seq` are the last
    entry of the log.
    """

    found: Mapping[str, Found]
    start: Mapping[str, Status] = field(default_factory=dict)
    manifest: str = ""
    head: str = ""
    seq: int = 0


@dataclass(frozen=True)
class GridLine:
    """A competency that is assessed: what its checks propose, None for one that has none, and its questions."""

    id: str
    title: str
    proposed: ShownScore | None
    questions: int


@dataclass(frozen=True)
class Share:
    """The points of the checks of one kind: those to achieve, or those to keep as they were."""

    name: str
    points: str


def render_recette(
    heading: Heading, paper: Paper, candidate: CandidateStanding, values: Mapping[str, Value], names: Names,
    proof: Proof,
) -> str:  # fmt: skip
    """Return the sheet of one candidate; `paper` is read with the `values` that they have drawn."""
    sheet = make_recette(paper, candidate, proof.found, heading.language)
    aims = {one.check.id: one.start for one in recette_of(paper)}
    command = f"labctl exam recette {heading.session} --candidate {candidate.number}"
    return render(
        "recette.html.j2",
        heading,
        title=pick_words(heading.language)["recette"].format(number=candidate.number),
        person=names.show(candidate.number),
        drawn=name_drawn(paper, values, heading.language),
        aims={name: name_aim(aim, heading.language) for name, aim in aims.items()},
        before={name: name_start(status, aims[name], heading.language) for name, status in proof.start.items()
                if name in aims},
        shares=list(share_points(sheet.rows, aims, heading.language)),
        grid=[*grade(sheet, paper.exam)],
        course=show_course(candidate, heading),
        events=find_events(candidate, heading),
        proof=proof,
        **show_sheet(sheet, command, heading.zone),
    )  # fmt: skip


def make_recette(paper: Paper, candidate: CandidateStanding, found: Mapping[str, Found], language: str) -> Sheet:
    """Return the acceptance sheet of the checks that the exam's recette names, in its order."""
    checks = tuple(one.check for one in recette_of(paper))
    topology = paper.topology.model_copy(update={"checks": checks})
    sheet = make_sheet(Subject(candidate.lab, candidate.number), topology, found, language)
    return replace(sheet, title=say(paper.exam.title, language))


def share_points(rows: Sequence[Row], aims: Mapping[str, Start], language: str) -> Iterator[Share]:
    """Yield the points that the work has won, and those of what had to stay: who does nothing has these too."""
    for aim in (Start.FAILS, Start.PASSES):
        score = score_rows("", [row for row in rows if aims[row.id] is aim])
        if score.checks:
            yield Share(name_aim(aim, language), count_points(score, language))


def grade(sheet: Sheet, exam: Exam) -> Iterator[GridLine]:
    """Yield the competencies that are assessed, in the official order."""
    scores = {score.id: score for score in score_competencies(sheet.rows)}
    asked = [one.competency for one in exam.questions]
    for name in sort_competencies({*exam.competencies, *scores, *asked}):
        proposed = show_score(scores[name]) if name in scores else None
        yield GridLine(name, title_of(name), proposed, asked.count(name))


@dataclass(frozen=True)
class Course:
    """The work on the machines as it went, as it is printed; what has not happened is empty."""

    allotted: str
    begun: str = ""
    ended: str = ""
    extended: str = ""
    paused: str = ""
    frozen: str = ""


def show_course(candidate: CandidateStanding, heading: Heading) -> Course:
    """Return when the work began and ended, and what was added to its time."""
    clock = candidate.practical
    if clock is None:
        return Course(length(candidate.times[Phase.PRACTICAL]))
    paused = paused_time(clock, heading.made)
    return Course(
        allotted=length(clock.allotted),
        begun=heading.moment(clock.begun),
        ended=heading.moment(clock.ended),
        extended=length(clock.extended) if clock.extended else "",
        paused=length(paused) if paused else "",
        frozen=heading.moment(stopped_at(candidate)),
    )


def stopped_at(candidate: CandidateStanding) -> datetime | None:
    """Return when the machines of a candidate stood still for the last freeze; None before that."""
    told = [entry.facts["suspended"] for entry in candidate.entries(Act.FREEZE) if entry.facts.get("suspended")]
    return datetime.fromisoformat(str(told[-1])) if told else None


def find_events(candidate: CandidateStanding, heading: Heading) -> list[Event]:
    """Return what touched the candidate's time or work."""
    return list_events(choose_told(candidate.history), heading, Names())
