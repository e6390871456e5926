"""The sheets of a class to a grid of students and competencies."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from labctl.report.sheet import Score, Sheet, Subject, Verdict, sort_competencies, title_of

MOST, HALF = 75, 50  # percent of the points


class Level(StrEnum):
    """How much of a cell's points was won: what its shade and its sign show beside the number."""

    FULL = "full"
    MOST = "most"
    HALF = "half"
    SOME = "some"
    NONE = "none"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Column:
    """One competency with its official title."""

    id: str
    title: str


@dataclass(frozen=True)
class GridRow:
    """One lab of the class. `cells` stand in the order of the columns, None where the lab has no such check.

    A student without a lab has no cell, no total and no verdict.
    """

    subject: Subject
    topology: str
    cells: tuple[Score | None, ...]
    total: Score | None
    verdict: Verdict | None
    stale: bool = False


@dataclass(frozen=True)
class Grid:
    """Students × competencies; `whole` is the class together, in the order of the columns, and its total."""

    language: str
    topologies: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    whole: tuple[Score, ...]
    total: Score
    first: str
    last: str


def make_grid(sheets: Sequence[Sheet], without: Sequence[Subject], language: str) -> Grid:
    """Return the grid of labs in the order of their sheets; students `without` a lab come last."""
    names = sort_competencies({score.id for sheet in sheets for score in sheet.scores})
    times = sorted(time for sheet in sheets for time in (sheet.first, sheet.last) if time)
    return Grid(
        language=language,
        topologies=tuple(dict.fromkeys((f"{sheet.topology} {sheet.version}", sheet.title) for sheet in sheets)),
        columns=tuple(Column(name, title_of(name)) for name in names),
        rows=(
            *(make_row(sheet, names) for sheet in sheets),
            *(GridRow(subject, "", (None,) * len(names), None, None) for subject in without),
        ),
        whole=tuple(add_scores(name, [score for sheet in sheets for score in sheet.scores if score.id == name])
                    for name in names),
        total=add_scores("", [sheet.total for sheet in sheets]),
        first=times[0] if times else "",
        last=times[-1] if times else "",
    )  # fmt: skip


def make_row(sheet: Sheet, names: Sequence[str]) -> GridRow:
    """Return the row of one lab."""
    scores = {score.id: score for score in sheet.scores}
    cells = tuple(scores.get(name) for name in names)
    return GridRow(sheet.subject, sheet.topology, cells, sheet.total, sheet.verdict, bool(sheet.stale))


def add_scores(name: str, scores: Sequence[Score]) -> Score:
    """Return several scores of one competency as one."""
    return Score(
        id=name,
        title=title_of(name),
        points=sum(score.points for score in scores),
        worth=sum(score.worth for score in scores),
        passed=sum(score.passed for score in scores),
        checks=sum(score.checks for score in scores),
        undecided=sum(score.undecided for score in scores),
    )


def level_of(score: Score) -> Level:
    """Return the level of a cell. One of which nothing is known is neither full nor empty."""
    if score.undecided == score.checks:
        return Level.UNDECIDED
    if score.passed == score.checks:
        return Level.FULL
    if score.share >= MOST:
        return Level.MOST
    if score.share >= HALF:
        return Level.HALF
    return Level.SOME if score.passed else Level.NONE
