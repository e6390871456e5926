"""What candidates bring back to its first state by themselves, as their exam allows: counted, written down, refused."""

from collections.abc import Sequence

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act, Step
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding, Standing, number_of
from labctl.language import _

NONE, MACHINE, LAB = "none", "machine", "lab"


def reset_scope(standing: Standing) -> str:
    """Return what candidates may reset: none, machine or lab."""
    return standing.text("reset") or NONE


def resets_left(standing: Standing, one: CandidateStanding) -> int:
    """Return how many resets a candidate has left; one that failed does not count, one that is under way does."""
    if reset_scope(standing) == NONE:
        return 0
    most = int(number_of(standing.about, "resets"))
    steps = [entry.step for entry in one.entries(Act.RESET)]
    return max(0, most - steps.count(Step.BEGUN) + steps.count(Step.FAILED))


def why_no_reset(standing: Standing, one: CandidateStanding, nodes: Sequence[str]) -> str:
    """Return why a candidate may not reset these machines, all of them without any; "" where they may. Pure."""
    scope = reset_scope(standing)
    if scope == NONE:
        return _("this exam allows no reset: raise your hand")
    if scope == MACHINE and len(nodes) != 1:
        return _("this exam allows the reset of one machine at a time, not of the whole lab")
    if not (one.works and one.running) or one.paused or one.closed:
        return _("machines are reset while you work on them only")
    if Act.RESET in one.unfinished:
        return _("a reset is under way")
    return "" if resets_left(standing, one) else _("you have no reset left: raise your hand")


def begin_reset(session: Session, number: str, nodes: Sequence[str]) -> None:
    """Write that a reset begins. Raises Refused, with the reason for the candidate."""
    with session.writing() as log:
        reason = why_no_reset(log.standing, log.standing.candidate(number), nodes)
        if reason:
            raise Refused(reason)
        log.add(Act.RESET, Step.BEGUN, number, nodes=[*nodes])


def end_reset(session: Session, number: str, nodes: Sequence[str], error: LabctlError | None = None) -> None:
    """Write how a reset ended; one whose end is written already stays as it is."""
    with session.writing() as log:
        if Act.RESET not in log.standing.candidate(number).unfinished:
            return
        if error is None:
            log.add(Act.RESET, Step.DONE, number, nodes=[*nodes])
        else:
            log.add(Act.RESET, Step.FAILED, number, nodes=[*nodes], error=error.message)
