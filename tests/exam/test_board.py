"""The board of a session: what it says of a standing at a time, and that it can be read at 80 columns."""

import io
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from labctl.cli.exam_board import print_board
from labctl.exam.audit import Act, Step
from labctl.exam.board import Board, Seen, clock_text, make_board
from labctl.exam.model import Phase
from tests.exam.documents.stories import START, Story, over, prepared, under_way

RUNNING = {"web": "running", "client": "running"}
PAUSED = dict.fromkeys(RUNNING, "paused")
SEEN = Seen({"0101": RUNNING, "0102": PAUSED, "0103": RUNNING}, {"0101": 2}, supervised=True)
FAILED, UNPROVEN = "! reset", "isolation not proven"  # what 0103 has beside
GOLDEN = Path(__file__).with_name("board.txt")


def board(story: Story, seen: Seen = SEEN, **after: float) -> Board:
    return make_board("e6-2027", story.standing, START + timedelta(**after) if after else story.now, seen)


def said(one: Board, number: str) -> list[str]:
    (row,) = [row for row in one.rows if row.number == number]
    return [("! " if alert.urgent else "") + alert.text for alert in row.alerts]


def printed(one: Board, width: int = 80) -> str:
    out = io.StringIO()
    print_board(one, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@pytest.fixture(autouse=True)
def _in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    monkeypatch.setenv("TZ", "UTC")


def test_clocks_follow_the_log() -> None:
    rows = {row.number: row for row in board(under_way(), minutes=75).rows}
    assert rows["0101"].phase is Phase.PRACTICAL
    assert rows["0101"].left == timedelta(minutes=47)  # an hour, and two minutes for the incident
    assert rows["0102"].paused
    before = rows["0102"].left
    assert before == {row.number: row for row in board(under_way(), minutes=90).rows}["0102"].left
    assert (rows["0101"].consoles, rows["0103"].consoles) == (2, 0)


def test_nothing_is_said_where_all_is_well() -> None:
    one = board(under_way(), minutes=75)
    assert said(one, "0101") == []
    assert said(one, "0103") == [FAILED, UNPROVEN]
    assert said(one, "0102") == ["paused for 4:54"]
    assert one.alerts == ()


def test_a_lab_that_is_not_there_is_told_with_its_reason() -> None:
    one = board(prepared())
    assert said(one, "0103") == ["! no lab"]
    assert "0103: no lab: no room" in printed(one)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"minutes": 119}, [FAILED, "ends soon", UNPROVEN]),
        ({"minutes": 120, "seconds": 10}, [FAILED, "time over, freezes in 0:20", UNPROVEN]),
        ({"minutes": 120, "seconds": 33}, [FAILED, "time over, freezes in 0:00", UNPROVEN]),
        ({"minutes": 120, "seconds": 40}, ["! time over, not frozen", FAILED, UNPROVEN]),
    ],
)
def test_the_end_of_the_work(after: Mapping[str, float], words: list[str]) -> None:
    assert said(board(under_way(), SEEN, **after), "0103") == words


def test_little_time_is_less_in_a_short_rehearsal() -> None:
    assert said(board(under_way(minute=10.0), minutes=67), "0101") == []
    assert said(board(under_way(minute=10.0), minutes=71, seconds=30), "0101") == ["ends soon"]


@pytest.mark.parametrize(
    ("number", "state", "words"),
    [
        ("0101", "stopped", ["! web is off"]),
        ("0101", "crashed", ["! web crashed"]),
        ("0101", "missing", ["! web is missing"]),
        ("0101", "paused", ["! web stands still"]),
        ("0101", "odd", ["! web does not run"]),
        ("0102", "running", ["! web runs", "paused for 4:54"]),
    ],
)
def test_a_machine_that_is_not_as_the_log_says(number: str, state: str, words: list[str]) -> None:
    machines = {**SEEN.machines, number: {**SEEN.machines[number], "web": state}}
    assert said(board(under_way(), Seen(machines), minutes=75), number) == words


def test_a_machine_that_is_off_before_the_exam_is_told_in_time() -> None:
    off = Seen({"0101": {**PAUSED, "web": "stopped"}, "0102": PAUSED, "0103": PAUSED})
    assert [said(board(prepared(), off), number) for number in ("0101", "0102")] == [["! web is off"], []]


def test_a_machine_that_was_frozen_off_is_no_emergency() -> None:
    off = Seen({"0101": {**PAUSED, "web": "stopped"}})
    story = under_way()
    story.freeze("0101")
    assert said(board(story, off), "0101") == ["web is off"]


def test_machines_on_their_way_are_no_alert() -> None:
    story = under_way()
    story.add(Act.PAUSE, Step.BEGUN, "0101", reason="illness")
    assert said(board(story), "0101") == ["paused for 0:00", "pause under way"]


def test_a_failure_stays_until_it_is_done() -> None:
    story = under_way()
    story.add(Act.COLLECT, Step.BEGUN, "0101")
    story.add(Act.COLLECT, Step.FAILED, "0101", error="the disk is full")
    assert "! collection of evidence" in said(board(story, Seen()), "0101")
    assert "0101: collection of evidence: the disk is full" in " ".join(printed(board(story, Seen())).split())
    story.do(Act.COLLECT, "0101")
    assert "! collection of evidence" not in said(board(story, Seen()), "0101")


@pytest.mark.parametrize(("result", "words"), [("does not hold", "! NOT ISOLATED"), ("holds", "")])
def test_a_lab_that_reaches_more_than_it_may_is_urgent(result: str, words: str) -> None:
    story = under_way()
    story.add(Act.ISOLATION, Step.NOTED, "0101", result=result, reason="client reaches 192.0.2.1")
    assert "".join(said(board(story), "0101")) == words
    assert ("0101: NOT ISOLATED: client reaches 192.0.2.1" in printed(board(story))) == bool(words)


def test_a_copy_that_is_not_whole_is_urgent() -> None:
    story = under_way()
    story.add(Act.FREEZE, Step.BEGUN, "0101", reason="deadline")
    story.add(Act.FREEZE, Step.FAILED, "0101", error="no room")
    assert said(board(story, Seen()), "0101")[0] == "! copy of the work not whole"


def test_without_a_supervisor_the_proctor_is_told_what_to_type() -> None:
    one = board(under_way(), Seen(supervised=False), minutes=75)
    assert "labctl exam supervise" in printed(one)
    assert board(prepared(), Seen(supervised=False)).alerts == ()


def test_a_clock_that_was_set_is_told() -> None:
    assert "was set by -30.0 s" in printed(board(over(), Seen()))


def test_the_board_fits_80_columns(update_golden: bool) -> None:
    """With signs of their own for all that colour shows."""
    machines = {**SEEN.machines, "0103": {"web": "stopped", "client": "running", "fw": "odd"}}
    text = printed(board(under_way(rehearsal=True), Seen(machines, {"0101": 2}, supervised=False), minutes=121))
    if update_golden:
        GOLDEN.write_text(text, encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 80
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["fr", "en"])
def test_no_number_and_no_clock_is_cut(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", language)
    story = under_way()
    text = printed(board(story, minutes=62))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for row in board(story, minutes=62).rows:
        assert row.number in text
        assert row.left is not None
        assert clock_text(row.left) in text


def test_no_name_of_a_person_is_on_the_board() -> None:
    assert "Ada" not in printed(board(over()))


@pytest.mark.parametrize(
    ("seconds", "said_"), [(5400, "1:30:00"), (59, "0:59"), (-0.5, "0:00"), (-61, "−1:01"), (0, "0:00")]
)
def test_clock_text(seconds: float, said_: str) -> None:
    assert clock_text(timedelta(seconds=seconds)) == said_
