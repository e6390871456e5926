"""What a candidate may still reset, in words for the candidate; whether it is done decides `exam.resetting`."""

from collections.abc import Sequence

from labctl.exam.audit import Act, Step
from labctl.exam.resetting import why_no_reset
from labctl.exam.standing import CandidateStanding, Standing, number_of
from labctl.language import _

NONE, MACHINE = "none", "machine"


def reset_scope(standing: Standing) -> str:
    """Return what candidates may reset: none, machine or lab."""
    return standing.text("reset") or NONE


def resets_left(standing: Standing, one: CandidateStanding) -> int:
    """Return how many resets a candidate has left; those that the proctor makes do not count."""
    if reset_scope(standing) == NONE:
        return 0
    own = [entry for entry in one.entries(Act.RESET) if entry.step is Step.BEGUN and entry.facts.get("own") is True]
    return max(0, int(number_of(standing.about, "resets")) - len(own))


def explain_no_reset(standing: Standing, one: CandidateStanding, nodes: Sequence[str]) -> str:
    """Return why a candidate may not reset these machines now, all of them without any; "" where they may."""
    if reset_scope(standing) == NONE:
        return _("this exam allows no reset: raise your hand")
    if Act.RESET in one.unfinished:
        return _("a reset is under way")
    if not why_no_reset(standing, one, nodes, own=True):
        return ""
    if not resets_left(standing, one):
        return _("you have no reset left: raise your hand")
    if reset_scope(standing) == MACHINE and len(nodes) != 1:
        return _("this exam allows the reset of one machine at a time, not of the whole lab")
    return _("machines are reset while you work on them only")
