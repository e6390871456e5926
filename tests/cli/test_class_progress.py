"""The display of a class: what a trainer reads while labs are under way."""

import io

import pytest
from rich.console import Console

from labctl.cli.class_progress import ClassBoard, ClassLines
from labctl.cli.progress import Display
from labctl.monitor import Event, Progress


def play(display: Display) -> None:
    """Tell of one lab that is ready, one in a step, one that failed and one that waits."""
    for owner in ("elodie", "bob", "chloe"):
        display.tell(Event(owner, "lab", Progress.STARTED))
        for node in ("fw", "web"):
            display.tell(Event(f"{owner}/{node}", "clone", Progress.DONE))
    display.tell(Event("elodie", "lab", Progress.DONE))
    display.tell(Event("bob/web", "personalise", Progress.STARTED))
    display.tell(Event("chloe/fw", "resume", Progress.FAILED, "fw: no agent"))
    display.tell(Event("chloe", "lab", Progress.FAILED))


def test_a_terminal_shows_who_is_under_way_who_failed_and_counts_the_ready() -> None:
    board = ClassBoard("dmz: 4 labs", 4, 60.0)
    play(board)
    console = Console(file=io.StringIO(), width=120)
    console.print(board.render())
    assert isinstance(console.file, io.StringIO)
    headline, *rows = console.file.getvalue().splitlines()
    assert "1 of 4 ready · 1 under way · 1 failed · slowest: bob (personalise" in headline
    assert [row.split()[1] for row in rows] == ["bob", "chloe"]
    assert "web" in rows[0]


def test_a_file_gets_one_line_for_each_lab_that_is_done_or_failed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ClassLines(4, None)
    play(lines)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told if "ready" in line] == ["✔ elodie", "✘ chloe"]
    assert any("fw: no agent" in line for line in told)


def test_an_interrupted_lab_has_not_failed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ClassLines(2, None)
    lines.tell(Event("bob", "lab", Progress.STARTED))
    lines.tell(Event("bob", "lab", Progress.SKIPPED))
    assert capsys.readouterr().err == ""
    assert lines.progress.count(Progress.FAILED) == 0
