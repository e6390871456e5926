"""The log of a session to what a jury must know of it: incidents, extensions, pauses, freezes, resets, with reasons."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from labctl.exam.audit import Act, Entry, Facts, Step
from labctl.exam.documents.heading import Heading, length
from labctl.exam.documents.hours import paused_time
from labctl.exam.documents.page import render
from labctl.exam.documents.person import Names
from labctl.exam.documents.words import name_act, name_phase, pick_words
from labctl.exam.freezing import DEADLINE
from labctl.exam.model import Phase
from labctl.exam.standing import CandidateStanding, Standing, number_of
from labctl.report.harmless import show_line

# What changes somebody's time, or what is to be seen of their work, with the steps that are told. The clock stops when
# a pause begins; everything else is told when it is over. The beginning of phases is on the proctor's sheet.
OVER = frozenset({Step.DONE, Step.FAILED, Step.NOTED})
TOLD: Mapping[Act, frozenset[Step]] = {
    Act.PAUSE: frozenset({Step.BEGUN, Step.FAILED}),
    **dict.fromkeys(
        (Act.OPEN, Act.RESUME, Act.EXTEND, Act.MESSAGE, Act.INCIDENT, Act.RESET, Act.FREEZE, Act.CLOCK), OVER
    ),
}


@dataclass(frozen=True)
class Event:
    """A line of the list. `candidate` is empty for what was done to the whole session."""

    seq: int
    hour: str
    candidate: str
    who: str
    act: str
    detail: str
    reason: str


@dataclass(frozen=True)
class Sum:
    """What one candidate's time came to in the practical phase, as it is printed."""

    candidate: str
    extended: str
    paused: str
    resets: int


def render_journal(heading: Heading, standing: Standing, names: Names) -> str:
    """Return the list of incidents, extensions and pauses of a session."""
    return render(
        "journal.html.j2",
        heading,
        title=pick_words(heading.language)["journal"],
        sums=[sum_up(one, heading, names) for one in standing.candidates.values()],
        events=list_events(told_entries(standing), heading, names),
        jumps=length(abs(standing.jumps)) if standing.jumps else "",
        head=standing.head,
        seq=standing.seq,
    )


def told_entries(standing: Standing) -> list[Entry]:
    """Return what a jury must know of a session and its candidates, in the order of the log."""
    entries = [*standing.history, *(entry for one in standing.candidates.values() for entry in one.history)]
    return choose_told(sorted(entries, key=lambda entry: entry.seq))


def choose_told(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that a jury must know; the end of an act has what was said of it since it begun, too."""
    under_way: dict[tuple[Act, str], Facts] = {}
    told: list[Entry] = []
    for entry in entries:
        place = entry.act, entry.candidate
        whole = replace(entry, facts={**under_way.get(place, {}), **entry.facts})
        between = entry.step is Step.NOTED and place in under_way
        if entry.step is Step.BEGUN or between:
            under_way[place] = whole.facts
        else:
            under_way.pop(place, None)
        if is_told(whole) and not between:
            told.append(whole)
    return told


def is_told(entry: Entry) -> bool:
    """Return whether an entry stands on the list; of the opening of the subject, what was not as it must be.

    Of ends, that of a session which was given up: all others have one.
    """
    if entry.act is Act.OPEN and entry.step is Step.DONE:
        return bool(entry.facts.get("override"))
    if entry.act is Act.CLOSE:
        return entry.step is Step.DONE and not entry.candidate and bool(entry.facts.get("given_up"))
    return entry.step in TOLD.get(entry.act, ())


def list_events(entries: Sequence[Entry], heading: Heading, names: Names) -> list[Event]:
    """Return the lines of some entries."""
    return [make_event(entry, heading, names) for entry in entries]


def make_event(entry: Entry, heading: Heading, names: Names) -> Event:
    """Return the line of one entry."""
    return Event(
        seq=entry.seq,
        hour=heading.hour(entry.at.hour),
        candidate=names.show(entry.candidate) if entry.candidate else "",
        who=show_line(entry.who),
        act=name_act(entry.act, heading.language),
        detail=", ".join(list_details(entry, heading)),
        reason="; ".join(list_reasons(entry, heading.language)),
    )


def list_reasons(entry: Entry, language: str) -> Iterator[str]:
    """Yield why something was done, what was said, and why it failed."""
    if entry.act is Act.OPEN:
        changes, wrong = entry.facts.get("changes"), entry.facts.get("passphrase") == "wrong"
        yield from [show_line(str(one)) for one in changes] if isinstance(changes, list) else []
        yield from [pick_words(language)["wrong_passphrase"]] if wrong else []
    for key in ("override", "reason", "text", "error"):
        said = entry.facts.get(key)
        if said == DEADLINE and entry.act is Act.FREEZE:
            yield pick_words(language)["deadline"]
        elif isinstance(said, str) and said:
            yield show_line(said)


def list_details(entry: Entry, heading: Heading) -> Iterator[str]:
    """Yield that an act failed, its phase, the time that it gave, its machines, and when machines stood still."""
    language, words = heading.language, pick_words(heading.language)
    if entry.step is Step.FAILED:
        yield words["failed"]
    phase, nodes, stopped = (entry.facts.get(key) for key in ("phase", "nodes", "suspended"))
    if phase in set(Phase):
        yield name_phase(Phase(str(phase)), language)
    if seconds := number_of(entry.facts, "seconds"):
        yield ("+" if seconds > 0 else "−") + length(timedelta(seconds=abs(seconds)))
    if seconds := number_of(entry.facts, "compensation"):
        yield f"{words['compensated']} {length(timedelta(seconds=seconds))}"
    if isinstance(nodes, list):
        yield show_line(" ".join(map(str, nodes))) or words["whole_lab"]
    if entry.facts.get("own") is True:
        yield words["own_wish"]
    if isinstance(stopped, str) and stopped:
        yield f"{words['stopped']} {heading.hour(datetime.fromisoformat(stopped))}"


def sum_up(candidate: CandidateStanding, heading: Heading, names: Names) -> Sum:
    """Return what was added to a candidate's time over all phases, and how often they reset."""
    clocks = candidate.clocks.values()
    extended = sum((clock.extended for clock in clocks), timedelta())
    paused = sum((paused_time(clock, heading.made) for clock in clocks), timedelta())
    resets = sum(entry.step is Step.BEGUN for entry in candidate.entries(Act.RESET))
    return Sum(
        names.show(candidate.number), length(extended) if extended else "–", length(paused) if paused else "–", resets
    )  # fmt: skip
