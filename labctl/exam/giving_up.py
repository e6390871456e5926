"""A session in which nobody has begun to its end: the labs that it made are removed; log, papers and evidence stay."""

from contextlib import ExitStack
from datetime import datetime

from labctl.errors import LabctlError, Refused
from labctl.exam.acts import refuse_no_reason
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Became, Conduct, Result, Results, hold_candidate
from labctl.exam.doors import Remover
from labctl.exam.standing import CandidateStanding, Stage, Standing
from labctl.language import _

Others = tuple[tuple[str, Standing], ...]  # the other sessions of this installation, with their names


def give_up(conduct: Conduct, remover: Remover, reason: str, others: Others) -> Results:
    """End a session that never started, and remove its labs.

    A lab that was never made for this session, or that a later one has made anew under the same name, is left alone.
    What a crash interrupts is finished by saying it again. Raises Refused where somebody has begun.
    """
    session, said = conduct.session, refuse_no_reason(reason)
    refuse_begun(session.read(), session.name)
    results: dict[str, Result] = {}
    with ExitStack() as held:
        for number in session.read().candidates:
            held.enter_context(hold_candidate(session, number, conduct.patience))
        with session.writing() as log:
            refuse_begun(log.standing, session.name)
            candidates = tuple(log.standing.candidates.values())
            if log.standing.stage is Stage.CLOSED:
                return dict.fromkeys(log.standing.candidates, Result(Became.ALREADY))
            log.add(Act.CLOSE, Step.BEGUN, "", reason=said, given_up=True)
        for one in candidates:
            results[one.number] = Result(Became.ALREADY) if one.closed else end(conduct, remover, one, others)
    if all(result.became is not Became.FAILED for result in results.values()):
        with session.writing() as log:
            log.add(Act.CLOSE, Step.DONE, "", head=log.standing.head)
    return results


def refuse_begun(standing: Standing, name: str) -> None:
    """Raise Refused where a clock of somebody has begun: then there is work to keep."""
    begun = [one.number for one in standing.candidates.values() if one.clocks or Act.START in one.unfinished]
    if begun and standing.stage is not Stage.CLOSED:
        text = _('these candidates of the session "{name}" have begun: {numbers}; what has begun is closed')
        raise Refused(text.format(name=name, numbers=", ".join(begun)), hint=f"labctl exam close {name}")


def end(conduct: Conduct, remover: Remover, one: CandidateStanding, others: Others) -> Result:
    """Remove the lab of a candidate, and write down that they have ended; a lab that cannot go keeps them from it."""
    kept = why_kept(one, others)
    if not kept:
        try:
            remover.remove(one.lab)
        except LabctlError as exc:
            return Result(Became.FAILED, exc.message)
    facts: dict[str, str | bool] = {"given_up": True, "removed": not kept, **({"kept": kept} if kept else {})}
    with conduct.session.writing() as log:
        log.add(Act.CLOSE, Step.DONE, one.number, **facts)
    return Result(Became.DONE, kept, facts)


def why_kept(one: CandidateStanding, others: Others) -> str:
    """Return why the lab of a candidate is not this session's to remove, "" where it is."""
    made = made_at(one)
    if made is None:
        return _("no lab was made")
    for name, standing in others:
        for other in standing.candidates.values():
            later = made_at(other)
            if other.lab == one.lab and later and later > made:
                text = _('the lab "{lab}" stays: it was made anew for the session "{name}"')
                return text.format(lab=one.lab, name=name)
    return ""


def made_at(one: CandidateStanding) -> datetime | None:
    """Return when a session last began to make the lab of a candidate, if it ever did."""
    made = one.entries(Act.PREPARE)
    return made[-1].at.hour if made else None
