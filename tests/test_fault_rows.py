"""Which rows of the list of faults the tests name, so that a row cannot lose its last test unseen.

A test names its rows in a comment: `# F-15` on its line, or `# F-15, F-28` above it or in it. The list has fifty rows;
those that are expected here are the ones that a class must survive.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROW = re.compile(r"F-(\d\d)\b")
COMMENT = re.compile(r"#.*$")
LAST = 50

# What happens, in the words of those whom it happens to.
EXPECTED = {
    "F-01": "labctl is killed at any call of `up`",
    "F-02": "labctl is killed at any call of `down`",
    "F-03": "labctl is killed during `reset`",
    "F-04": "labctl is killed while machines are frozen",
    "F-05": "a process dies with its children, its lock and its place in the queue",
    "F-06": "a person stops a run",
    "F-07": "two runs on one lab",
    "F-08": "two labs that want one subnet or bridge",
    "F-09": "24 students press reset in one second",
    "F-10": "libvirtd is stopped, killed, started again",
    "F-11": "libvirtd hangs",
    "F-13": "a QEMU process is killed",
    "F-15": "the disk is full when overlays, memories or golden labs are written",
    "F-16": "the disk is full under running guests",
    "F-17": "the disk is full where the journal is",
    "F-19": "the database is damaged, read-only, older or newer",
    "F-20": "the database is busy, or a crash left its log",
    "F-21": "power is lost",
    "F-22": "the host is restarted",
    "F-23": "a base image or golden lab is changed or deleted",
    "F-24": "somebody edits or deletes what is ours",
    "F-25": "something foreign has a name of ours",
    "F-26": "not enough memory, disk or processors for a class",
    "F-27": "a machine never answers",
    "F-28": "one lab of a class fails",
    "F-30": "Ansible fails",
    "F-44": "a topology is edited while its lab runs",
    "F-46": "limits of the host that a class would reach",
}


def rows_of(path: Path) -> set[str]:
    """Return the rows that the comments of a file of tests name."""
    comments = [
        found.group() for line in path.read_text(encoding="utf-8").splitlines() if (found := COMMENT.search(line))
    ]
    return {f"F-{number}" for comment in comments for number in ROW.findall(comment)}


def covered() -> dict[str, list[str]]:
    """Return the files of tests that name each row."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            for row in rows_of(path):
                found.setdefault(row, []).append(str(path.relative_to(TESTS)))
    return found


@pytest.mark.parametrize("row", EXPECTED)
def test_a_row_of_the_list_of_faults_has_a_test(row: str) -> None:
    assert covered().get(row), f"no test names {row}: {EXPECTED[row]}"


def test_no_test_names_a_row_that_does_not_exist() -> None:
    assert [row for row in covered() if not 1 <= int(row[2:]) <= LAST] == []
