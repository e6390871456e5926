"""The verbs of exams, as people type them."""

from pathlib import Path

import pytest

from tests.cli.conftest import Installation
from tests.exam.papers import write_exam

LIST = "number;name;time_factor\n0101;Ada Lovelace;\n0102;Bob;4/3\n"


@pytest.fixture
def labctl(tmp_path: Path) -> Installation:
    (tmp_path / "candidates.csv").write_text(LIST, encoding="utf-8")
    return Installation(tmp_path)


def test_a_shipped_exam_is_valid_for_its_candidates(labctl: Installation) -> None:
    done = labctl.run("exam", "validate", "e6-dmz", "--candidates", "candidates.csv")
    assert done.returncode == 0, done.stderr
    assert "e6-dmz.yml: valid (E6, dmz, 9 checks, 2 candidates)" in done.stdout


def test_a_bad_exam_and_a_bad_list_are_invalid(labctl: Installation, tmp_path: Path) -> None:
    write_exam(tmp_path, ("session: 2027", "session: 2025"))
    done = labctl.run("exam", "validate", "exam.yml", "e6-dmz")
    assert done.returncode == 3
    assert "exam.yml:5:10: session" in done.stdout
    assert "e6-dmz.yml: valid" in done.stdout
    (tmp_path / "candidates.csv").write_text("number\n1\n1\n", encoding="utf-8")
    done = labctl.run("exam", "plan", "e6-dmz", "--candidates", "candidates.csv")
    assert done.returncode == 3
    assert "candidates.csv:3:1: number" in done.stderr


def test_the_plan_shows_times_and_no_names(labctl: Installation) -> None:
    plan = ("exam", "plan", "e6-dmz", "--candidates", "candidates.csv")
    done = labctl.run(*plan, "--start", "2027-05-18T08:30")
    assert done.returncode == 0, done.stderr
    assert "4/3" in done.stdout
    assert "2:53:20" in done.stdout
    assert "Ada" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    found = labctl.json(*plan, "--start", "2027-05-18T08:30")
    assert [one["seconds"] for one in found["candidates"]] == [7800, 10400]
    practical = found["candidates"][1]["phases"]["practical"]
    assert practical["seconds"] == 4800
    assert practical["begins"].endswith("Z")
    assert "begins" not in str(labctl.json(*plan))


def test_the_plan_without_candidates_is_a_usage_error(labctl: Installation) -> None:
    assert labctl.run("exam", "plan", "e6-dmz").returncode == 2
