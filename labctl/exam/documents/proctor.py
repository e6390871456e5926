"""The standing of a session to the proctor's sheet: board, times, checksums, and where candidates and proctors sign."""

from dataclasses import dataclass

from labctl.exam.audit import Act
from labctl.exam.documents.heading import Heading
from labctl.exam.documents.hours import ShownHours, find_hours, show_hours
from labctl.exam.documents.page import render
from labctl.exam.documents.person import Names
from labctl.exam.documents.words import explain_burst, name_frozen, name_phase, name_readiness, name_stage, pick_words
from labctl.exam.model import Phase
from labctl.exam.standing import CandidateStanding, Readiness, Standing, number_of

PROOFS = {"holds": "✔", "does not hold": "✘", "not checked": "?"}  # as the log has them


@dataclass(frozen=True)
class Checksums:
    """What is to be compared later: the sealed bundle's manifest, the session's public key, the log's last hash."""

    seal: str = ""
    key: str = ""
    head: str = ""
    seq: int = 0


@dataclass(frozen=True)
class Line:
    """One candidate on the sheet; `manifest` is the SHA-256 of the list of their evidence."""

    number: str
    person: str
    factor: str
    pauses: bool
    readiness: str
    reason: str
    initial: str
    isolation: str
    frozen: str
    collected: str
    manifest: str
    hours: tuple[ShownHours, ...]


def render_proctor(heading: Heading, standing: Standing, names: Names, checksums: Checksums) -> str:
    """Return the sheet of a session as it stands."""
    language = heading.language
    return render(
        "proctor.html.j2",
        heading,
        title=pick_words(language)["proctor"],
        subject=standing.text(f"title_{language}"),
        paper=f"{standing.text('exam')} {standing.text('version')}",
        topology=standing.text("topology"),
        stage=name_stage(standing.stage, language),
        made=heading.moment(heading.made),
        phases=[name_phase(phase, language) for phase in Phase],
        lines=[make_line(one, heading, names) for one in standing.candidates.values()],
        checksums=checksums,
        burst=show_burst(standing, language),
    )


def show_burst(standing: Standing, language: str) -> str:
    """Return how far apart all machines began the last time that some did; nothing before."""
    entry = standing.last.get(Act.START)
    if entry is None:
        return ""
    return explain_burst(int(number_of(entry.facts, "machines")), number_of(entry.facts, "spread"), language)


def make_line(candidate: CandidateStanding, heading: Heading, names: Names) -> Line:
    """Return the line of one candidate."""
    collected = candidate.last.get(Act.COLLECT)
    return Line(
        number=candidate.number,
        person=names.show(candidate.number),
        factor=candidate.factor,
        pauses=candidate.pauses,
        readiness=name_readiness(candidate.readiness, heading.language),
        reason=candidate.reason if candidate.readiness is not Readiness.READY else "",
        initial=sign_of(candidate, "recette"),
        isolation=sign_of(candidate, Act.ISOLATION),
        frozen=name_frozen(candidate.frozen, heading.language),
        collected=heading.hour(collected.at.hour) if collected else "",
        manifest=str(collected.facts.get("manifest", "")) if collected else "",
        hours=tuple(show_hours(one, heading) for one in find_hours(candidate, heading.made)),
    )


def sign_of(candidate: CandidateStanding, proof: str) -> str:
    """Return what was last said of a proof, by `prepare` or once the work had begun; a dash before it was asked for."""
    told = [entry.facts.get(proof) for entry in candidate.entries(Act.PREPARE) if proof in entry.facts]
    if proof == Act.ISOLATION:
        told += [entry.facts.get("result") for entry in candidate.entries(Act.ISOLATION)]
    return PROOFS.get(str(told[-1]), "–") if told else "–"
