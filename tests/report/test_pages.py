"""Pages, whole, as they are kept in tests/report/golden, and as browsers and screen readers take them."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path

import pytest

from labctl import __version__
from labctl.report.annex import make_annex
from labctl.report.page import render_annex, render_grid, render_sheet
from labctl.report.words import WORDS
from tests.report.sheets import atelier, grid, sheet
from tests.worlds import catalogue

GOLDEN = Path(__file__).parent / "golden"
LANGUAGES = ("fr", "en")
KINDS: Mapping[str, Callable[[str], str]] = {
    "sheet": lambda language: render_sheet(sheet(language, made="2026-03-12T10:00:00+00:00"), UTC),
    "grid": lambda language: render_grid(grid(language), UTC),
    "annex": lambda language: render_annex(make_annex(atelier(), catalogue(), language)),
}
VOID = {"meta", "br", "col", "img", "link", "input", "hr"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_the_golden_ones(kind: str, language: str, update_golden: bool) -> None:
    seen = KINDS[kind](language).replace(f"labctl {__version__}", "labctl VERSION")
    path = GOLDEN / f"{kind}-{language}.html"
    if update_golden:
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


def test_no_golden_page_is_left_over() -> None:
    expected = {f"{kind}-{language}.html" for kind in KINDS for language in LANGUAGES}
    assert {path.name for path in GOLDEN.iterdir()} == expected


class Reader(HTMLParser):
    """Notes what a page holds, and that every element is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_whole_and_can_be_read_aloud(kind: str, language: str) -> None:
    page = KINDS[kind](language)
    seen = read(page)
    assert seen.all("html") == [{"lang": language}]
    assert [len(seen.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1]
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _attributes in seen.found}
    assert not [attributes for _tag, attributes in seen.found for name in attributes if name.startswith("on")]
    assert all(header.get("scope") in {"col", "row"} for header in seen.all("th"))
    assert not re.search(r"https?://", page.partition("<main>")[0])
    identifiers = [attributes["id"] for _tag, attributes in seen.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {(link["href"] or "").removeprefix("#") for link in seen.all("a")}
    assert targets <= set(identifiers)


def test_no_word_is_missing_and_none_is_left_over() -> None:
    """A word that no template and no table asks for would be translated for nobody."""
    package = Path(__file__).parents[2] / "labctl" / "report"
    sources = [path for path in package.rglob("*") if path.suffix in {".j2", ".py"} and path.name != "words.py"]
    used = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert [name for name in WORDS if f"words.{name}" not in used and f'"{name}"' not in used] == []


def test_what_a_guest_wrote_is_text() -> None:
    seen = read(render_sheet(sheet(), UTC))
    text = "".join(seen.text)
    assert "<script>alert(1)</script>" in text
    assert "{{ 7*7 }}" in text
    assert "\\x1b[2J" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "Alice Ødegård-<Ñ>" in text
    assert 'The site answers <b>by HTTPS</b> & "well"' in text


def test_the_grid_can_be_read_in_black_and_white() -> None:
    """Each cell has its number and a sign for its level; cells of another level have another sign."""
    page = render_grid(grid(), UTC)
    cells = re.findall(r'<td class="level-(\w+)"><span class="ball" aria-hidden="true">(.)</span> (\S+)', page)
    assert len(cells) > 15
    signs = dict({(level, sign) for level, sign, _number in cells})
    assert len(signs) == len(set(signs.values())) >= 4
    assert all(re.match(r"\d+", number) for _level, _sign, number in cells)


def test_what_was_not_checked_is_shown_as_such() -> None:
    text = "".join(read(render_sheet(sheet(), UTC)).text)
    assert "not checked" in text
    assert "could not be checked" in text
    assert "2 checks have no result; they are not counted as passed. To make them: labctl check atelier-alice" in text
