"""The fixed words of the documents, in the language of a document and not in that of whoever makes it."""

from collections.abc import Mapping
from datetime import datetime, tzinfo

from labctl.language import N_, translations
from labctl.report.annex import Cover
from labctl.report.grid import Level
from labctl.report.sheet import LEAST_SHARE, Row, Ruling, Score, Status, is_undecided

SIGNS = {Status.PASSED: "✔", Status.FAILED: "✘", Status.UNKNOWN: "?", Status.NOT_RUN: "–"}
BALLS = {
    Level.FULL: "●", Level.MOST: "◕", Level.HALF: "◑", Level.SOME: "◔", Level.NONE: "○", Level.UNDECIDED: "?",
}  # fmt: skip
WORDS: Mapping[str, str] = {
    "sheet": N_("Acceptance sheet"),
    "grid": N_("Class grid"),
    "lab": N_("Lab"),
    "student": N_("Student"),
    "group": N_("Group"),
    "topology": N_("Topology"),
    "results": N_("Results of"),
    "points": N_("Points"),
    "of_points": N_("Out of"),
    "no_result": N_("Without result"),
    "verdict": N_("Verdict"),
    "checks": N_("Checks"),
    "check": N_("Check"),
    "test": N_("Test"),
    "from": N_("From"),
    "command": N_("Command"),
    "expected": N_("Expected"),
    "obtained": N_("Obtained"),
    "result": N_("Result"),
    "competency": N_("Competency"),
    "competencies": N_("Competencies"),
    "title": N_("Official title"),
    "evidence": N_("Evidence"),
    "time": N_("Time"),
    "passed": N_("Passed"),
    "total": N_("Total"),
    "whole": N_("Class"),
    "essential": N_("essential"),
    "no_title": N_("no official title"),
    "no_output": N_("The command wrote nothing."),
    "no_lab": N_("no lab"),
    "legend": N_("Legend"),
    "draft": N_("Draft"),
    "unverified": N_("wording not verified"),
    "candidate_signature": N_("Student's signature"),
    "trainer_signature": N_("Date, name and signature of who received the lab"),
    "stale_mark": N_("before the reset"),
    "stale": N_("These results are older than the last reset of the lab:"),
    "essential_open": N_("Essential checks that did not pass"),
    "grid_points": N_("Points by competency"),
    "cell": N_("Each cell has the points won out of those that the checks of a competency are worth."),
    "undecided_mark": N_("?2: two checks of the cell have no result; they are not counted as passed."),
    "draft_note": N_(
        "Only the second column is drafted, from the topology. Compare, correct and complete it: labctl attests "
        "nothing."
    ),
    "unverified_note": N_(
        "These lines are recalled, not copied: compare them with the official text before you use them."
    ),
}


def pick_words(language: str) -> dict[str, str]:
    """Return the fixed words in a language."""
    gettext = translations(language).gettext
    return {name: gettext(text) for name, text in WORDS.items()}


def name_status(status: Status, language: str) -> str:
    """Return what became of a check, in words."""
    gettext = translations(language).gettext
    return {
        Status.PASSED: gettext("passed"),
        Status.FAILED: gettext("failed"),
        Status.UNKNOWN: gettext("could not be checked"),
        Status.NOT_RUN: gettext("not checked"),
    }[status]


def name_ruling(ruling: Ruling, language: str) -> str:
    """Return the ruling in words."""
    gettext = translations(language).gettext
    return {
        Ruling.ACCEPTED: gettext("accepted"),
        Ruling.RESERVED: gettext("accepted with reservations"),
        Ruling.REFUSED: gettext("refused"),
    }[ruling]


def name_level(level: Level, language: str) -> str:
    """Return what the sign and the shade of a cell say."""
    gettext = translations(language).gettext
    return {
        Level.FULL: gettext("all passed"),
        Level.MOST: gettext("75% of the points or more"),
        Level.HALF: gettext("50% or more"),
        Level.SOME: gettext("less"),
        Level.NONE: gettext("nothing passed"),
        Level.UNDECIDED: gettext("nothing is known"),
    }[level]


def name_cover(cover: Cover, language: str) -> str:
    """Return how much of an element is served."""
    gettext = translations(language).gettext
    return {Cover.SERVED: "", Cover.PARTLY: gettext("in part"), Cover.NOT: gettext("not covered by this lab")}[cover]


def explain_rule(language: str) -> str:
    """Return the rule of the verdict, as it is printed."""
    text = translations(language).gettext(
        "Accepted: every check passed. Accepted with reservations: every essential check passed, and at least "
        "{share}% of the points are won. Refused: everything else. Essential are the checks without which the lab is "
        "not ready, those of what must not pass (negative checks), and those of block B3 (cybersecurity). A check that "
        "could not be made, or was not made, is never counted as passed."
    )
    return text.format(share=LEAST_SHARE)


def count_points(score: Score) -> str:
    """Return points out of what they are worth."""
    return f"{score.points}/{score.worth}"


def explain_undecided(rows: tuple[Row, ...], command: str, language: str) -> str:
    """Return how many checks have no result and the command that makes them, empty where all have one."""
    count = sum(map(is_undecided, rows))
    if not count:
        return ""
    text = translations(language).ngettext(
        "{count} check has no result; it is not counted as passed. To make it: {command}",
        "{count} checks have no result; they are not counted as passed. To make them: {command}",
        count,
    )
    return text.format(count=count, command=command)


def explain_left_out(count: int, language: str) -> str:
    """Return how much of an output is not shown, empty for nothing."""
    if not count:
        return ""
    text = translations(language).ngettext(
        "… ({count} more character is not shown)", "… ({count} more characters are not shown)", count
    )
    return text.format(count=count)


def show_time(at: str, zone: tzinfo | None, language: str) -> str:
    """Return a stored time (UTC, ISO 8601) on the clock of `zone`, the host's own by default; "–" for none."""
    try:
        local = datetime.fromisoformat(at).astimezone(zone)
    except ValueError:
        return "–"
    return local.strftime("%d/%m/%Y %H:%M:%S" if language == "fr" else "%Y-%m-%d %H:%M:%S")


def show_period(first: str, last: str, zone: tzinfo | None, language: str) -> str:
    """Return from when to when, once where both are one."""
    times = dict.fromkeys(show_time(at, zone, language) for at in (first, last))
    return " – ".join(times)
