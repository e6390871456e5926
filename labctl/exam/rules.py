"""A standing and an act to why the act is refused, or to nothing: the state machine of a session, which is pure."""

from collections.abc import Callable, Mapping
from datetime import datetime

from labctl.errors import Refused
from labctl.exam.audit import Act
from labctl.exam.model import Phase
from labctl.exam.standing import CandidateStanding, Frozen, Readiness, Stage, Standing
from labctl.language import _


def refuse_stage(standing: Standing, act: Act, name: str) -> None:
    """Raise Refused where a session has not come so far yet, or is over."""
    needed = NEEDED.get(act)
    if standing.stage is Stage.CLOSED and act not in AFTER_CLOSE:
        text = _('the session "{name}" is closed: nothing of it changes any more')
        raise Refused(text.format(name=name), hint=f"labctl exam status {name}")
    if Act.CLOSE in standing.unfinished and act not in AFTER_CLOSE:
        text = _('the session "{name}" is being given up: nothing of it goes on any more')
        raise Refused(text.format(name=name), hint=f'labctl exam close {name} --give-up --reason "…"')
    if needed is None or standing.stage.reached(needed):
        return
    if act is Act.CLOSE:
        text = _('nobody has begun in the session "{name}": there is nothing to close')
        raise Refused(text.format(name=name), hint=f'labctl exam close {name} --give-up --reason "…"')
    missing = next(stage for stage in Stage if stage.reached(later_than(standing.stage)))
    text = _('the session "{name}" is {stage}; this comes later').format(name=name, stage=stage_text(standing.stage))
    raise Refused(text, hint=f"{HINTS[missing]} {name}")


def later_than(stage: Stage) -> Stage:
    """Return the stage that comes after one."""
    order = list(Stage)
    return order[order.index(stage) + 1]


NEEDED: Mapping[Act, Stage] = {
    Act.SEAL: Stage.PREPARED,
    Act.OPEN: Stage.SEALED,
    Act.START: Stage.OPEN,
    Act.PAUSE: Stage.STARTED,
    Act.RESUME: Stage.STARTED,
    Act.EXTEND: Stage.STARTED,
    Act.FREEZE: Stage.STARTED,
    Act.THAW: Stage.STARTED,
    Act.CLOSE: Stage.STARTED,
}
AFTER_CLOSE = frozenset({Act.VERIFY, Act.REPORT, Act.COPY, Act.PURGE, Act.CLOSE})
HINTS: Mapping[Stage, str] = {
    Stage.CREATED: "labctl exam prepare", Stage.PREPARED: "labctl exam prepare", Stage.SEALED: "labctl exam seal",
    Stage.OPEN: "labctl exam open", Stage.STARTED: "labctl exam start", Stage.CLOSED: "labctl exam close",
}  # fmt: skip


def stage_text(stage: Stage) -> str:
    """Return a stage in the reader's words."""
    return {
        Stage.NONE: _("not there"),
        Stage.CREATED: _("being prepared"),
        Stage.PREPARED: _("prepared"),
        Stage.SEALED: _("sealed"),
        Stage.OPEN: _("open"),
        Stage.STARTED: _("started"),
        Stage.CLOSED: _("closed for good"),
    }[stage]


def why_not(standing: Standing, act: Act, candidate: CandidateStanding, phase: Phase, now: datetime) -> str:
    """Return why an act cannot be done for a candidate now, "" where it can. `phase` matters to a start alone."""
    if candidate.closed:
        return _("has ended")
    if candidate.readiness in {Readiness.NONE, Readiness.FAILED} and act not in {Act.INCIDENT, Act.CLOSE}:
        return _("has no lab that is ready")
    rule = RULES.get(act)
    return rule(standing, candidate, phase, now) if rule else ""


def start_rule(_standing: Standing, candidate: CandidateStanding, phase: Phase, _now: datetime) -> str:
    """A phase begins once; the order of phases goes on; the recette comes after the freeze."""
    order = list(Phase)
    if candidate.phase and order.index(candidate.phase) > order.index(phase):
        return _("is in a later phase already")
    if candidate.paused:
        return _("is paused")
    practical = candidate.practical
    if practical and phase is Phase.RECETTE and candidate.frozen is not Frozen.YES:
        return _("is not frozen yet")
    return ""


def pause_rule(_standing: Standing, candidate: CandidateStanding, _phase: Phase, _now: datetime) -> str:
    """Only a clock that runs may be stopped, of somebody whose clock may stand."""
    if candidate.clock is None or candidate.clock.ended:
        return _("has no clock that runs")
    return "" if candidate.pauses else _("has no right to pauses: give an extension or note an incident instead")


def resume_rule(_standing: Standing, candidate: CandidateStanding, _phase: Phase, _now: datetime) -> str:
    """Only what is paused goes on."""
    return "" if candidate.paused else _("is not paused")


def extend_rule(_standing: Standing, candidate: CandidateStanding, _phase: Phase, _now: datetime) -> str:
    """Time is added to a phase that has begun; not while its machines are being frozen."""
    if candidate.clock is None:
        return _("has not begun")
    if candidate.frozen is Frozen.UNDER_WAY:
        return _("is being frozen at this moment: say it again when that is done")
    return _("has ended this phase") if candidate.clock.ended and candidate.frozen is Frozen.NO else ""


def freeze_rule(_standing: Standing, candidate: CandidateStanding, _phase: Phase, _now: datetime) -> str:
    """Only work that has begun is frozen."""
    return "" if candidate.practical else _("has not begun to work on the machines")


def thaw_rule(_standing: Standing, candidate: CandidateStanding, _phase: Phase, _now: datetime) -> str:
    """Only what is frozen as a whole runs again."""
    return "" if candidate.frozen is Frozen.YES else _("is not frozen")


def close_rule(_standing: Standing, candidate: CandidateStanding, _phase: Phase, _now: datetime) -> str:
    """Nobody's work ends unkept."""
    return _("has work that is not frozen") if candidate.practical and candidate.frozen is not Frozen.YES else ""


Rule = Callable[[Standing, CandidateStanding, Phase, datetime], str]
RULES: Mapping[Act, Rule] = {
    Act.START: start_rule,
    Act.PAUSE: pause_rule,
    Act.RESUME: resume_rule,
    Act.EXTEND: extend_rule,
    Act.FREEZE: freeze_rule,
    Act.THAW: thaw_rule,
    Act.CLOSE: close_rule,
}


def is_done(act: Act, candidate: CandidateStanding, phase: Phase) -> bool:
    """Return whether an act that is asked for is what was done already: to say it again changes nothing."""
    if act in candidate.unfinished:
        return False
    return {
        Act.START: phase in candidate.clocks and not (phase is Phase.RECETTE and not candidate.running),
        Act.PAUSE: candidate.paused,
        Act.RESUME: candidate.clock is not None and candidate.clock.runs and Act.RESUME in candidate.last,
        Act.FREEZE: candidate.frozen is Frozen.YES,
        Act.THAW: candidate.frozen is Frozen.YES and candidate.running,
        Act.CLOSE: candidate.closed,
    }.get(act, False)
