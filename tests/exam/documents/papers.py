"""The documents of the session of `stories`, made from the small exam of these tests."""

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from functools import cache

from labctl.exam.documents.annex import render_annex
from labctl.exam.documents.candidate import Access, render_candidate
from labctl.exam.documents.heading import Heading, head
from labctl.exam.documents.journal import render_journal
from labctl.exam.documents.person import Names
from labctl.exam.documents.proctor import Checksums, render_proctor
from labctl.exam.documents.questions import render_questions
from labctl.exam.documents.recette import Proof, render_recette
from labctl.exam.load import Paper, read_paper
from labctl.exam.standing import Standing
from labctl.report.sheet import Found, Status, read_found
from labctl.topology.variants import Value
from tests.exam.documents.stories import NAMES, START, over, prepared, under_way
from tests.exam.papers import GOOD, HERE
from tests.topology.known import known

LANGUAGES = ("fr", "en")
VALUES: Mapping[str, Value] = {"page": "contact", "asked": "gamma"}
AT = "2027-05-18T09:06:00+00:00"
HOSTILE = "<script>alert(1)</script>{{ 7*7 }}\x1b[2J\u202e"
MANIFEST = "cd" * 32


@cache
def drawn_paper() -> Paper:
    """Return the exam with the values of one candidate."""
    return read_paper(GOOD, HERE / "nothing").resolve(known(), VALUES)


def heading(standing: Standing, language: str, **after: float) -> Heading:
    return head("e6-2027", standing, language, START + timedelta(**(after or {"hours": 4})), UTC)


def results() -> dict[str, Found]:
    """Return results in which the work is done and what had to stay is hurt, by a guest that writes what it likes."""
    seen = {"seen": HOSTILE, "command": "ping 192.168.50.80", "output": HOSTILE, "seconds": 0.5}
    return {
        "page-opens": read_found("passed", AT, {"seen": "status 200"}),
        "web-answers": read_found("failed", AT, seen),
    }


def proof(standing: Standing, found: Mapping[str, Found] | None = None) -> Proof:
    start = {"page-opens": Status.FAILED, "web-answers": Status.FAILED}
    return Proof(results() if found is None else found, start, MANIFEST, standing.head, standing.seq)


def candidate_page(language: str, *, rehearsal: bool = False) -> str:
    standing = under_way(rehearsal=rehearsal, minute=10.0 if rehearsal else 60.0).standing
    access = Access("https://labctl.example:8443", "c0102", "abcd-efgh" if rehearsal else "")
    return render_candidate(heading(standing, language, minutes=75), drawn_paper(), standing.candidates["0102"], access)


def recette_page(language: str, found: Mapping[str, Found] | None = None) -> str:
    standing = over().standing
    return render_recette(
        heading(standing, language), drawn_paper(), standing.candidates["0101"], VALUES, Names(NAMES),
        proof(standing, found),
    )  # fmt: skip


def questions_page(language: str) -> str:
    return render_questions(heading(over().standing, language), drawn_paper(), "0102", VALUES, Names(NAMES))


def proctor_page(language: str, standing: Standing | None = None) -> str:
    told = standing or over().standing
    checksums = Checksums("ab" * 32, "ef" * 16, told.head, told.seq) if standing is None else Checksums(head=told.head)
    return render_proctor(heading(told, language), told, Names(NAMES), checksums)


def journal_page(language: str) -> str:
    return render_journal(heading(over().standing, language), over().standing, Names(NAMES))


def annex_page(language: str) -> str:
    standing = prepared(rehearsal=True).standing
    return render_annex(heading(standing, language), drawn_paper().topology, known())


PAGES: Mapping[str, Callable[[str], str]] = {
    "candidate": candidate_page,
    "rehearsal": lambda language: candidate_page(language, rehearsal=True),
    "recette": recette_page,
    "questions": questions_page,
    "proctor": proctor_page,
    "prepared": lambda language: proctor_page(language, prepared(rehearsal=True).standing),
    "journal": journal_page,
    "annex": annex_page,
}
