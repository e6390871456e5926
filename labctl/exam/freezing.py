"""Freezes the work of candidates: consoles cut, machines stopped together at once, then a copy of disks and memory."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.exam.audit import Act, Step, utc_text
from labctl.exam.conduct import Became, Conduct, Result, Results, Run, begin, hold_candidate
from labctl.exam.standing import CandidateStanding, Frozen, Standing

DEADLINE = "deadline"  # the reason of a freeze that the supervisor makes by itself
RESET_PATIENCE = 60.0  # seconds for a reset that is under way to end; consoles are cut meanwhile
LOOK = 0.1

Wanted = Callable[[Standing, CandidateStanding], bool]


def freeze(
    conduct: Conduct, numbers: Sequence[str], reason: str, *, run_on: bool = False, wanted: Wanted = lambda *_: True
) -> Results:
    """Freeze the work of candidates and keep a copy; their machines stay suspended, or run on.

    All machines stand still before the first is copied. What a crash broke off is taken up by `keep_copy`.
    """
    with begin(conduct, Act.FREEZE, numbers, lambda one: facts_of(one, reason, run_on=run_on), wanted=wanted) as run:
        run.each(lambda one: stop_machines(conduct, one))
        stopped = [one.number for one in run.meant]
    for number in stopped:
        run.results[number] = keep_copy(conduct, number)
    return run.inform()


def facts_of(one: CandidateStanding, reason: str, *, run_on: bool) -> dict[str, JsonValue]:
    """Return what the first entry of a freeze says: why, and what its copy is called, the same after a failure."""
    again = one.freezes > 0 and one.frozen in {Frozen.UNDER_WAY, Frozen.FAILED}
    name = f"freeze-{one.freezes if again else one.freezes + 1}"
    return {"reason": reason, "copy": name, "left": "running" if run_on else "suspended"}


def is_due(now: Callable[[], datetime]) -> Wanted:
    """Return what tells whether a candidate's time with its grace is over, once the log is held."""

    def due(standing: Standing, one: CandidateStanding) -> bool:
        moment = standing.freeze_time(one.number, now())
        return moment is not None and moment <= now()

    return due


def stop_machines(conduct: Conduct, one: CandidateStanding) -> None:
    """Cut the consoles, then stop all machines together, and write down when they stood still."""
    conduct.consoles.cut(one.lab)
    waited = wait_reset(conduct, one.lab)
    conduct.labs.suspend(one.lab)
    now = conduct.session.clock.read().hour
    with conduct.session.writing() as log:
        due = one.practical.deadline(now) + log.standing.grace if one.practical else now
        told: dict[str, JsonValue] = {"suspended": utc_text(now), "late": round((now - due).total_seconds(), 3)}
        if waited:
            told["waited"] = round(waited, 1)  # for a reset
        log.add(Act.FREEZE, Step.NOTED, one.number, **told)


def wait_reset(conduct: Conduct, lab: str) -> float:
    """Wait for a reset under way to end: half a machine is no work. Return the seconds; after a minute, go on."""
    start = time.monotonic()
    while conduct.labs.busy(lab):
        if time.monotonic() - start > RESET_PATIENCE:
            break
        conduct.session.clock.sleep(LOOK)
    else:
        return time.monotonic() - start if time.monotonic() - start > LOOK else 0.0
    return time.monotonic() - start


def keep_copy(conduct: Conduct, number: str) -> Result:
    """Copy the work of a candidate whose freeze has begun, and say what became of it; one that has ended is left alone.

    This is also what takes up a freeze after a crash: machines that do not stand still yet are stopped first.
    """
    with hold_candidate(conduct.session, number, conduct.patience):
        one = conduct.session.read().candidate(number)
        if Act.FREEZE not in one.unfinished:
            return Result(Became.ALREADY)
        run = Run(conduct, Act.FREEZE, [one])
        begun = [entry for entry in one.entries(Act.FREEZE) if entry.step is Step.BEGUN][-1].facts
        name, left = str(begun.get("copy", "")), str(begun.get("left", ""))
        try:
            if one.running:
                stop_machines(conduct, one)
            else:  # somebody may have let them run since; who was paused may have consoles still
                conduct.consoles.cut(one.lab)
                conduct.labs.suspend(one.lab)
            copied = conduct.labs.copy(one.lab, f"{number}/{name}")
            failure = conduct.labs.resume([one.lab]).failures.get(one.lab) if left == "running" else None
        except LabctlError as exc:
            run.end(number, exc, copy=name)
            return run.results[number]
        if failure:
            left = "suspended"
        off: list[JsonValue] = list(copied.off)
        run.end(number, None, copy=name, folder=copied.folder, bytes=copied.size, off=off, left=left)
        return run.results[number]
