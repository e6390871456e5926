"""The entries of an audit log to the Standing of the session: its stage, and of each candidate lab, clocks and acts.

A pure fold: the same entries give the same standing, whoever reads them and however often labctl was killed between.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from labctl.errors import LabctlError
from labctl.exam.audit import GENESIS, Act, Entry, Facts, Step
from labctl.exam.clock import NOTHING, PhaseClock
from labctl.exam.model import Phase
from labctl.language import _


class Stage(StrEnum):
    """How far a session has come, in this order."""

    NONE = "none"
    CREATED = "created"
    PREPARED = "prepared"
    SEALED = "sealed"
    OPEN = "open"
    STARTED = "started"
    CLOSED = "closed"

    def reached(self, stage: "Stage") -> bool:
        """Return whether a session of this stage has come as far as another stage."""
        order = list(Stage)
        return order.index(self) >= order.index(stage)


class Readiness(StrEnum):
    """What `prepare` made of a candidate's lab."""

    NONE = "none"
    READY = "ready"
    REPAIRED = "repaired"
    SPARE = "spare used"
    FAILED = "failed"


class Frozen(StrEnum):
    """Whether the work of a candidate is frozen. FAILED: the machines stand still, but their copy is not whole."""

    NO = "no"
    UNDER_WAY = "under way"
    FAILED = "failed"
    YES = "yes"


@dataclass(frozen=True)
class CandidateStanding:
    """One candidate. `times` are their own lengths of the phases, in the time of this session (a rehearsal's is short).

    `last` has, for each act, its last entry that is done or noted: results of checks, evidence and copies are in its
    facts. `history` has every entry of this candidate. `running` tells whether their machines are meant to run.
    """

    number: str
    owner: str
    lab: str
    times: Mapping[Phase, timedelta]
    factor: str = "1"
    pauses: bool = True
    language: str = ""
    readiness: Readiness = Readiness.NONE
    reason: str = ""
    clocks: Mapping[Phase, PhaseClock] = field(default_factory=dict)
    running: bool = False
    frozen: Frozen = Frozen.NO
    closed: bool = False
    last: Mapping[Act, Entry] = field(default_factory=dict)
    history: tuple[Entry, ...] = ()
    unfinished: frozenset[Act] = frozenset()

    @property
    def clock(self) -> PhaseClock | None:
        """Return the clock of the phase that they are in or were in last."""
        return next((self.clocks[phase] for phase in reversed(Phase) if phase in self.clocks), None)

    @property
    def phase(self) -> Phase | None:
        """Return the phase that they are in or were in last."""
        return self.clock.phase if self.clock else None

    @property
    def practical(self) -> PhaseClock | None:
        """Return the clock of the work on the machines."""
        return self.clocks.get(Phase.PRACTICAL)

    @property
    def paused(self) -> bool:
        """Return whether their clock stands."""
        return self.clock is not None and self.clock.paused_since is not None

    @property
    def works(self) -> bool:
        """Return whether their machines run in this phase, unless it is paused: in the work itself, and the recette."""
        working = {Phase.PRACTICAL: self.frozen is Frozen.NO, Phase.RECETTE: self.frozen is Frozen.YES}
        return self.phase is not None and working.get(self.phase, False)

    @property
    def freezes(self) -> int:
        """Return how many freezes have begun, repeats of one that a crash broke off not counted."""
        begun = [entry for entry in self.entries(Act.FREEZE) if entry.step is Step.BEGUN]
        return len({str(entry.facts.get("copy", "")) for entry in begun})

    def entries(self, act: Act) -> tuple[Entry, ...]:
        """Return all entries of one act: extensions, incidents, messages, resets."""
        return tuple(entry for entry in self.history if entry.act is act)


@dataclass(frozen=True)
class Standing:
    """A session as its log tells it. `about` has the facts of its creation, see `Session.create`.

    `unfinished` are acts on the whole session that were begun and neither done nor failed; `head` is the hash of the
    last entry, `seq` its number, `seen` its time.
    """

    stage: Stage = Stage.NONE
    about: Facts = field(default_factory=dict)
    candidates: Mapping[str, CandidateStanding] = field(default_factory=dict)
    last: Mapping[Act, Entry] = field(default_factory=dict)
    history: tuple[Entry, ...] = ()
    unfinished: frozenset[Act] = frozenset()
    jumps: timedelta = NOTHING
    head: str = GENESIS
    seq: int = 0
    seen: datetime | None = None

    @property
    def rehearsal(self) -> bool:
        """Return whether nothing of it counts."""
        return self.about.get("rehearsal") is True

    @property
    def minute(self) -> float:
        """Return how many seconds a minute of the exam lasts here: 60, or fewer in a rehearsal."""
        return number_of(self.about, "minute", 60.0)

    @property
    def grace(self) -> timedelta:
        """Return how long after the deadline of the practical phase machines freeze."""
        return timedelta(seconds=number_of(self.about, "grace", 0.0) * self.minute / 60)

    def text(self, key: str) -> str:
        """Return a fact of its creation as text: exam, version, number, topology, title_fr and so on."""
        return str(self.about.get(key, ""))

    def candidate(self, number: str) -> CandidateStanding:
        """Return one candidate. Raises LabctlError, naming those there are."""
        try:
            return self.candidates[number]
        except KeyError:
            text = _('there is no candidate "{number}" in this session; there are: {known}')
            raise LabctlError(text.format(number=number, known=", ".join(self.candidates) or _("none"))) from None

    def freeze_time(self, number: str, now: datetime) -> datetime | None:
        """Return when a candidate's machines freeze by themselves; None where nothing waits for that now."""
        candidate = self.candidates[number]
        clock = candidate.practical
        if clock is None or not clock.runs or candidate.frozen is not Frozen.NO or candidate.closed:
            return None
        return clock.deadline(now) + self.grace


def number_of(facts: Facts, key: str, default: float = 0.0) -> float:
    """Return a number among facts."""
    value = facts.get(key, default)
    return float(value) if isinstance(value, int | float) else default


def fold(entries: Iterable[Entry], standing: Standing | None = None) -> Standing:
    """Return the standing after more entries."""
    standing = standing or Standing()
    for entry in entries:
        standing = advance(standing, entry)
    return standing


def advance(standing: Standing, entry: Entry) -> Standing:
    """Return the standing after one more entry."""
    standing = replace(standing, head=entry.hash, seq=entry.seq, seen=entry.at.hour)
    if entry.candidate in standing.candidates:
        changed = advance_candidate(standing.candidates[entry.candidate], entry)
        standing = replace(standing, candidates={**standing.candidates, entry.candidate: changed})
        if entry.act is Act.START and entry.step is Step.DONE:
            standing = replace(standing, stage=later(standing.stage, Stage.STARTED))
        return standing
    standing = replace(
        standing,
        history=(*standing.history, entry),
        unfinished=still_open(standing.unfinished, entry),
        last=with_last(standing.last, entry),
    )
    if entry.act is Act.CREATE and entry.step is Step.NOTED:
        return replace(standing, stage=Stage.CREATED, about=entry.facts, candidates=read_candidates(entry.facts))
    if entry.act is Act.CLOCK:
        jump = timedelta(seconds=number_of(entry.facts, "seconds"))
        shifted = {number: shift(one, jump) for number, one in standing.candidates.items()}
        return replace(standing, candidates=shifted, jumps=standing.jumps + jump)
    stages = {Act.PREPARE: Stage.PREPARED, Act.SEAL: Stage.SEALED, Act.OPEN: Stage.OPEN, Act.CLOSE: Stage.CLOSED}
    if entry.step is Step.DONE and entry.act in stages:
        return replace(standing, stage=later(standing.stage, stages[entry.act]))
    return standing


def later(one: Stage, other: Stage) -> Stage:
    """Return the later of two stages: a verb that is repeated leads nowhere back."""
    return one if one.reached(other) else other


def still_open(unfinished: frozenset[Act], entry: Entry) -> frozenset[Act]:
    """Return the acts that are begun and not ended."""
    if entry.step is Step.BEGUN:
        return unfinished | {entry.act}
    return unfinished - {entry.act} if entry.step in {Step.DONE, Step.FAILED} else unfinished


def with_last(last: Mapping[Act, Entry], entry: Entry) -> Mapping[Act, Entry]:
    """Return the last results with one more."""
    return {**last, entry.act: entry} if entry.step in {Step.DONE, Step.NOTED} else last


def shift(candidate: CandidateStanding, jump: timedelta) -> CandidateStanding:
    """Return a candidate after a jump of the host's clock."""
    return replace(candidate, clocks={phase: clock.shift(jump) for phase, clock in candidate.clocks.items()})


def read_candidates(facts: Facts) -> dict[str, CandidateStanding]:
    """Return the candidates of a session from the facts of its creation, see `Session.create`."""
    listed = facts.get("candidates")
    minute = number_of(facts, "minute", 60.0)
    found = [read_candidate(one, minute) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {one.number: one for one in found}


def read_candidate(one: Facts, minute: float) -> CandidateStanding:
    """Return a candidate before anything is done."""
    minutes = one.get("minutes")
    given = minutes if isinstance(minutes, dict) else {}
    return CandidateStanding(
        number=str(one.get("number", "")), owner=str(one.get("owner", "")), lab=str(one.get("lab", "")),
        times={phase: timedelta(seconds=number_of(given, phase) * minute) for phase in Phase},
        factor=str(one.get("factor", "1")), pauses=one.get("pauses") is True, language=str(one.get("language", "")),
    )  # fmt: skip


def advance_candidate(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Return a candidate after one more entry about them."""
    candidate = replace(
        candidate,
        history=(*candidate.history, entry),
        unfinished=still_open(candidate.unfinished, entry),
        last=with_last(candidate.last, entry),
    )
    change = CHANGES.get(entry.act)
    return change(candidate, entry) if change else candidate


def on_prepare(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Take the result of `prepare`: facts `result` (a Readiness) and `reason`."""
    if entry.step is Step.BEGUN:
        return candidate
    result = Readiness.FAILED if entry.step is Step.FAILED else Readiness(str(entry.facts.get("result", "ready")))
    return replace(candidate, readiness=result, reason=str(entry.facts.get("reason", "")))


def on_start(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Begin a phase: facts `phase`, and `began`, the UTC hour that its clock begins at. The phase before is over."""
    if entry.step is not Step.DONE:
        return candidate
    phase = Phase(str(entry.facts.get("phase", Phase.PRACTICAL)))
    if phase in candidate.clocks:
        return candidate
    began = moment_of(entry, "began")
    clocks = {one: clock.end(began) for one, clock in candidate.clocks.items()}
    clocks[phase] = PhaseClock(phase, began, candidate.times[phase])
    return replace(candidate, clocks=clocks, running=phase is Phase.PRACTICAL or candidate.running)


def moment_of(entry: Entry, key: str) -> datetime:
    """Return an hour among the facts of an entry, else the entry's own."""
    said = entry.facts.get(key)
    return datetime.fromisoformat(said) if isinstance(said, str) and said else entry.at.hour


def on_pause(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Stop the clock when a pause begins: before the machines stand still, so that nobody loses a second."""
    if candidate.clock is None or candidate.clock.ended or entry.step is Step.FAILED:
        return candidate
    running = candidate.running and entry.step is Step.BEGUN
    return replace(with_clock(candidate, candidate.clock.pause(entry.at.hour)), running=running)


def on_resume(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Let the clock go on when a pause is over: once the machines run again."""
    if candidate.clock is None or entry.step is not Step.DONE:
        return candidate
    resumed = with_clock(candidate, candidate.clock.resume(entry.at.hour))
    return replace(resumed, running=candidate.works)


def on_extend(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Give more time: facts `seconds`; an incident gives its compensation in the same way.

    With `reopened`, frozen work goes on: the clock stands until the machines are resumed, and no time was lost.
    """
    clock = candidate.clock
    if clock is None or entry.step is not Step.NOTED:
        return candidate
    extended = clock.extend(timedelta(seconds=number_of(entry.facts, "seconds")))
    if entry.facts.get("reopened") is not True:
        return with_clock(candidate, extended)
    return replace(with_clock(candidate, extended.reopen(clock, entry.at.hour)), frozen=Frozen.NO, running=False)


def on_freeze(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Take over a freeze: the clock of the practical phase ends when it begins; facts of the end: `left`.

    That the machines stand still is noted in between: facts `suspended`, the UTC hour, and `late`, in seconds.
    """
    clock = candidate.practical
    if entry.step is Step.BEGUN:
        ended = with_clock(candidate, clock.end(entry.at.hour)) if clock else candidate
        return replace(ended, frozen=Frozen.UNDER_WAY)
    if entry.step is Step.NOTED:
        return replace(candidate, running=False)
    if entry.step is Step.FAILED:
        return replace(candidate, frozen=Frozen.FAILED, running=False)
    return replace(candidate, frozen=Frozen.YES, running=entry.facts.get("left") == "running")


def on_thaw(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Take over that the machines of a frozen candidate run again, so that the work can be shown."""
    return replace(candidate, running=True) if entry.step is Step.DONE else candidate


def on_close(candidate: CandidateStanding, entry: Entry) -> CandidateStanding:
    """Take over that a candidate has ended: all their clocks are over."""
    if entry.step is not Step.DONE:
        return candidate
    ended = {phase: clock.end(entry.at.hour) for phase, clock in candidate.clocks.items()}
    return replace(candidate, closed=True, running=False, clocks=ended)


def with_clock(candidate: CandidateStanding, clock: PhaseClock) -> CandidateStanding:
    """Return a candidate with another clock of its phase."""
    return replace(candidate, clocks={**candidate.clocks, clock.phase: clock})


CHANGES: Mapping[Act, Callable[[CandidateStanding, Entry], CandidateStanding]] = {
    Act.PREPARE: on_prepare,
    Act.START: on_start,
    Act.PAUSE: on_pause,
    Act.RESUME: on_resume,
    Act.EXTEND: on_extend,
    Act.INCIDENT: on_extend,
    Act.FREEZE: on_freeze,
    Act.THAW: on_thaw,
    Act.CLOSE: on_close,
}
