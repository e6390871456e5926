"""A standing, what is seen of the labs, and a time to the board of a session: clocks, machines, alerts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from labctl.exam.audit import Act, Entry, Step
from labctl.exam.model import Phase
from labctl.exam.rules import stage_text
from labctl.exam.standing import CandidateStanding, Frozen, Readiness, Stage, Standing
from labctl.language import _
from labctl.report.harmless import show_line

SOON = timedelta(minutes=5)  # of a minute of 60 seconds
LATE = timedelta(seconds=5)  # after which a freeze that should have begun has not
RUNNING, PAUSED = "running", "paused"
# Acts whose last failure the proctor must see until they are done.
WATCHED = (Act.START, Act.PAUSE, Act.RESUME, Act.RESET, Act.RECETTE, Act.COLLECT)


@dataclass(frozen=True)
class Seen:
    """What is seen beside the log: states of machines and open consoles by candidate; None where nobody looked.

    A state is one of running, paused, stopped, crashed, missing; a lab that is not there has none. `supervised` tells
    whether a supervisor lives.
    """

    machines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    consoles: Mapping[str, int] | None = None
    supervised: bool | None = None


@dataclass(frozen=True)
class Alert:
    """Something that the proctor should know; `urgent` is what they must act on. `why` may be long or empty."""

    text: str
    urgent: bool = False
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One candidate. `left` is negative after the deadline, None where no clock goes on; None consoles: not known."""

    number: str
    lab: str
    readiness: Readiness
    phase: Phase | None
    left: timedelta | None
    deadline: datetime | None
    paused: bool
    frozen: Frozen
    closed: bool
    machines: Mapping[str, str]
    consoles: int | None
    alerts: tuple[Alert, ...]


@dataclass(frozen=True)
class Board:
    """A session at one moment; `alerts` are those of the whole session."""

    session: str
    stage: Stage
    rehearsal: bool
    now: datetime
    rows: tuple[Row, ...]
    alerts: tuple[Alert, ...] = ()

    @property
    def stage_words(self) -> str:
        """Return how far the session has come, in the reader's words."""
        return stage_text(self.stage)


def make_board(session: str, standing: Standing, now: datetime, seen: Seen) -> Board:
    """Return the board of a session."""
    rows = tuple(make_row(one, standing, now, seen) for one in standing.candidates.values())
    return Board(session, standing.stage, standing.rehearsal, now, rows, tuple(find_session_alerts(standing, seen)))


def make_row(one: CandidateStanding, standing: Standing, now: datetime, seen: Seen) -> Row:
    """Return the row of one candidate."""
    clock = one.clock
    going = clock if clock and not clock.ended and not one.closed else None
    return Row(
        number=one.number,
        lab=one.lab,
        readiness=one.readiness,
        phase=one.phase,
        left=going.left(now) if going else None,
        deadline=going.deadline(now) if going else None,
        paused=one.paused,
        frozen=one.frozen,
        closed=one.closed,
        machines=seen.machines.get(one.number, {}),
        consoles=None if seen.consoles is None else seen.consoles.get(one.number, 0),
        alerts=tuple(find_alerts(one, standing, now, seen)),
    )


def find_session_alerts(standing: Standing, seen: Seen) -> Iterator[Alert]:
    """Yield what concerns everybody: nobody keeps the deadlines, the host's clock was set."""
    if standing.stage is Stage.STARTED and seen.supervised is False:
        yield Alert(_("no supervisor: nothing freezes by itself; type labctl exam supervise"), urgent=True)
    if standing.jumps:
        text = _("the clock of the host was set by {seconds:+.1f} s in all; nobody's time has changed")
        yield Alert(text.format(seconds=standing.jumps.total_seconds()))


def find_alerts(one: CandidateStanding, standing: Standing, now: datetime, seen: Seen) -> Iterator[Alert]:
    """Yield what the proctor should know of a candidate, what is urgent first."""
    found = [*find_lab_alerts(one, seen), *find_time_alerts(one, standing, now), *find_act_alerts(one)]
    yield from sorted(found, key=lambda alert: not alert.urgent)


def find_lab_alerts(one: CandidateStanding, seen: Seen) -> Iterator[Alert]:
    """Yield that there is no lab, and machines that run or stand still against what the log says."""
    if one.readiness is Readiness.FAILED:
        yield Alert(_("no lab"), urgent=True, why=show_line(one.reason))
        return
    if one.unfinished or one.closed or one.readiness is Readiness.NONE:  # or on their way from one state to the other
        return
    if one.number in seen.machines and not seen.machines[one.number]:
        yield Alert(_("lab missing"), urgent=True)
    for node, state in seen.machines.get(one.number, {}).items():
        if state == RUNNING and not one.running:
            yield Alert(_("{node} runs").format(node=node), urgent=True)
        elif state not in {RUNNING, PAUSED} or (one.running and state == PAUSED):
            # Who switched a machine off themselves has frozen work with one that is off.
            yield Alert(machine_text(state).format(node=node), urgent=one.frozen is Frozen.NO)


def machine_text(state: str) -> str:
    """Return what is said of a machine that should run."""
    return {
        "paused": _("{node} stands still"),
        "stopped": _("{node} is off"),
        "crashed": _("{node} crashed"),
        "missing": _("{node} is missing"),
    }.get(state, _("{node} does not run"))


def find_time_alerts(one: CandidateStanding, standing: Standing, now: datetime) -> Iterator[Alert]:
    """Yield that the clock stands, that little time is left, or that it is over."""
    clock = one.clock
    if clock is None or clock.ended or one.closed:
        return
    left = clock.left(now)
    if clock.paused_since:
        yield Alert(_("paused for {time}").format(time=clock_text(now - clock.paused_since)))
    elif left > timedelta():
        if left <= SOON * standing.minute / 60:
            yield Alert(_("ends soon"))
    elif clock.phase is Phase.PRACTICAL and one.frozen is Frozen.NO:
        freeze = -left - standing.grace
        if freeze > LATE:
            yield Alert(_("time over, not frozen"), urgent=True)
        else:
            yield Alert(_("time over, freezes in {time}").format(time=clock_text(max(-freeze, timedelta()))))
    else:
        yield Alert(_("time over"))


def find_act_alerts(one: CandidateStanding) -> Iterator[Alert]:
    """Yield acts that failed and were not done since, and those that are under way or were broken off."""
    if one.frozen is Frozen.FAILED:
        yield Alert(_("copy of the work not whole"), urgent=True, why=why_failed(last_of(one, Act.FREEZE)))
    isolation = one.last.get(Act.ISOLATION)
    if isolation and isolation.facts.get("result") != "holds":
        proven_wrong = isolation.facts.get("result") == "does not hold"
        text = _("NOT ISOLATED") if proven_wrong else _("isolation not proven")
        yield Alert(text, urgent=proven_wrong, why=show_line(str(isolation.facts.get("reason", ""))))
    for act in WATCHED:
        last = last_of(one, act)
        if last and last.step is Step.FAILED:
            yield Alert(act_text(act), urgent=True, why=why_failed(last))
    for act in sorted(one.unfinished):
        yield Alert(_("{act} under way").format(act=act_text(act)))


def last_of(one: CandidateStanding, act: Act) -> Entry | None:
    """Return the last entry of an act that tells how it ended, or that it begins anew."""
    ends = [entry for entry in one.entries(act) if entry.step in {Step.BEGUN, Step.DONE, Step.FAILED}]
    return ends[-1] if ends else None


def why_failed(entry: Entry | None) -> str:
    """Return the error that an entry has."""
    return show_line(str(entry.facts.get("error", ""))) if entry else ""


def act_text(act: Act) -> str:
    """Return an act in a few of the reader's words, for one that failed or goes on."""
    return {
        Act.PREPARE: _("preparation"),
        Act.START: _("start"),
        Act.PAUSE: _("pause"),
        Act.RESUME: _("resuming"),
        Act.RESET: _("reset"),
        Act.FREEZE: _("freeze"),
        Act.THAW: _("thaw"),
        Act.RECETTE: _("acceptance test"),
        Act.COLLECT: _("collection of evidence"),
        Act.CLOSE: _("closing"),
    }.get(act, str(act))


def clock_text(time: timedelta) -> str:
    """Return a length as on a clock: 1:05:09 or 4:30; a minus sign before what is over."""
    seconds = int(abs(time).total_seconds())
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"−{text}" if time < timedelta() and seconds else text
