"""A lab's topology and the results that were kept of its checks to an acceptance sheet with a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from labctl.competencies import load_competencies
from labctl.language import translations
from labctl.report.expected import describe_expected
from labctl.report.harmless import Shown, show_line, show_text
from labctl.topology.model import Check, Topology

LEAST_SHARE = 75  # percent of the points, for a lab to be accepted with reservations
SECURITY_BLOCK = "B3"


class Status(StrEnum):
    """What became of a check. Only the first counts."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_RUN = "not_run"


class Ruling(StrEnum):
    """What the sheet says of the whole lab."""

    ACCEPTED = "accepted"
    RESERVED = "accepted_with_reservations"
    REFUSED = "refused"


@dataclass(frozen=True)
class Found:
    """What is kept of the last run of one check. `at` is UTC, ISO 8601; the texts are harmless.

    `rebooted` says that the machines were rebooted just before; `told` is `seen` by language, where that was kept.
    """

    status: Status
    at: str
    seen: str
    command: str
    output: Shown
    seconds: float
    rebooted: bool = False
    told: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One check on the sheet. `points` were won out of `worth`; what was never run has no command, text or time."""

    id: str
    title: str
    node: str
    command: str
    expected: str
    obtained: str
    status: Status
    competency: str
    competency_title: str
    points: int
    worth: int
    essential: bool
    negative: bool
    output: Shown
    at: str
    seconds: float


@dataclass(frozen=True)
class Score:
    """The points of one competency, or of a whole lab. `undecided` checks could not be checked or were not run."""

    id: str
    title: str
    points: int
    worth: int
    passed: int
    checks: int
    undecided: int

    @property
    def share(self) -> int:
        """Return the points in percent, rounded down; where no check is worth any, the share of those that passed."""
        return self.points * 100 // self.worth if self.worth else self.passed * 100 // max(1, self.checks)


@dataclass(frozen=True)
class Verdict:
    """The ruling, the share of the points in percent, and the ids of the checks that stand in the way of a better one.

    `essential` are those of the essential checks that did not pass; `undecided` those without a result.
    """

    ruling: Ruling
    share: int
    essential: tuple[str, ...]
    undecided: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """Whose lab it is. `made` is when it was made or last reset (UTC, ISO 8601), "" where that is not known."""

    lab: str
    student: str
    group: str = ""
    made: str = ""


@dataclass(frozen=True)
class Sheet:
    """An acceptance sheet. `first` and `last` are the times of its results; `stale` ids were run before the reset."""

    subject: Subject
    topology: str
    version: str
    title: str
    language: str
    rows: tuple[Row, ...]
    scores: tuple[Score, ...]
    total: Score
    verdict: Verdict
    first: str
    last: str
    stale: tuple[str, ...]


def read_found(result: str, at: str, evidence: object) -> Found:
    """Return a kept result; of evidence that another version wrote, what can be read."""
    kept: Mapping[str, object] = evidence if isinstance(evidence, Mapping) else {}
    seconds, said = kept.get("seconds"), kept.get("told")
    told = said if isinstance(said, Mapping) else {}
    return Found(
        status=Status(result) if result in set(Status) else Status.UNKNOWN,
        at=at,
        seen=show_line(text_of(kept.get("seen"))),
        command=show_line(text_of(kept.get("command"))),
        output=show_text(text_of(kept.get("output"))),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        rebooted=kept.get("rebooted") is True,
        told={str(language): show_line(text_of(text)) for language, text in told.items()},
    )


def text_of(value: object) -> str:
    """Return a text; nothing for what is none."""
    return value if isinstance(value, str) else ""


def make_sheet(subject: Subject, topology: Topology, found: Mapping[str, Found], language: str) -> Sheet:
    """Return the sheet of a lab. `found` is by check id; results of checks that the topology lacks are left out."""
    rows = tuple(make_row(check, found.get(check.id), language) for check in topology.checks)
    times = sorted(row.at for row in rows if row.at)
    return Sheet(
        subject=subject,
        topology=topology.name,
        version=topology.version,
        title=topology.title.pick(language),
        language=language,
        rows=rows,
        scores=tuple(score_competencies(rows)),
        total=score_rows("", rows),
        verdict=judge(rows),
        first=times[0] if times else "",
        last=times[-1] if times else "",
        stale=tuple(row.id for row in rows if is_before(row.at, subject.made)),
    )


def make_row(check: Check, found: Found | None, language: str) -> Row:
    """Return one check with its result, if it has one."""
    status = found.status if found else Status.NOT_RUN
    return Row(
        id=check.id,
        title=check.title.pick(language),
        node=check.origin,
        command=found.command if found else "",
        expected=describe_expected(check, language),
        obtained=obtained(check, found, language) if found else "",
        status=status,
        competency=check.competency,
        competency_title=title_of(check.competency),
        points=check.points if status is Status.PASSED else 0,
        worth=check.points,
        essential=is_essential(check),
        negative=check.negative,
        output=found.output if found else Shown(""),
        at=found.at if found else "",
        seconds=found.seconds if found else 0.0,
    )


def obtained(check: Check, found: Found, language: str) -> str:
    """Return what was seen, and that it was not seen after a reboot where that is what the check is for."""
    seen = found.told.get(language) or found.seen
    if found.rebooted or not check.after_reboot or found.status is Status.UNKNOWN:
        return seen
    return f"{seen} — {translations(language).gettext('not tested after a reboot')}"


def is_essential(check: Check) -> bool:
    """Return whether nothing may make up for a check: readiness, what must not pass, and the block of cybersecurity."""
    return check.ready or check.negative or check.competency.partition(".")[0] == SECURITY_BLOCK


def title_of(competency: str) -> str:
    """Return the official title, French and verbatim; empty where the official text has none."""
    known = load_competencies().get(competency)
    return known.title if known else ""


def judge(rows: Sequence[Row]) -> Verdict:
    """Return the verdict by the rule that the sheet prints.

    Accepted: every check passed. With reservations: every essential check passed, and at least LEAST_SHARE percent
    of the points are won. Refused: everything else. What could not be checked or was not run has not passed.
    """
    open_rows = [row for row in rows if row.status is not Status.PASSED]
    essential = tuple(row.id for row in open_rows if row.essential)
    share = score_rows("", rows).share
    if not open_rows:
        ruling = Ruling.ACCEPTED
    elif not essential and share >= LEAST_SHARE:
        ruling = Ruling.RESERVED
    else:
        ruling = Ruling.REFUSED
    undecided = tuple(row.id for row in open_rows if is_undecided(row))
    return Verdict(ruling, share, essential, undecided)


def is_undecided(row: Row) -> bool:
    """Return whether nothing is known about a check."""
    return row.status in {Status.UNKNOWN, Status.NOT_RUN}


def score_competencies(rows: Iterable[Row]) -> Iterable[Score]:
    """Yield the score of each competency that the rows name, in the official order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.competency, []).append(row)
    for name in sort_competencies(groups):
        yield score_rows(name, groups[name])


def sort_competencies(names: Iterable[str]) -> list[str]:
    """Return ids of competencies in the official order, unknown ones last."""
    order = {name: place for place, name in enumerate(load_competencies())}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def score_rows(competency: str, rows: Sequence[Row]) -> Score:
    """Return the score of some checks."""
    return Score(
        id=competency,
        title=title_of(competency),
        points=sum(row.points for row in rows),
        worth=sum(row.worth for row in rows),
        passed=sum(row.status is Status.PASSED for row in rows),
        checks=len(rows),
        undecided=sum(is_undecided(row) for row in rows),
    )


def is_before(at: str, made: str) -> bool:
    """Return whether one stored time is before another; False where either is not known."""
    try:
        return datetime.fromisoformat(at) < datetime.fromisoformat(made)
    except (TypeError, ValueError):
        return False
