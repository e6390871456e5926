"""Sheets, grids and drafts of annexes to one self-contained HTML page each, for screens, paper and screen readers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labctl import __version__
from labctl.report.annex import Annex
from labctl.report.grid import Grid, GridRow, Level, level_of
from labctl.report.sheet import Row, Score, Sheet
from labctl.report.words import (
    BALLS,
    SIGNS,
    count_points,
    explain_left_out,
    explain_rule,
    explain_undecided,
    name_cover,
    name_level,
    name_ruling,
    name_status,
    pick_words,
    show_period,
    show_time,
)

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class ShownRow:
    """A check with the words that stand for its result."""

    row: Row
    sign: str
    status: str
    time: str
    left_out: str
    stale: bool


@dataclass(frozen=True)
class ShownScore:
    """A score with its sign: `text` is the points, `open` how many checks have no result."""

    score: Score
    level: Level
    ball: str
    text: str
    open: str


@dataclass(frozen=True)
class ShownGridRow:
    """A row of the grid with its signs; `ruling` is empty for a student without a lab."""

    row: GridRow
    cells: tuple[ShownScore | None, ...]
    total: ShownScore | None
    ruling: str


@cache
def environment(*folders: Path) -> Environment:
    """Return the environment of these templates and those of `folders`; autoescape is on whatever a file is called."""
    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def render_sheet(sheet: Sheet, zone: tzinfo | None = None) -> str:
    """Return the page of one lab; times are on the clock of `zone`, the host's own by default."""
    title = f"{pick_words(sheet.language)['sheet']} – {sheet.subject.lab}"
    shown = show_sheet(sheet, f"labctl check {sheet.subject.lab}", zone)
    return render("sheet.html.j2", sheet.language, title=title, **shown)


def show_sheet(sheet: Sheet, command: str, zone: tzinfo | None) -> dict[str, object]:
    """Return what the template of a sheet is filled with; `command` makes the checks that have no result."""
    stale = set(sheet.stale)
    return {
        "sheet": sheet,
        "ruling": name_ruling(sheet.verdict.ruling, sheet.language),
        "rule": explain_rule(sheet.language),
        "period": show_period(sheet.first, sheet.last, zone, sheet.language),
        "undecided": explain_undecided(sheet.rows, command, sheet.language),
        "total": show_score(sheet.total),
        "scores": [show_score(score) for score in sheet.scores],
        "rows": [show_row(row, zone, sheet.language, stale=row.id in stale) for row in sheet.rows],
    }


def render_grid(grid: Grid, zone: tzinfo | None = None) -> str:
    """Return the page of a class."""
    words = pick_words(grid.language)
    return render(
        "grid.html.j2",
        grid.language,
        title=f"{words['grid']} – {', '.join(name for name, _title in grid.topologies)}",
        grid=grid,
        rule=explain_rule(grid.language),
        period=show_period(grid.first, grid.last, zone, grid.language),
        rows=[show_grid_row(row, grid.language) for row in grid.rows],
        whole=[show_score(score) for score in grid.whole],
        total=show_score(grid.total),
        levels=[(level, BALLS[level], name_level(level, grid.language)) for level in Level],
    )


def render_annex(annex: Annex) -> str:
    """Return the page of the draft of annex II.E."""
    return render("annex.html.j2", annex.language, title=name_annex(annex), **show_annex(annex))


def name_annex(annex: Annex) -> str:
    """Return the title of the draft."""
    return f"Annexe II.E – {annex.topology}"


def show_annex(annex: Annex) -> dict[str, object]:
    """Return what the template of the draft is filled with."""
    covers = {draft.cover for part in annex.parts for draft in part.drafts}
    return {"annex": annex, "covers": {cover: name_cover(cover, annex.language) for cover in covers}}


def render(template: str, language: str, **values: object) -> str:
    """Return a page from its template; everything that is filled in is escaped."""
    fixed: Mapping[str, object] = {"language": language, "words": pick_words(language), "version": __version__}
    return environment().get_template(template).render(**fixed, **values)


def show_row(row: Row, zone: tzinfo | None, language: str, *, stale: bool) -> ShownRow:
    """Return a check as it is shown."""
    return ShownRow(
        row=row,
        sign=SIGNS[row.status],
        status=name_status(row.status, language),
        time=show_time(row.at, zone, language),
        left_out=explain_left_out(row.output.left_out, language),
        stale=stale,
    )


def show_score(score: Score) -> ShownScore:
    """Return a score as it is shown."""
    level = level_of(score)
    return ShownScore(score, level, BALLS[level], count_points(score), f"?{score.undecided}" if score.undecided else "")


def show_grid_row(row: GridRow, language: str) -> ShownGridRow:
    """Return a row of the grid as it is shown."""
    return ShownGridRow(
        row=row,
        cells=tuple(show_score(cell) if cell else None for cell in row.cells),
        total=show_score(row.total) if row.total else None,
        ruling=name_ruling(row.verdict.ruling, language) if row.verdict else "",
    )
