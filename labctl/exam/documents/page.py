"""A document of an exam session to one self-contained HTML page, on the templates of acceptance sheets."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from labctl import __version__
from labctl.exam.documents.heading import Heading
from labctl.exam.documents.words import explain_minute, pick_words
from labctl.report.page import environment
from labctl.report.words import pick_words as pick_report_words
from labctl.topology.values import Text

LOOSE_BEFORE, LOOSE_AFTER = re.compile(r" (?=[:;?!»])"), re.compile("« ")
WHITE = re.compile(r"[ \n]+")  # not the space that does not break
TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, heading: Heading, title: str, **values: object) -> str:
    """Return a page from its template; everything that is filled in is escaped.

    A rehearsal is told at the top of the page, and on each sheet of paper.
    """
    words = {**pick_report_words(heading.language), **pick_words(heading.language)}
    fixed: Mapping[str, object] = {
        "language": heading.language, "words": words, "version": __version__, "heading": heading, "title": title,
        "minute": explain_minute(heading.minute, heading.language),
    }  # fmt: skip
    return environment(TEMPLATES).get_template(template).render(**fixed, **values)


def say(text: Text, language: str) -> str:
    """Return what an author wrote; in French, nothing that belongs to a word stands alone at an end of a line."""
    said = text.pick(language)
    if language != "fr":
        return said
    return LOOSE_BEFORE.sub("\N{NO-BREAK SPACE}", LOOSE_AFTER.sub("«\N{NO-BREAK SPACE}", said))


def paragraphs(text: str) -> Sequence[str]:
    """Return the paragraphs of a text whose author left empty lines between them, each on one line."""
    return [" ".join(WHITE.split(part.strip())) for part in text.split("\n\n") if part.strip()]
