"""Real PDFs, opened again: text, tags, language, title, page numbers, headings that are repeated."""

import io
from datetime import UTC
from typing import Any

import pytest
from pypdf import PdfReader

from labctl.report.annex import make_annex
from labctl.report.grid import make_grid
from labctl.report.page import render_annex, render_grid, render_sheet
from labctl.report.pdf import render_pdf
from labctl.report.sheet import Subject, make_sheet
from tests.report.sheets import all_passed, atelier, found, many_checks, sheet
from tests.worlds import catalogue


def read(page: str) -> PdfReader:
    return PdfReader(io.BytesIO(render_pdf(page)), strict=True)


def text_of(document: PdfReader) -> str:
    return " ".join("".join(page.extract_text() for page in document.pages).split())


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_sheet_is_an_accessible_document(language: str) -> None:
    document = read(render_sheet(sheet(language), UTC))
    root: Any = document.root_object  # what stands at each key is known from ISO 32000 only
    assert root["/Lang"] == language
    assert root["/MarkInfo"]["/Marked"]
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert document.metadata is not None
    assert "atelier-alice" in (document.metadata.title or "")
    assert b"pdfuaid" in root["/Metadata"].get_data()
    kinds = tags(root["/StructTreeRoot"])
    assert {"/Table", "/TR", "/TH", "/TD", "/H1", "/H2"} <= kinds


def tags(element: object) -> set[str]:
    """Return the kinds of all elements of the structure below one."""
    found_tags: set[str] = set()
    waiting = [element]
    while waiting:
        one = waiting.pop()
        one = one.get_object() if hasattr(one, "get_object") else one
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            found_tags |= {str(one["/S"])} if "/S" in one else set()
            waiting += [one["/K"]] if "/K" in one else []
    return found_tags


def test_forty_checks_with_long_evidence_keep_their_headings_and_numbers() -> None:
    topology = many_checks(40)
    results = {
        check.id: found("failed" if number % 3 else "passed", "seen " * 20, "word" * 200 + "\nline" * 60)
        for number, check in enumerate(topology.checks)
    }
    one = make_sheet(Subject("atelier-alice", "Alice"), topology, results, "en")
    document = read(render_sheet(one, UTC))
    pages = [" ".join(page.extract_text().split()) for page in document.pages]
    assert len(pages) > 5
    with_checks = [text for text in pages if "forbidden" in text]
    assert len(with_checks) >= 3
    assert all("Expected" in text and "Obtained" in text for text in with_checks)
    assert all(f"{number} / {len(pages)}" in text for number, text in enumerate(pages, 1))
    assert all(check.id in " ".join(pages) for check in topology.checks)


def test_a_class_of_24_fits_on_its_pages() -> None:
    topology = many_checks(40)
    sheets = [
        make_sheet(Subject(f"atelier-s{number:02d}", f"Student {number:02d}"), topology, all_passed(topology), "en")
        for number in range(24)
    ]
    document = read(render_grid(make_grid(sheets, [], "en"), UTC))
    text = text_of(document)
    assert len(document.pages) <= 3
    assert all(f"Student {number:02d}" in text for number in range(24))
    assert "B2.1.6" in text


def test_a_hostile_output_is_text_on_paper_too() -> None:
    text = text_of(read(render_sheet(sheet(), UTC)))
    assert "<script>alert(1)</script>" in text
    assert "[2J" in text


def test_an_address_in_a_page_is_never_fetched() -> None:
    page = '<!DOCTYPE html><html lang="en"><title>x</title><body><img src="file:///etc/hostname" alt="here">'
    document = read(page)
    assert not document.pages[0].images


def test_the_annex_is_upright() -> None:
    document = read(render_annex(make_annex(atelier(), catalogue(), "fr")))
    width, height = document.pages[0].mediabox.width, document.pages[0].mediabox.height
    assert height > width
    assert "Un service d'authentification" in text_of(document)
