"""The command of the benchmarks measures what it was asked for, and nothing where it did not understand."""

import socket
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import GOALS, main, measure_parts, read_arguments
from tests.benchmarks.consoles import Direct

PARTS = tuple(measure_parts())


def test_help_lists_the_parts_and_measures_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"  {part}\n" in shown for part in PARTS)
    assert "{" not in shown  # a line of figures


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all"], "unrecognized arguments: --all"),
        (["portal"], "unrecognized arguments: portal"),
        (["--onl", "portal"], "unrecognized arguments"),
        (["--only"], "expected one argument"),
        (["--only", "portal-consol"], 'no part is called "portal-consol" (is portal-console meant?)'),
        (["--only", "portal,"], 'no part is called ""'),
        (["--only", "console"], 'no part is called "console"'),
        (["--only", "portal", "--write", "nowhere/page.md"], "in a folder that exists"),
        (["--only", "portal", "--write", "page.json"], "is no Markdown page"),
    ],
)
def test_what_is_not_understood_measures_nothing(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert said in shown.err
    assert shown.out == ""


def test_parts_are_chosen_by_name_in_their_order_and_by_their_first_word() -> None:
    assert read_arguments([], PARTS).only == PARTS
    assert read_arguments(["--only", "evidence, commands"], PARTS).only == ("commands", "evidence")
    portal = ("portal", "portal-console", "portal-standing")
    assert read_arguments(["--only", "portal"], PARTS).only == portal
    assert read_arguments(["--only", "portal-console"], PARTS).only == ("portal-console",)
    golden = read_arguments(["--only", "golden"], PARTS).only
    assert len(golden) > 1
    assert all(part.startswith("golden-") for part in golden)


def test_a_page_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert read_arguments(["--write", str(page)], PARTS).write == page
    assert read_arguments([], PARTS).write is None


def test_every_goal_is_a_figure_of_a_part() -> None:
    assert {part for part, *_rest in GOALS.values()} <= set(PARTS)


def test_an_update_that_only_agrees_to_an_encoding_is_no_picture() -> None:
    def update(width: int, height: int, encoding: int) -> bytes:
        sizes = (one.to_bytes(2, "big") for one in (0, 0, width, height))
        return b"\0\0\0\1" + b"".join(sizes) + encoding.to_bytes(4, "big", signed=True)

    ours, qemu = socket.socketpair()
    with ours, qemu:
        name = b"QEMU"
        screen = (4).to_bytes(2, "big") + (2).to_bytes(2, "big") + bytes(16) + len(name).to_bytes(4, "big") + name
        qemu.sendall(b"RFB 003.008\n" + b"\1\1" + bytes(4) + screen)
        way = Direct(ours)
        way.greet()
        qemu.sendall(update(4, 2, -258) + update(4, 2, 0) + bytes(4 * 4 * 2) + update(1, 1, 0) + bytes(4))
        assert [way.see()[0], way.see()[0]] == [32, 4]
