"""Documents of exams, whole, as they are kept in `golden`, and as browsers and screen readers take them."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from labctl import __version__
from labctl.exam.documents.heading import length
from labctl.exam.documents.words import WORDS
from labctl.report.sheet import read_found
from tests.exam.documents.papers import (
    AT,
    LANGUAGES,
    PAGES,
    candidate_page,
    journal_page,
    proctor_page,
    questions_page,
    recette_page,
)
from tests.exam.documents.stories import NAMES, over, prepared, under_way
from tests.report.test_pages import read

GOLDEN = Path(__file__).parent / "golden"
PACKAGE = Path(__file__).parents[3] / "labctl" / "exam" / "documents"
REHEARSED = {"rehearsal", "prepared", "annex"}


def text_of(page: str) -> str:
    return " ".join(" ".join(read(page).text).split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", PAGES)
def test_pages_are_the_golden_ones(kind: str, language: str, update_golden: bool) -> None:
    seen = PAGES[kind](language).replace(f"labctl {__version__}", "labctl VERSION")
    path = GOLDEN / f"{kind}-{language}.html"
    if update_golden:
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


def test_no_golden_page_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{kind}-{one}.html" for kind in PAGES for one in LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_whole_and_can_be_read_aloud(kind: str, language: str) -> None:
    page = PAGES[kind](language)
    seen = read(page)
    assert seen.all("html") == [{"lang": language}]
    assert [len(seen.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1]
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _attributes in seen.found}
    assert all(header.get("scope") in {"col", "row"} for header in seen.all("th"))
    identifiers = [attributes["id"] for _tag, attributes in seen.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {(link["href"] or "").removeprefix("#") for link in seen.all("a")} <= set(identifiers)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", PAGES)
def test_a_rehearsal_is_told_and_nothing_else_is_called_one(kind: str, language: str) -> None:
    mark = "RÉPÉTITION" if language == "fr" else "REHEARSAL"
    assert (mark in text_of(PAGES[kind](language))) == (kind in REHEARSED)


def test_no_word_is_missing_and_none_is_left_over() -> None:
    sources = [path for path in PACKAGE.rglob("*") if path.suffix in {".j2", ".py"} and path.name != "words.py"]
    used = "".join(path.read_text(encoding="utf-8") for path in sources)
    used += "".join(re.findall(r'words\["\w+"\]', (PACKAGE / "words.py").read_text(encoding="utf-8")))
    assert [name for name in WORDS if not re.search(rf"words\.{name}\b|[\"']{name}[\"']", used)] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rehearsal", [False, True])
def test_what_a_candidate_gets_has_their_values_and_nobodys_name(language: str, rehearsal: bool) -> None:
    page = candidate_page(language, rehearsal=rehearsal)
    text = text_of(page)
    assert "contact" in text
    assert "gamma" in text
    assert "0102" in text
    for hidden in (*NAMES.values(), "Ødegård", "Ada", "0101", "Because", "Parce que", "4/3"):
        assert hidden not in page


def test_the_candidates_hours_follow_their_clock() -> None:
    text = text_of(candidate_page("en"))
    # A third more than an hour, and stopped since five minutes when the sheet is printed.
    assert "Work on the machines 1 h 20 min 07:30:00 08:54:54" in text
    assert "First interview 26 min 40 s Work on the machines" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_jury_sees_the_name_and_what_is_written_is_text(language: str) -> None:
    for page in (proctor_page(language), journal_page(language), questions_page(language)):
        assert "Bob <Ødegård> & Ñ" in text_of(page)
    text = text_of(journal_page(language))
    assert "fire alarm <script>alert(1)</script> {{ 7*7 }} \\x1b[2J" in text
    assert "\x1b" not in journal_page(language)
    assert "<script>alert(1)</script>" in text_of(recette_page(language))


def test_points_are_proposed_and_shared_by_what_they_are_for() -> None:
    text = text_of(recette_page("en"))
    assert "Proposed verdict refused" in text
    assert "Proposed points 1/2 (50 %) to achieve – 1/1 (1 of 1 check passed) to keep – 0/1" in text
    assert "the mark is the jury's alone" in text
    assert "Mark decided by the jury" in text
    assert "Machines frozen 2027-05-18 08:45:11" in text  # when they stood still, not when their copy was whole


def test_what_was_wrong_before_the_work_is_marked() -> None:
    page = recette_page("en")
    assert "⚠ before the work: failed" in page  # of a check that had to pass then
    assert page.count("before the work: failed") == 2


def test_a_recette_without_results_says_what_to_type() -> None:
    text = text_of(recette_page("en", {}))
    assert "2 checks have no result; they are not counted as passed." in text
    assert "labctl exam recette e6-2027 --candidate 0101" in text


def test_a_result_of_a_check_that_the_recette_does_not_name_changes_nothing() -> None:
    other = {"another": read_found("passed", AT, {})}
    assert recette_page("en", other) == recette_page("en", {})


def test_the_journal_has_each_change_of_time_once_with_its_reason() -> None:
    text = text_of(journal_page("en"))
    assert text.count("clock stopped") == 1
    assert "illness" in text
    assert "no room on the disk" in text
    assert "phase begun" not in text
    assert "subject opened wrong passphrase" in text
    assert "subject opened the encrypted papers were changed; restored from a copy" in text
    assert "Work on the machines, +5 min late start" in text
    assert "incident compensated by 2 min fire alarm" in text
    assert "whole session incident the lights went out" in text
    assert "0103 reset web, by the candidate root" in text
    assert "0103 reset failed, the whole lab the lab was broken; web did not come up" in text
    assert "0103 – – 2" in text
    assert text.count("work frozen") == 4
    assert "work frozen failed time over; no room on the disk" in text
    assert "machines stopped at 08:45:11 time over" in text


def test_the_proctors_sheet_has_the_checksums_and_who_had_what_lab() -> None:
    text = text_of(proctor_page("en"))
    assert "ab" * 32 in text
    assert "ef" * 16 in text
    assert f"labctl exam verify e6-2027 --head {over().standing.head[:16]} --key {'ef' * 8}" in text
    assert "0101 – Ada Lovelace × 1 yes lab ready ✔ ✔ frozen" in text
    assert "spare lab used web did not come up ✔ ✔ frozen" in text
    assert "Evidence of 0102: manifest (SHA-256) " + "cd" * 32 in text
    assert "6 machines, the last 0.81 s after the first" in text
    before = text_of(proctor_page("en", prepared().standing))
    assert "not sealed yet" in before
    assert "________ → ________" in before
    assert "no lab" in before
    assert "spare lab used web did not come up ✔ ? –" in before  # it was proven later, once the work had begun


def test_a_phase_that_goes_on_has_its_deadline_with_a_star() -> None:
    text = text_of(proctor_page("en", under_way().standing))
    assert re.search(r"07:30:00 → 08:32:00 \*", text)  # two minutes for the incident


@pytest.mark.parametrize(
    ("seconds", "said"), [(4800, "1 h 20 min"), (1600, "26 min 40 s"), (0, "0 min"), (59.9, "59 s"), (3600, "1 h")]
)
def test_lengths(seconds: float, said: str) -> None:
    assert " ".join(length(timedelta(seconds=seconds)).split()) == said
