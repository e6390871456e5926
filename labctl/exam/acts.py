"""What a proctor does for candidates under way: pause, resume, extend, message, incident, close; each with a reason."""

from collections.abc import Sequence
from datetime import timedelta

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Became, Conduct, Result, Results, begin, select
from labctl.exam.model import Phase
from labctl.exam.rules import refuse_stage
from labctl.exam.standing import CandidateStanding, Frozen
from labctl.exam.start import pull_again
from labctl.language import _

LONGEST = timedelta(hours=8)


def refuse_no_reason(reason: str) -> str:
    """Return a reason without its edges. Raises Refused where there is none: the report must have one."""
    if not reason.strip():
        raise Refused(_("a reason is needed: it is printed in the report"), hint='--reason "…"')
    return reason.strip()


def refuse_length(length: timedelta) -> float:
    """Return a length in seconds. Raises Refused for none, or for more than a day of exams has."""
    if not timedelta() < length <= LONGEST:
        raise Refused(_("between a second and eight hours are given, as 5m, 90s or 1h"))
    return length.total_seconds()


def pause(conduct: Conduct, numbers: Sequence[str], reason: str) -> Results:
    """Stop the clocks of candidates at once, then their machines."""
    said = refuse_no_reason(reason)
    with begin(conduct, Act.PAUSE, numbers, lambda _one: {"reason": said}) as run:
        run.each(lambda one: conduct.labs.suspend(one.lab) if one.works else None)
        for one in run.meant:
            run.end(one.number, None, machines=one.works)
        return run.inform()


def resume(conduct: Conduct, numbers: Sequence[str], reason: str) -> Results:
    """Let the machines of paused candidates run on, all together, then their clocks."""
    said = refuse_no_reason(reason)
    with begin(conduct, Act.RESUME, numbers, lambda _one: {"reason": said}) as run:
        run.each(lambda one: pull_again(conduct, one) if one.works else None)
        working = {one.lab: one.number for one in run.meant if one.works}
        burst = conduct.labs.resume(list(working)) if working else None
        for one in run.meant:
            failure = burst.failures.get(one.lab) if burst else None
            if one.works and not failure:
                conduct.consoles.allow(one.lab)
            run.end(one.number, LabctlError(failure) if failure else None, machines=one.works)
        if burst:
            conduct.labs.set_clocks([lab for lab in working if lab not in burst.failures])
        return run.inform()


def extend(conduct: Conduct, numbers: Sequence[str], length: timedelta, reason: str) -> Results:
    """Give candidates more time in their phase. Frozen work goes on, with its clock standing until machines run."""
    said, seconds = refuse_no_reason(reason), refuse_length(length)

    def facts(one: CandidateStanding) -> dict[str, str | float | bool]:
        told: dict[str, str | float | bool] = {"reason": said, "seconds": seconds, "phase": str(one.phase)}
        return {**told, "reopened": True} if is_reopened(one) else told

    with begin(conduct, Act.EXTEND, numbers, facts, step=Step.NOTED) as run:
        for one in run.meant:
            run.results[one.number] = Result(Became.DONE, facts={"seconds": seconds})
        reopened = [one.number for one in run.meant if one.paused and one.entries(Act.EXTEND)[-1].facts.get("reopened")]
        results = run.inform()
    return {**results, **resume(conduct, reopened, said)} if reopened else results


def is_reopened(one: CandidateStanding) -> bool:
    """Return whether more time means that frozen work goes on."""
    return one.phase is Phase.PRACTICAL and one.frozen in {Frozen.YES, Frozen.FAILED}


def message(conduct: Conduct, numbers: Sequence[str], text: str) -> None:
    """Tell candidates something, on their pages; without numbers, everybody."""
    if not text.strip():
        raise Refused(_("the message is empty"))
    with conduct.session.writing() as log:
        refuse_stage(log.standing, Act.MESSAGE, conduct.session.name)
        for number in [one.number for one in select(log.standing, numbers)] if numbers else [""]:
            log.add(Act.MESSAGE, Step.NOTED, number, text=text.strip())


def note_incident(conduct: Conduct, numbers: Sequence[str], text: str, compensation: timedelta) -> Results:
    """Write down what happened, with the time that it is worth to each candidate; none is a length of 0."""
    said = refuse_no_reason(text)
    seconds = refuse_length(compensation) if compensation else 0.0
    if not numbers and not seconds:
        with conduct.session.writing() as log:
            refuse_stage(log.standing, Act.INCIDENT, conduct.session.name)
            log.add(Act.INCIDENT, Step.NOTED, "", reason=said)
        return {}
    # With time, it is what an extension is, and the same is refused.
    act = Act.EXTEND if seconds else Act.INCIDENT
    if act is Act.EXTEND:
        results = extend(conduct, numbers, compensation, said)
        given = [number for number, result in results.items() if result.became is Became.DONE]
    else:
        given = [one.number for one in select(conduct.session.read(), numbers)]
        results = dict.fromkeys(given, Result(Became.DONE))
    with conduct.session.writing() as log:
        refuse_stage(log.standing, Act.INCIDENT, conduct.session.name)
        for number in given:
            log.add(Act.INCIDENT, Step.NOTED, number, reason=said, compensation=seconds)
    return results


def close(conduct: Conduct, numbers: Sequence[str]) -> Results:
    """End the exam of candidates: consoles cut, machines stopped, nothing removed; with the last, the session ends."""
    with begin(conduct, Act.CLOSE, numbers, lambda _one: {}) as run:

        def end(one: CandidateStanding) -> None:
            conduct.consoles.cut(one.lab)
            conduct.labs.suspend(one.lab)

        run.each(end)
        for one in run.meant:
            run.end(one.number)
        results = run.inform()
    close_session(conduct)
    return results


def close_session(conduct: Conduct) -> None:
    """Close the session once everybody has ended."""
    with conduct.session.writing() as log:
        if all(one.closed for one in log.standing.candidates.values()) and Act.CLOSE not in log.standing.last:
            log.add(Act.CLOSE, Step.BEGUN)
            log.add(Act.CLOSE, Step.DONE, "", head=log.standing.head)
