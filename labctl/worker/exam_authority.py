"""Role, relation, verb and state of a candidate's work to a decision, for labs and sessions of exams.

Pure. What `authority` says of labs does not hold for a lab of an exam: whoever teaches has nothing to do there, and
what no rule here allows is refused. Proctors and administrators look after all sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from labctl.exam.model import Phase
from labctl.exam.standing import CandidateStanding, Frozen, Stage
from labctl.language import N_
from labctl.worker.authority import Relation, Verdict
from labctl.worker.values import Refusal, Role


class ExamState(StrEnum):
    """How far somebody's work is: SHOWING lets the frozen work run again, so that it can be shown."""

    WAITING = "waiting"
    WORKING = "working"
    PAUSED = "paused"
    FROZEN = "frozen"
    SHOWING = "showing"
    ENDED = "ended"


@dataclass(frozen=True)
class ExamRule:
    """Who may use a verb on whose work, and in which states it makes sense."""

    relations: Mapping[Role, frozenset[Relation]]
    states: frozenset[ExamState]


EVERY_STATE = frozenset(ExamState)
CANDIDATE = {Role.CANDIDATE: frozenset({Relation.OWN})}
PROCTOR = dict.fromkeys((Role.PROCTOR, Role.ADMIN), frozenset(Relation))
RUNS = frozenset({ExamState.WORKING, ExamState.SHOWING})
WORKS = frozenset({ExamState.WORKING})


def rules(
    verbs: str, relations: Mapping[Role, frozenset[Relation]], states: frozenset[ExamState] = EVERY_STATE
) -> dict[str, ExamRule]:
    """Return the same rule for several verbs."""
    return {verb: ExamRule(relations, states) for verb in verbs.split()}


# The first two lines are verbs about any lab, with other rules here; the others are of exams alone.
EXAM_RULES: Mapping[str, ExamRule] = {
    **rules("console", CANDIDATE, RUNS),
    **rules("lab drawing console_view log_lab", PROCTOR),
    **rules("exam", CANDIDATE),
    **rules("exam_reset exam_wake", CANDIDATE, WORKS),
    **rules("exams exam_board exam_act", PROCTOR),
}

NOT_YOURS = N_("this lab belongs to an exam, and is not yours")
NOT_FOR_YOU = N_("this is not for your account")
NOT_NOW = {
    ExamState.WAITING: N_("the work on the machines has not begun"),
    ExamState.WORKING: N_("this cannot be done while you work"),
    ExamState.PAUSED: N_("your exam is paused: your clock and your machines stand still"),
    ExamState.FROZEN: N_("your work is frozen: your machines stand still"),
    ExamState.SHOWING: N_("your work is frozen, and runs only to be shown"),
    ExamState.ENDED: N_("your exam has ended"),
}


def decide_exam(verb: str, role: Role, relation: Relation, state: ExamState) -> Verdict | None:
    """Return None where somebody may do something in an exam, else why not."""
    rule = EXAM_RULES.get(verb)
    allowed = rule.relations.get(role, frozenset()) if rule else frozenset()
    if rule is None or relation not in allowed:
        return Verdict(Refusal.FORBIDDEN, NOT_FOR_YOU if verb.startswith("exam") else NOT_YOURS)
    return None if state in rule.states else Verdict(Refusal.NOT_NOW, NOT_NOW[state])


def exam_state(stage: Stage, one: CandidateStanding) -> ExamState:
    """Return how far a candidate's work is."""
    if one.closed or stage is Stage.CLOSED:
        return ExamState.ENDED
    if one.paused:
        return ExamState.PAUSED
    if one.works and one.running and one.clock and not one.clock.ended:
        return ExamState.WORKING if one.phase is Phase.PRACTICAL else ExamState.SHOWING
    return ExamState.WAITING if one.frozen is Frozen.NO else ExamState.FROZEN
