"""A list of candidates (CSV) to their numbers and times, and apart from these to their names, or to all problems."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path

from labctl.exam.model import Exam, Phase
from labctl.language import N_, _
from labctl.plan.names import is_spare
from labctl.roster import (
    Layout,
    Row,
    check_factor,
    check_id,
    check_language,
    check_text,
    make_slug,
    make_slugs,
    read_factor,
    read_rows,
)
from labctl.topology.problems import Finding, quoted

YES, NO = frozenset({"yes", "oui"}), frozenset({"no", "non"})
NUMBER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._ -]*")  # it names files of the session
MINUTES = re.compile(r"[0-9]{1,4}")
MOST_MINUTES = 1440
MICROSECONDS = 60_000_000  # of a minute


@dataclass(frozen=True)
class Candidate:
    """Somebody who is examined, by number alone. `slug` names their lab; `times` has the length of each phase.

    `pauses` tells whether their clock may be stopped; `language` is "fr", "en" or empty.
    """

    number: str
    slug: str
    times: Mapping[Phase, timedelta]
    time_factor: Fraction
    pauses: bool
    language: str
    line: int


@dataclass(frozen=True)
class Candidates:
    """Those of one session in the order of their list. `names` are for documents of the jury, never for a machine."""

    listed: tuple[Candidate, ...]
    names: Mapping[str, str] = field(repr=False)


def load_candidates(path: Path, exam: Exam) -> Candidates:
    """Return the candidates of a list, each with the length of each phase of this exam.

    The first line names the columns: `number`, and as wanted `name`, `time_factor`, `pauses`, `language`, and for
    somebody's own minutes `preparation`, `interview`, `practical`, `recette`; own minutes take the factor's place.
    Raises ProblemsFound, an InvalidFile, with every problem of the file.
    """
    rows = read_rows(path, layout_for(exam))
    slugs = make_slugs(row.text("number") for row in rows)
    names = {row.text("number"): row.text("name") for row in rows if row.text("name")}
    return Candidates(tuple(make_candidate(row, slugs, exam) for row in rows), names)


def layout_for(exam: Exam) -> Layout:
    """Return the columns of a list of candidates; nobody gets less than the standard time."""
    minutes = {str(phase): partial(check_minutes, phase, exam.phases.minutes(phase)) for phase in Phase}
    checks: dict[str, Callable[[str], Finding | None]] = {
        "number": check_number,
        "name": partial(check_text, "name"),
        "time_factor": check_factor,
        "pauses": check_pauses,
        "language": check_language,
        **minutes,
    }
    return Layout("number", checks, N_("at least one candidate below the first line"))


def check_number(text: str) -> Finding | None:
    """Return what is wrong with a candidate's number."""
    if is_spare(make_slug(text)):
        return Finding(("number",), _("a number that is not the name of a spare lab"), quoted(text))
    if text and not NUMBER.fullmatch(text):
        expected = _(
            "a number of letters from A to Z, digits, dots, dashes and blanks that begins with a letter or digit"
        )
        return Finding(("number",), expected, quoted(text))
    return check_id("number", text)


def check_pauses(text: str) -> Finding | None:
    """Return what is wrong with the word on pauses."""
    if text and text.casefold() not in YES | NO:
        return Finding(("pauses",), _("yes or no"), quoted(text))
    return None


def check_minutes(phase: Phase, least: int, text: str) -> Finding | None:
    """Return what is wrong with somebody's own minutes; `least` is the standard time."""
    if not text or (MINUTES.fullmatch(text) and least <= int(text) <= MOST_MINUTES):
        return None
    expected = _("a whole number from {least}, the standard time, to {most}").format(least=least, most=MOST_MINUTES)
    return Finding((phase,), expected, quoted(text))


def make_candidate(row: Row, slugs: Mapping[str, str], exam: Exam) -> Candidate:
    """Return the candidate of a row without problems."""
    number, said = row.text("number"), row.text("pauses").casefold()
    factor = read_factor(row.text("time_factor")) or Fraction(1)
    return Candidate(
        number=number,
        slug=slugs[number],
        times={phase: phase_time(row.text(phase), exam.phases.minutes(phase), factor) for phase in Phase},
        time_factor=factor,
        pauses=said in YES if said else exam.pauses,
        language=row.text("language").lower(),
        line=row.line,
    )


def phase_time(own: str, standard: int, factor: Fraction) -> timedelta:
    """Return how long a phase lasts: somebody's own minutes, else the standard ones by the factor.

    What is left of a microsecond is the candidate's.
    """
    minutes = Fraction(own) if own else standard * factor
    return timedelta(microseconds=ceil(minutes * MICROSECONDS))
