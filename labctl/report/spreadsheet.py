"""Sheets and grids to CSV for spreadsheets, in which nothing that a guest wrote is taken for a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

from labctl.report.grid import Grid
from labctl.report.sheet import Sheet
from labctl.report.words import name_ruling, name_status, pick_words

SEPARATORS = {"fr": ";", "en": ","}  # what spreadsheets of that language expect
# What starts a formula in Excel or LibreOffice, in full width too (OWASP, "CSV Injection").
STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
SHEET = ("check", "test", "from", "command", "expected", "obtained", "result", "competency", "title", "points",
         "of_points", "essential", "time", "evidence")  # fmt: skip
Cell = str | int


def write_sheet(sheet: Sheet) -> str:
    """Return one line for each check, below the names of the columns."""
    words = pick_words(sheet.language)
    lines: list[Sequence[Cell]] = [
        (
            row.id, row.title, row.node, row.command, row.expected, row.obtained,
            name_status(row.status, sheet.language), row.competency, row.competency_title, row.points, row.worth,
            "x" if row.essential else "", row.at, row.output.text,
        )
        for row in sheet.rows
    ]  # fmt: skip
    return write_lines([[words[name] for name in SHEET], *lines], sheet.language)


def write_grid(grid: Grid) -> str:
    """Return one line for each lab: points by competency, empty where it has no such check, then what they are of."""
    words = pick_words(grid.language)
    names = [column.id for column in grid.columns]
    of = [f"{name} ({words['of_points']})" for name in names]
    head = [words["student"], words["group"], words["lab"], *names, *of, words["points"], words["of_points"],
            words["no_result"], words["verdict"]]  # fmt: skip
    lines: list[Sequence[Cell]] = []
    for row in grid.rows:
        total, verdict = row.total, row.verdict
        ending: Sequence[Cell] = ("", "", "", words["no_lab"])
        if total and verdict:
            ending = (total.points, total.worth, total.undecided, name_ruling(verdict.ruling, grid.language))
        won = [cell.points if cell else "" for cell in row.cells]
        worth = [cell.worth if cell else "" for cell in row.cells]
        lines.append((row.subject.student, row.subject.group, row.subject.lab if total else "", *won, *worth, *ending))
    return write_lines([head, *lines], grid.language)


def write_lines(lines: Iterable[Sequence[Cell]], language: str) -> str:
    """Return records as CSV (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=SEPARATORS[language], lineterminator="\r\n")
    writer.writerows([guard(cell) for cell in line] for line in lines)
    return text.getvalue()


def guard(cell: Cell) -> Cell:
    """Return a cell that a spreadsheet shows as it is: an apostrophe goes before what it would take for a formula."""
    if isinstance(cell, str) and cell.lstrip().startswith(STARTS):
        return f"'{cell}"
    return cell


def find_beginnings() -> tuple[str, ...]:
    """Return how the tables that are written here may begin, in every language."""
    found = []
    for language, separator in SEPARATORS.items():
        words = pick_words(language)
        found += [separator.join(words[name] for name in names) for names in (SHEET[:2], ("student", "group", "lab"))]
    return tuple(found)
