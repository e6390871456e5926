"""Real PDFs of exams, opened again: tagged, with language and title, the mark of a rehearsal on each page."""

import io
from typing import Any

import pytest
from pypdf import PdfReader

from labctl.report.pdf import render_pdf
from tests.exam.documents.papers import LANGUAGES, PAGES
from tests.report.test_pdf import tags


def read(page: str) -> PdfReader:
    return PdfReader(io.BytesIO(render_pdf(page)), strict=True)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", PAGES)
def test_a_document_is_accessible_and_marked_on_each_page(kind: str, language: str) -> None:
    document = read(PAGES[kind](language))
    root: Any = document.root_object  # what stands at each key is known from ISO 32000 only
    assert root["/Lang"] == language
    assert root["/MarkInfo"]["/Marked"]
    assert b"pdfuaid" in root["/Metadata"].get_data()
    assert {"/Table", "/TH", "/TD", "/H1"} <= tags(root["/StructTreeRoot"])
    assert document.metadata is not None
    assert document.metadata.title
    texts = [" ".join(page.extract_text().split()) for page in document.pages]
    mark = "RÉPÉTITION" if language == "fr" else "REHEARSAL"
    rehearsed = kind in {"rehearsal", "prepared", "annex"}
    assert [mark in text for text in texts] == [rehearsed] * len(texts)
    assert all(f"{number} / {len(texts)}" in text for number, text in enumerate(texts, 1))
    assert all("e6-2027" in text for text in texts)


def test_a_rehearsal_of_several_pages_is_marked_on_all_of_them() -> None:
    assert len(read(PAGES["prepared"]("fr")).pages) >= 2
