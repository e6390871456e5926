"""The fixed words of the documents of exams, in the language of a document and not in that of whoever makes it."""

from collections.abc import Mapping

from labctl.exam.audit import Act
from labctl.exam.model import Phase, Reset, Start
from labctl.exam.standing import Frozen, Readiness, Stage
from labctl.language import N_, translations
from labctl.report.sheet import Score, Status
from labctl.report.words import name_status

MINUTE = 60  # seconds

WORDS: Mapping[str, str] = {
    "session": N_("Session"),
    "subject": N_("Subject"),
    "rehearsal": N_("REHEARSAL – not an exam, of no value"),
    "for_jury": N_("For the jury and the proctors alone. Not to be shown to candidates."),
    "person": N_("Candidate"),
    "yes": N_("yes"),
    "no": N_("no"),
    # The candidate's sheet
    "candidate": N_("Candidate's sheet – {number}"),
    "access": N_("Access to the machines"),
    "address": N_("Address"),
    "login": N_("Login name"),
    "code": N_("One-time code"),
    "by_hand": N_("An empty line is filled in by hand when the sheet is given out."),
    "times": N_("Times"),
    "phase": N_("Phase"),
    "length": N_("Length"),
    "begins": N_("Begins"),
    "ends": N_("Ends"),
    "demand": N_("What the organisation asks for"),
    "context": N_("Context"),
    "work": N_("Work to be done"),
    "constraints": N_("What must be respected"),
    "expected_results": N_("What is expected in the end"),
    "rules": N_("In the room"),
    "no_internet": N_("The Internet cannot be reached from the machines."),
    "names": N_("Of the Internet, the machines reach these names and nothing else: {names}."),
    "more_time": N_(
        "Whoever is given more time, or whose clock is stopped, is told the new end: it holds in the place of the "
        "printed one."
    ),
    "kept": N_(
        "What is kept for the jury: the disks and what you changed on them, what the consoles and the network showed, "
        "and the results of the acceptance test. A person removes it, after {days} at the earliest. You may ask the "
        "centre to see what it keeps of you."
    ),
    # The questions
    "questions": N_("Questions for the interview – candidate {number}"),
    "good_answer": N_("A good answer has"),
    "notes": N_("Notes of the jury"),
    "no_questions": N_("The exam file has no questions."),
    # The acceptance sheet
    "recette": N_("Acceptance sheet – candidate {number}"),
    "proposed_verdict": N_("Proposed verdict"),
    "proposed_points": N_("Proposed points"),
    "results_at": N_("Results of"),
    "proposal": N_(
        "Points and verdict are proposed, from checks that machines made. They are no mark: the mark is the jury's "
        "alone, which hears the candidate and may set aside any line."
    ),
    "grid_jury": N_("Competency grid"),
    "questions_short": N_("Questions"),
    "jury_says": N_("Appreciation of the jury"),
    "jury_only": N_("by the jury"),
    "mark": N_("Mark decided by the jury, and why it differs from what is proposed"),
    "jury_signatures": N_("Date, names and signatures of the jury"),
    "course": N_("Course of the work on the machines"),
    "allotted": N_("Time of this candidate"),
    "begun": N_("Begun"),
    "ended": N_("Ended"),
    "frozen_at": N_("Machines frozen"),
    "extended": N_("Time added"),
    "paused": N_("Clock stopped for"),
    "manifest": N_("Manifest of the evidence (SHA-256)"),
    "no_evidence": N_("no evidence collected yet"),
    # Incidents, extensions and pauses
    "journal": N_("Incidents, extensions and pauses"),
    "journal_rule": N_(
        "Taken from the log of the session: what changed somebody's time, what was said to candidates, and what was "
        "done to their machines."
    ),
    "by_candidate": N_("By candidate, over all phases"),
    "in_order": N_("In the order of the log"),
    "resets": N_("Resets"),
    "jumps": N_(
        "The clock of the host was set meanwhile; the end of each phase followed, nobody's time changed. In all:"
    ),
    "line": N_("Line"),
    "hour": N_("Hour"),
    "everybody": N_("whole session"),
    "what": N_("What"),
    "detail": N_("Detail"),
    "reason": N_("Reason or text"),
    "by": N_("By"),
    "deadline": N_("time over"),
    "whole_lab": N_("the whole lab"),
    "own_wish": N_("by the candidate"),
    "wrong_passphrase": N_("wrong passphrase"),
    "compensated": N_("compensated by"),
    "stopped": N_("machines stopped at"),
    "failed": N_("failed"),
    "no_events": N_("Nothing: no extension, no pause, no incident, no reset."),
    # The proctor's sheet
    "proctor": N_("Proctor's sheet"),
    "stage": N_("State of the session"),
    "board": N_("Candidates"),
    "factor": N_("Factor"),
    "pauses": N_("Pauses"),
    "prepared": N_("Lab prepared"),
    "initial": N_("First state"),
    "isolation": N_("Isolation"),
    "proofs_rule": N_(
        "First state: before the work, the checks said what they must. Isolation: no other lab, host, school network "
        "or Internet was reached from inside. ✔ proven, ✘ not so, ? could not be checked."
    ),
    "state": N_("Work"),
    "collected": N_("evidence collected at"),
    "arrives": N_("Signature on arrival"),
    "leaves": N_("Hour and signature on leaving"),
    "burst": N_("Start of the machines"),
    "hours_rule": N_(
        "By the clock of the host. With * the phase goes on: its end is the deadline as it stands when this is printed."
    ),
    "checksums": N_("Checksums"),
    "seal": N_("Sealed subject: manifest (SHA-256)"),
    "not_sealed": N_("not sealed yet"),
    "key": N_("Public key of the session"),
    "evidence_of": N_("Evidence of {number}: manifest (SHA-256)"),
    "audit_head": N_("Log of the session, line {seq}"),
    "checksums_rule": N_(
        "Compare the first before the subject is opened. After the exam, this command compares key and log, on any "
        "copy of the session:"
    ),
    "remarks": N_("Remarks"),
    "proctor_signatures": N_("Date, names and signatures of the proctors"),
}


def pick_words(language: str) -> dict[str, str]:
    """Return the fixed words in a language."""
    gettext = translations(language).gettext
    return {name: gettext(text) for name, text in WORDS.items()}


def name_phase(phase: Phase, language: str) -> str:
    """Return what a candidate does in a phase."""
    gettext = translations(language).gettext
    return {
        Phase.PREPARATION: gettext("Reading and preparation"),
        Phase.INTERVIEW: gettext("First interview"),
        Phase.PRACTICAL: gettext("Work on the machines"),
        Phase.RECETTE: gettext("Acceptance test and second interview"),
    }[phase]


def explain_reset(reset: Reset, language: str) -> str:
    """Return what a candidate may bring back to its first state, and how often."""
    gettext, ngettext = translations(language).gettext, translations(language).ngettext
    if reset.scope == "none":
        return gettext("No machine can be reset.")
    if reset.scope == "machine":
        text = ngettext(
            "You may bring machines back to their first state, one at a time, {count} time. What you did on the "
            "machine is lost, and your clock runs on. Each reset is shown to the jury.",
            "You may bring machines back to their first state, one at a time, {count} times in all. What you did on "
            "the machine is lost, and your clock runs on. Each reset is shown to the jury.",
            reset.most,
        )
    else:
        text = ngettext(
            "You may bring all machines back to their first state {count} time. What you did is lost, and your clock "
            "runs on. Each reset is shown to the jury.",
            "You may bring all machines back to their first state {count} times. What you did is lost, and your clock "
            "runs on. Each reset is shown to the jury.",
            reset.most,
        )
    return text.format(count=reset.most)


def explain_freeze(grace: int, language: str) -> str:
    """Return what happens at the end of the work; `grace` is in seconds."""
    text = translations(language).ngettext(
        "{count} second after the end of your work on the machines, the consoles are cut and all machines are frozen "
        "together. What is not saved then is lost: what you set up must survive a restart.",
        "{count} seconds after the end of your work on the machines, the consoles are cut and all machines are frozen "
        "together. What is not saved then is lost: what you set up must survive a restart.",
        grace,
    )
    return text.format(count=grace)


def count_days(days: int, language: str) -> str:
    """Return a number of days in words."""
    return translations(language).ngettext("{count} day", "{count} days", days).format(count=days)


def name_act(act: Act, language: str) -> str:
    """Return what was done, in words; only what stands on the list of incidents has some."""
    gettext = translations(language).gettext
    return {
        Act.OPEN: gettext("subject opened"),
        Act.PAUSE: gettext("clock stopped"),
        Act.RESUME: gettext("clock goes on"),
        Act.EXTEND: gettext("time added"),
        Act.MESSAGE: gettext("message"),
        Act.INCIDENT: gettext("incident"),
        Act.RESET: gettext("reset"),
        Act.FREEZE: gettext("work frozen"),
        Act.CLOCK: gettext("clock of the host set"),
        Act.CLOSE: gettext("session given up"),
    }[act]


def name_stage(stage: Stage, language: str) -> str:
    """Return how far a session has come, in words."""
    gettext = translations(language).gettext
    return {
        Stage.NONE: gettext("nothing done yet"),
        Stage.CREATED: gettext("created"),
        Stage.PREPARED: gettext("prepared"),
        Stage.SEALED: gettext("sealed"),
        Stage.OPEN: gettext("open"),
        Stage.STARTED: gettext("exam under way"),
        Stage.CLOSED: gettext("over"),
    }[stage]


def name_readiness(readiness: Readiness, language: str) -> str:
    """Return what `prepare` made of a lab, in words."""
    gettext = translations(language).gettext
    return {
        Readiness.NONE: gettext("not yet"),
        Readiness.READY: gettext("lab ready"),
        Readiness.REPAIRED: gettext("lab repaired"),
        Readiness.SPARE: gettext("spare lab used"),
        Readiness.FAILED: gettext("no lab"),
    }[readiness]


def name_frozen(frozen: Frozen, language: str) -> str:
    """Return whether the work of a candidate is frozen, in words."""
    gettext = translations(language).gettext
    return {
        Frozen.NO: "–",
        Frozen.UNDER_WAY: gettext("being frozen"),
        Frozen.FAILED: gettext("frozen, copy not whole"),
        Frozen.YES: gettext("frozen"),
    }[frozen]


def name_aim(aim: Start, language: str) -> str:
    """Return what a check of the recette is for: what the work has to bring, or has to leave as it was."""
    gettext = translations(language).gettext
    return {Start.FAILS: gettext("to achieve"), Start.PASSES: gettext("to keep")}[aim]


def name_start(status: Status, aim: Start, language: str) -> str:
    """Return what a check said before the work, and that this was not as it should be where it was not."""
    text = translations(language).gettext("before the work: {status}").format(status=name_status(status, language))
    right = {Start.FAILS: Status.FAILED, Start.PASSES: Status.PASSED}[aim]
    return text if status is right else f"⚠ {text}"


def count_points(score: Score, language: str) -> str:
    """Return points out of what they are worth, and how many checks passed."""
    text = translations(language).ngettext(
        "{points}/{worth} ({passed} of {count} check passed)",
        "{points}/{worth} ({passed} of {count} checks passed)",
        score.checks,
    )
    return text.format(points=score.points, worth=score.worth, passed=score.passed, count=score.checks)


def explain_minute(seconds: float, language: str) -> str:
    """Return how long a minute lasts where that is not 60 seconds, as in a short rehearsal; nothing elsewhere."""
    if seconds == MINUTE:
        return ""
    text = translations(language).gettext("A minute of the exam lasts {seconds} s in this rehearsal.")
    return text.format(seconds=f"{seconds:g}")


def explain_burst(machines: int, seconds: float, language: str) -> str:
    """Return how far apart the machines of all candidates began."""
    text = translations(language).ngettext(
        "{count} machine, the last {seconds} s after the first",
        "{count} machines, the last {seconds} s after the first",
        machines,
    )
    said = f"{seconds:.2f}"
    return text.format(count=machines, seconds=said.replace(".", ",") if language == "fr" else said)
