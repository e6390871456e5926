"""CSV, JUnit and JSON, read back by the parsers that others read them with."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.report import junit, record, spreadsheet
from labctl.report.harmless import show_text
from labctl.report.sheet import read_found
from tests.report.sheets import AT, HOSTILE, all_passed, atelier, found, grid, mixed, sheet

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)


def lines(text: str, language: str = "en") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=spreadsheet.SEPARATORS[language], strict=True))


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_table_has_a_line_for_each_check(language: str) -> None:
    head, *rows = lines(spreadsheet.write_sheet(sheet(language)), language)
    assert {len(row) for row in rows} == {len(head)} == {14}
    assert [row[0] for row in rows] == [check.id for check in atelier().checks]
    assert [row[9] for row in rows] == ["1", "0", "0", "0", "3", "1", "1", "0"]
    assert rows[0][13] == "2 packets transmitted, 2 received, 0% packet loss"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\n=1", "\t=1", "＝1", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(text: str) -> None:
    results = all_passed(atelier()) | {"fw-nat": read_found("failed", AT, {"seen": text, "output": text})}
    cells = [cell for row in lines(spreadsheet.write_sheet(sheet(results=results))) for cell in row]
    assert [cell for cell in cells if cell.strip().startswith(spreadsheet.STARTS)] == []
    assert f"'{text.strip()}" in cells


@given(ANYTHING)
def test_whatever_a_guest_writes_every_document_can_be_read(text: str) -> None:
    results = mixed() | {"fw-nat": read_found("failed", AT, {"seen": text, "command": text, "output": text})}
    one = sheet(results=results)
    rows = lines(spreadsheet.write_sheet(one))
    assert len(rows) == len(one.rows) + 1
    assert rows[-1][13].removeprefix("'") == show_text(text).text.removeprefix("'")
    ElementTree.fromstring(junit.write_suites([one]))
    json.loads(record.write_sheet(one).encode("utf-8"))


def test_junit_counts_only_what_passed_as_passed() -> None:
    root = ElementTree.fromstring(junit.write_suites([sheet(), sheet(results={})]).encode())
    suite, never = root.findall("testsuite")
    assert {name: suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "atelier-alice", "tests": "8", "failures": "2", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert (never.get("skipped"), never.get("timestamp")) == ("8", None)
    kinds = {
        case.get("name"): [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        for case in suite.iter("testcase")
    }
    assert kinds["fw-ssh"] == ["error"]
    assert kinds["fw-nat"] == ["skipped"]
    assert kinds["dns-site"] == ["failure"]
    assert kinds["lan-gateway"] == []
    output = suite.find("testcase[@name='site-https']/system-out")
    assert output is not None
    assert output.text == show_text(HOSTILE).text


def test_json_has_the_verdict_and_all_evidence() -> None:
    seen = json.loads(record.write_sheet(sheet()))
    assert seen["version"] == 1
    assert seen["verdict"] == {
        "ruling": "refused", "share": 46, "essential": ["site-https"], "undecided": ["fw-ssh", "fw-nat"],
    }  # fmt: skip
    checks = {check["id"]: check for check in seen["checks"]}
    assert (checks["fw-nat"]["status"], checks["fw-ssh"]["status"]) == ("not_run", "unknown")
    assert checks["dns-site"]["output_left_out"] > 0
    assert checks["lan-gateway"]["at"] == AT


def test_the_grid_as_json_and_as_a_table() -> None:
    seen = json.loads(record.write_grid(grid()))
    assert [lab["student"] for lab in seen["labs"]] == ["Alice", "Bob", "Chloé", "David"]
    assert [lab.get("verdict", {}).get("ruling") for lab in seen["labs"]] == ["accepted", "refused", "refused", None]
    head, alice, _bob, chloe, david = lines(spreadsheet.write_grid(grid()))
    assert alice[:3] == ["Alice", "SISR 2", "atelier-alice"]
    named = dict(zip(head, alice, strict=True))
    wanted = {"B2.2.1": "5", "B2.2.1 (Out of)": "5", "Points": "13", "Verdict": "accepted"}
    assert {name: named[name] for name in wanted} == wanted
    assert dict(zip(head, chloe, strict=True))["Without result"] == "8"
    assert david[-1] == "no lab"


def test_a_megabyte_of_output_is_cut_everywhere() -> None:
    flood = read_found("failed", AT, {"seen": "x" * 1_000_000, "output": "=\x1b<" * 300_000, "command": "y" * 100_000})
    one = sheet(results=all_passed(atelier()) | {"fw-nat": flood, "web-key": found()})
    for text in (spreadsheet.write_sheet(one), junit.write_suites([one]), record.write_sheet(one)):
        assert len(text) < 20_000
