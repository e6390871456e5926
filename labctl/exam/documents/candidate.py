"""A candidate's exam to the sheet that they get, without a name: number, access, times, demand, what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from labctl.exam.documents.heading import Heading, length
from labctl.exam.documents.hours import PhaseHours, find_hours, show_hours
from labctl.exam.documents.page import paragraphs, render, say
from labctl.exam.documents.words import count_days, explain_freeze, explain_reset, pick_words
from labctl.exam.load import Paper
from labctl.exam.model import Exam
from labctl.exam.standing import CandidateStanding


@dataclass(frozen=True)
class Access:
    """How a candidate comes to their machines; what is empty is filled in by hand."""

    address: str = ""
    name: str = ""
    code: str = field(default="", repr=False)


def render_candidate(heading: Heading, paper: Paper, candidate: CandidateStanding, access: Access) -> str:
    """Return the sheet of one candidate; `paper` has the values that they have drawn."""
    language, exam = heading.language, paper.exam
    hours = find_hours(candidate, heading.made)
    return render(
        "candidate.html.j2",
        heading,
        title=pick_words(language)["candidate"].format(number=candidate.number),
        subject=say(exam.title, language),
        access=access,
        day=first_day(hours, heading),
        times=[show_hours(one, heading) for one in hours],
        total=length(sum((one.length for one in hours), timedelta())),
        demand=show_demand(exam, language),
        rules=list_rules(exam, language),
    )


def first_day(hours: Sequence[PhaseHours], heading: Heading) -> str:
    """Return the day on which the first phase that has begun did; nothing before."""
    return next((heading.day(one.begin) for one in hours if one.begin), "")


def show_demand(exam: Exam, language: str) -> Mapping[str, Sequence[str]]:
    """Return the parts of the demand in one language."""
    demand = exam.demand
    return {
        "context": paragraphs(say(demand.context, language)),
        "work": [say(one, language) for one in demand.work],
        "constraints": [say(one, language) for one in demand.constraints],
        "results": [say(one, language) for one in demand.results],
    }


def list_rules(exam: Exam, language: str) -> Sequence[str]:
    """Return what a candidate must know of the room: Internet, resets, the end, and what is kept of them."""
    words = pick_words(language)
    return [
        words["names"].format(names=", ".join(exam.internet)) if exam.internet else words["no_internet"],
        explain_reset(exam.reset, language),
        explain_freeze(exam.grace, language),
        words["more_time"],
        words["kept"].format(days=count_days(exam.retention, language)),
    ]
