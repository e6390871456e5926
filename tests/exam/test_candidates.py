"""Lists of candidates: whose clock runs how long, whose name stays apart, and every problem with its place."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from labctl.exam.candidates import Candidates, load_candidates
from labctl.exam.model import Phase
from labctl.exam.timetable import find_slots, whole_time
from labctl.topology.problems import ProblemsFound
from tests.exam.papers import good_paper


def load(folder: Path, text: str, **changes: object) -> Candidates:
    path = folder / "candidates.csv"
    path.write_text(text, encoding="utf-8")
    return load_candidates(path, good_paper().exam.model_copy(update=changes))


def test_official_times_are_stretched_to_the_second(tmp_path: Path) -> None:
    plain, third, decimal = load(tmp_path, "number;time_factor\n0101;\n0102;4/3\n0103;1,33\n").listed
    assert [one.total_seconds() / 60 for one in plain.times.values()] == [30, 20, 60, 20]
    assert whole_time(third) == timedelta(hours=2, minutes=53, seconds=20)
    assert third.times[Phase.INTERVIEW] == timedelta(minutes=26, seconds=40)
    assert decimal.time_factor == Fraction(133, 100)
    assert decimal.times[Phase.PRACTICAL] == timedelta(minutes=79, seconds=48)


def test_own_minutes_take_the_place_of_the_factor(tmp_path: Path) -> None:
    (one,) = load(tmp_path, "number;time_factor;practical\n0101;4/3;90\n").listed
    assert one.times[Phase.PRACTICAL] == timedelta(minutes=90)
    assert one.times[Phase.PREPARATION] == timedelta(minutes=40)


def test_names_are_kept_apart(tmp_path: Path) -> None:
    found = load(tmp_path, "number;name\n0101;Ada Lovelace\n0102;\n")
    assert found.names == {"0101": "Ada Lovelace"}
    assert "Ada" not in repr(found)


@pytest.mark.parametrize(("word", "allowed"), [("", True), ("no", False), ("Oui", True), ("NON", False)])
def test_pauses(tmp_path: Path, word: str, allowed: bool) -> None:
    (one,) = load(tmp_path, f"number;pauses\n0101;{word}\n").listed
    assert one.pauses is allowed
    (other,) = load(tmp_path, f"number;pauses\n0101;{word}\n", pauses=False).listed
    assert other.pauses is (allowed and bool(word))


def test_phases_follow_one_another(tmp_path: Path) -> None:
    (one,) = load(tmp_path, "number;time_factor\n0101;4/3\n").listed
    slots = list(find_slots(one, datetime(2027, 5, 18, 6, 30, tzinfo=UTC)))
    assert [slot.phase for slot in slots] == [*Phase]
    assert all(before.end == after.begin for before, after in pairwise(slots))
    assert slots[-1].end - slots[0].begin == whole_time(one)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("number\n0101\n0101\n", 'candidates.csv:3:1: number: expected each number once, found "0101" again'),
        ("number\nab\nAB\n", "candidates.csv:3:1: number"),
        ("id\n0101\n", 'candidates.csv:1:1: expected a column "number", found id'),
        ("number\n", "candidates.csv:1:1: expected at least one candidate below the first line"),
        ("number;time_factor\n0101;40\n", "candidates.csv:2:6: time_factor: expected a number from 1 to 3"),
        ("number;time_factor\n0101;0.9\n", "candidates.csv:2:6: time_factor"),
        ("number\n../../0101\n", "candidates.csv:2:1: number: expected a number of letters from A to Z, digits"),
        ("number;practical\n0101;59\n", "practical: expected a whole number from 60, the standard time, to 1440"),
        (
            "number;practical\n0101;9 h\n",
            'practical: expected a whole number from 60, the standard time, to 1440, found "9',
        ),
        ("number;pauses\n0101;maybe\n", 'candidates.csv:2:6: pauses: expected yes or no, found "maybe"'),
        ("number;tiers\n0101;1\n", "candidates.csv:1:8: expected one of the columns number, name, time_factor"),
        ("number\nspare-1\n", "number: expected a number that is not the name of a spare lab"),
    ],
)
def test_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candidates.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ProblemsFound) as caught:
        load_candidates(Path("candidates.csv"), good_paper().exam)
    assert told in caught.value.message
