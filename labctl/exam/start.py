"""Begins a phase: for the work itself, links are pulled and all machines let run in one burst; else a clock alone."""

from collections.abc import Sequence

from labctl.errors import LabctlError
from labctl.exam.audit import Act, Step, utc_text
from labctl.exam.conduct import Conduct, Results, Run, begin
from labctl.exam.doors import Burst
from labctl.exam.model import Phase
from labctl.exam.standing import CandidateStanding, Frozen
from labctl.language import _


def start(conduct: Conduct, numbers: Sequence[str], phase: Phase) -> tuple[Results, Burst | None]:
    """Begin a phase for candidates, all at the same instant; return what became of each, and the burst of machines.

    A clock begins once the last machine of all runs. Raises Refused where the session is not open.
    """
    with begin(conduct, Act.START, numbers, lambda _one: {"phase": phase}, phase) as run:
        burst = None
        if phase is Phase.PRACTICAL and run.meant:
            burst = start_machines(conduct, run)
        elif phase is Phase.RECETTE and run.meant:
            burst = show_machines(conduct, run)
        began = utc_text(conduct.session.clock.read().hour)
        for one in run.meant:
            run.end(one.number, None, phase=phase, began=began)
        if burst:
            conduct.labs.set_clocks([one.lab for one in run.meant])
        return run.inform(), burst


def start_machines(conduct: Conduct, run: Run) -> Burst:
    """Pull the links that are forbidden, then let all machines run; write down how far apart they began."""
    pulled: dict[str, list[str]] = {}

    def pull(one: CandidateStanding) -> None:
        pulled[one.number] = list(conduct.labs.set_links(one.lab, up=False))

    refuse_off(conduct, run)
    run.each(pull)
    burst = let_run(conduct, run, run.meant)
    with conduct.session.writing() as log:
        log.add(
            Act.START, Step.NOTED, "", first=utc_text(burst.first), last=utc_text(burst.last), machines=burst.machines,
            spread=round(burst.spread, 3), links={number: list(names) for number, names in pulled.items()},
            names={name: list(addresses) for name, addresses in conduct.labs.pins().items()},
        )  # fmt: skip
    return burst


def pull_again(conduct: Conduct, one: CandidateStanding) -> None:
    """Pull what the exam forbids: a host that was restarted holds no network to names, and a new machine has links."""
    conduct.labs.set_links(one.lab, up=False)


def refuse_off(conduct: Conduct, run: Run) -> None:
    """Leave out those whose machines are off: they would boot for minutes, in the candidate's time."""
    states = conduct.labs.states([one.lab for one in run.meant])
    for one in list(run.meant):
        off = [node for node, state in states.get(one.lab, {}).items() if state not in {"paused", "running"}]
        if off or not states.get(one.lab):
            text = _("these machines are off: {names}; prepare this candidate again")
            run.end(one.number, LabctlError(text.format(names=", ".join(off) or _("all"))))
            run.meant.remove(one)


def show_machines(conduct: Conduct, run: Run) -> Burst | None:
    """Let frozen machines run again, so that the work can be shown; those of whom nothing is frozen have none."""
    run.each(lambda one: pull_again(conduct, one) if one.frozen is Frozen.YES else None)
    frozen = [one for one in run.meant if one.frozen is Frozen.YES]
    if not frozen:
        return None
    burst = let_run(conduct, run, frozen)
    with conduct.session.writing() as log:
        for one in frozen:
            if one in run.meant:
                log.add(Act.THAW, Step.DONE, one.number)
    return burst


def let_run(conduct: Conduct, run: Run, those: Sequence[CandidateStanding]) -> Burst:
    """Let the machines of candidates run together; whose machines do not is written down and meant no more."""
    burst = conduct.labs.resume([one.lab for one in those])
    for one in list(those):
        if failure := burst.failures.get(one.lab):
            run.end(one.number, LabctlError(failure))
            run.meant.remove(one)
        else:
            conduct.consoles.allow(one.lab)
    return burst
