"""A candidate's wish for fresh machines, by the exam's policy: links plugged in, machines made anew, links pulled.

The lab's own lock keeps a freeze waiting, not the lock of the candidate: a deadline in the middle of a reset is kept.
"""

from collections.abc import Sequence

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Became, Conduct, Result
from labctl.exam.doors import Resetter
from labctl.exam.model import Phase
from labctl.exam.rules import refuse_stage
from labctl.exam.standing import CandidateStanding, Standing, number_of
from labctl.language import _


def reset(
    conduct: Conduct, resetter: Resetter, number: str, nodes: Sequence[str], *, reason: str = "", own: bool = True
) -> Result:
    """Make machines of a candidate anew; `own` says that they ask for it themselves, as often as the exam allows.

    Raises Refused where that is not allowed now.
    """
    session = conduct.session
    with session.writing() as log:
        refuse_stage(log.standing, Act.PAUSE, session.name)
        one = log.standing.candidate(number)
        why = why_no_reset(log.standing, one, nodes, own=own)
        if why:
            raise Refused(f"{number}: {why}", hint=f"labctl exam status {session.name}")
        log.add(Act.RESET, Step.BEGUN, number, nodes=[*nodes], own=own, reason=reason)
    try:
        conduct.labs.set_links(one.lab, up=True)
        try:
            built = resetter.reset(one.lab, nodes)
        finally:
            conduct.labs.set_links(one.lab, up=False)
        error = None if built.ready else built.reason
    except LabctlError as exc:
        error = exc.message
    with session.writing() as log:
        if error is None:
            log.add(Act.RESET, Step.DONE, number)
        else:
            log.add(Act.RESET, Step.FAILED, number, error=error)
    return Result(Became.DONE if error is None else Became.FAILED, error or "")


def why_no_reset(standing: Standing, one: CandidateStanding, nodes: Sequence[str], *, own: bool) -> str:
    """Return why machines cannot be made anew now, "" where they can."""
    clock = one.practical
    if one.phase is not Phase.PRACTICAL or clock is None or not clock.runs or not one.running:
        return _("does not work on the machines now")
    if not own:
        return ""
    scope, most = standing.text("reset"), number_of(standing.about, "resets")
    begun = [entry for entry in one.entries(Act.RESET) if entry.step is Step.BEGUN and entry.facts.get("own") is True]
    if scope not in {"machine", "lab"} or (scope == "machine" and len(nodes) != 1):
        return _("may not make this anew: the exam does not allow it")
    return "" if len(begun) < most else _("has made machines anew as often as the exam allows")
