"""Sheets and grids to JSON for programs; keys and codes are English and stable."""

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from labctl.report.grid import Grid, GridRow
from labctl.report.sheet import Row, Score, Sheet, Subject, Verdict

VERSION = 1


def write_sheet(sheet: Sheet) -> str:
    """Return the sheet of one lab as a JSON document of one line."""
    return dump({
        "version": VERSION,
        "kind": "sheet",
        **describe_subject(sheet.subject),
        "topology": sheet.topology,
        "topology_version": sheet.version,
        "title": sheet.title,
        "language": sheet.language,
        "first": sheet.first,
        "last": sheet.last,
        "verdict": describe_verdict(sheet.verdict),
        "total": describe_score(sheet.total),
        "competencies": [describe_score(score) for score in sheet.scores],
        "checks": [{**describe_row(row), "stale": row.id in sheet.stale} for row in sheet.rows],
    })  # fmt: skip


def write_grid(grid: Grid) -> str:
    """Return the grid of a class as a JSON document of one line."""
    return dump({
        "version": VERSION,
        "kind": "grid",
        "language": grid.language,
        "first": grid.first,
        "last": grid.last,
        "competencies": [{"id": column.id, "title": column.title} for column in grid.columns],
        "labs": [describe_grid_row(row) for row in grid.rows],
        "total": describe_score(grid.total),
    })  # fmt: skip


def dump(document: Mapping[str, JsonValue]) -> str:
    """Return a document as text."""
    return json.dumps(document, ensure_ascii=False) + "\n"


def describe_subject(subject: Subject) -> dict[str, JsonValue]:
    """Return whose lab it is."""
    return {"lab": subject.lab, "student": subject.student, "group": subject.group}


def describe_verdict(verdict: Verdict) -> dict[str, JsonValue]:
    """Return a verdict with what stands in the way of a better one."""
    return {
        "ruling": str(verdict.ruling), "share": verdict.share, "essential": [*verdict.essential],
        "undecided": [*verdict.undecided],
    }  # fmt: skip


def describe_score(score: Score) -> dict[str, JsonValue]:
    """Return a score; the id is left out where it is that of the whole lab."""
    named: dict[str, JsonValue] = {"id": score.id, "title": score.title} if score.id else {}
    return {
        **named, "points": score.points, "worth": score.worth, "passed": score.passed, "checks": score.checks,
        "undecided": score.undecided,
    }  # fmt: skip


def describe_row(row: Row) -> dict[str, JsonValue]:
    """Return one check."""
    return {
        "id": row.id, "title": row.title, "from": row.node, "command": row.command, "expected": row.expected,
        "obtained": row.obtained, "status": str(row.status), "competency": row.competency,
        "competency_title": row.competency_title, "points": row.points, "worth": row.worth,
        "essential": row.essential, "negative": row.negative, "at": row.at, "seconds": row.seconds,
        "output": row.output.text, "output_left_out": row.output.left_out,
    }  # fmt: skip


def describe_grid_row(row: GridRow) -> dict[str, JsonValue]:
    """Return one lab of a class; of a student without a lab, only who it is."""
    if row.total is None or row.verdict is None:
        return describe_subject(row.subject)
    cells: Sequence[Score] = [cell for cell in row.cells if cell]
    return {
        **describe_subject(row.subject), "topology": row.topology, "verdict": describe_verdict(row.verdict),
        "total": describe_score(row.total), "competencies": [describe_score(cell) for cell in cells],
        "stale": row.stale,
    }  # fmt: skip
