"""Sheets to JUnit's XML, which platforms for continuous integration and for teaching read."""

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from labctl.report.sheet import Row, Sheet, Status
from labctl.report.words import name_status


def write_suites(sheets: Sequence[Sheet]) -> str:
    """Return one test suite for each lab, one test case for each check.

    A check that could not be made is an error, one that was not made is skipped: neither counts as passed.
    """
    root = Element("testsuites", name="labctl")
    for sheet in sheets:
        add_suite(root, sheet)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def add_suite(root: Element, sheet: Sheet) -> None:
    """Add the suite of one lab."""
    counts = {status: sum(row.status is status for row in sheet.rows) for status in Status}
    suite = SubElement(
        root, "testsuite", name=sheet.subject.lab, tests=str(len(sheet.rows)), failures=str(counts[Status.FAILED]),
        errors=str(counts[Status.UNKNOWN]), skipped=str(counts[Status.NOT_RUN]),
        time=f"{sum(row.seconds for row in sheet.rows):.2f}",
    )  # fmt: skip
    if sheet.last:
        suite.set("timestamp", sheet.last)
    for row in sheet.rows:
        add_case(suite, row, sheet)


def add_case(suite: Element, row: Row, sheet: Sheet) -> None:
    """Add one check with its evidence."""
    case = SubElement(
        suite, "testcase", classname=f"{sheet.subject.lab}.{row.node}", name=row.id, time=f"{row.seconds:.2f}"
    )
    properties = SubElement(case, "properties")
    for name, value in (
        ("title", row.title), ("competency", row.competency), ("points", row.points), ("worth", row.worth),
        ("expected", row.expected), ("command", row.command), ("at", row.at),
    ):  # fmt: skip
        SubElement(properties, "property", name=name, value=str(value))
    kinds = {Status.FAILED: "failure", Status.UNKNOWN: "error", Status.NOT_RUN: "skipped"}
    if row.status in kinds:
        message = row.obtained or name_status(row.status, sheet.language)
        SubElement(case, kinds[row.status], message=message)
    if row.output.text:
        SubElement(case, "system-out").text = row.output.text
