"""Whatever a guest writes, what is shown of it holds nothing that anybody acts on."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from labctl.report.harmless import LONGEST, LONGEST_LINE, MOST_LINES, Shown, show_line, show_text

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ✔ 日本", "plain é ✔ 日本"),
        ("a\r\nb\tc", "a\nb    c"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x00\x07\x08\r\x7f", "\\x00\\x07\\x08\\x0d\\x7f"),
        ("\x85\u202e\u2066\ufeff\u200b", "�����"),
        ("\ud800\ufffe\U0001ffff", "���"),
        ("one\u2028two", "one\ntwo"),
    ],
)
def test_what_acts_is_shown_as_what_it_is(text: str, shown: str) -> None:
    assert show_text(text) == Shown(shown)


@given(ANYTHING)
def test_nothing_that_acts_is_left(text: str) -> None:
    shown = show_text(text).text
    assert not {unicodedata.category(letter) for letter in shown if letter != "\n"} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    element = etree.Element("x")
    element.text = shown  # lxml refuses what XML 1.0 has no place for
    shown.encode("utf-8")


@given(ANYTHING)
def test_a_line_is_one_line(text: str) -> None:
    line = show_line(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


def test_a_flood_is_cut_and_counted() -> None:
    flood = "x" * 1_000_000
    assert show_text(flood) == Shown("x" * LONGEST, 1_000_000 - LONGEST)
    lines = "line\n" * 1000
    shown = show_text(lines)
    assert len(shown.text.split("\n")) == MOST_LINES
    assert len(shown.text) + shown.left_out == len(lines)
    assert show_line(flood) == "x" * LONGEST_LINE + "…"
