"""Fictitious labs with results, for the tests of documents: a small one that is read whole, and one of many checks."""

from functools import cache
from pathlib import Path

from labctl.report.grid import Grid, make_grid
from labctl.report.harmless import show_text
from labctl.report.sheet import Found, Sheet, Status, Subject, make_sheet, read_found
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.worlds import catalogue

ATELIER = Path(__file__).with_name("atelier.yml")
AT = "2026-03-12T09:15:02+00:00"
HOSTILE = (
    '<script>alert(1)</script><img src=x onerror="alert(2)">&amp; {{ 7*7 }} {% raw %} ]]> =HYPERLINK("x")\n'
    "\x1b[2J\x1b]0;title\x07\r\b\x00\x7f\x85\ufffe\ud800 \u202egnp.exe\u2066 \u2028 end"
)


@cache
def atelier() -> Topology:
    """Return the small lab."""
    return load_topology(ATELIER, catalogue())


def found(status: str = "passed", seen: str = "it answers", output: str = "", at: str = AT) -> Found:
    """Return the result of a check."""
    return Found(Status(status), at, seen, "ping -n -c 2 172.16.10.254", show_text(output), 0.25)


def all_passed(topology: Topology) -> dict[str, Found]:
    """Return results of a lab in which everything is right."""
    return {check.id: found(output="2 packets transmitted, 2 received, 0% packet loss") for check in topology.checks}


def mixed() -> dict[str, Found]:
    """Return results of every kind, one of them hostile, and one check that was never run."""
    results = all_passed(atelier())
    results["dns-site"] = found("failed", "NXDOMAIN", ";; status: NXDOMAIN\n" * 60)
    results["site-https"] = read_found("failed", AT, {"seen": HOSTILE, "command": "curl", "output": HOSTILE})
    results["fw-ssh"] = found("unknown", "the node does not answer")
    del results["fw-nat"]
    return results


def sheet(language: str = "en", results: dict[str, Found] | None = None, made: str = "") -> Sheet:
    """Return a sheet of the small lab."""
    subject = Subject("atelier-alice", "Alice Ødegård-<Ñ>", "SISR 2", made)
    return make_sheet(subject, atelier(), mixed() if results is None else results, language)


def grid(language: str = "en") -> Grid:
    """Return the grid of a class of four: all right, mixed, never checked, without a lab."""
    sheets = [
        make_sheet(Subject("atelier-alice", "Alice", "SISR 2"), atelier(), all_passed(atelier()), language),
        make_sheet(Subject("atelier-bob", "Bob"), atelier(), mixed(), language),
        make_sheet(Subject("atelier-chloe", "Chloé"), atelier(), {}, language),
    ]
    return make_grid(sheets, [Subject("", "David")], language)


def many_checks(count: int) -> Topology:
    """Return the small lab with so many checks, of many competencies, with long titles."""
    checks = atelier().checks
    names = ["B2.1.6", "B2.2.1", "B2.2.2", "B2.2.5", "B2.2.6", "B2.3.1", "B2.3.3", "B2.3.4", "B3.3.2", "B3.5.2"]
    many = tuple(
        checks[number % len(checks)].model_copy(
            update={"id": f"check-{number:02d}", "competency": names[number % len(names)]}
        )
        for number in range(count)
    )
    return atelier().model_copy(update={"checks": many})
