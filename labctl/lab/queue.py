"""Resets that many people ask for at once, to turns: a few side by side, each wish done once, in order."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from labctl.errors import ExitCode
from labctl.lab.lock import who
from labctl.lab.wish import Stop
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.store import Job

AT_ONCE = 3  # resets side by side on one host, whoever asks: more would only make each of them slower
LOOK = 0.2  # seconds; other processes cannot wake us
VERB = "reset"


@dataclass
class Turn:
    """A place in the queue. `mine` is False where the same reset was waiting already: then it is not done again.

    `code` is its exit code; whoever does the work sets it.
    """

    job: int
    mine: bool
    code: int = ExitCode.FAILED


@contextmanager
def wait_turn(place: Workplace, lab: str, nodes: Sequence[str], monitor: Monitor, stop: Stop) -> Iterator[Turn]:
    """Wait in the queue for the right to reset nodes of a lab, and hold it for the length of the block.

    Where the same reset waits already, this waits for its end instead, and takes its place if its process dies.
    Raises Interrupted.
    """
    asked = place.store.add_job(lab, VERB, nodes, who())
    turn = Turn(asked.id, asked.new)
    try:
        while not wait_for(place, lab, turn, monitor, stop):
            asked = place.store.add_job(lab, VERB, nodes, who())
            turn.job, turn.mine = asked.id, asked.new
        if turn.mine:
            place.store.start_job(turn.job)
        yield turn
    finally:
        if turn.mine:
            place.store.end_job(turn.job, turn.code)


def wait_for(place: Workplace, lab: str, turn: Turn, monitor: Monitor, stop: Stop) -> bool:
    """Return True when the turn has come, or somebody else's same reset has ended; False where that one has died."""
    told = ""
    while True:
        jobs = place.store.list_jobs()
        if not turn.mine and all(job.id != turn.job for job in jobs):
            code = place.store.job_code(turn.job)
            turn.code = ExitCode.FAILED if code is None else code
            return code is not None
        ahead = [job for job in jobs if job.id < turn.job]
        if turn.mine and may_start(lab, ahead):
            return True
        stop.raise_if_asked(lab)
        text = describe(turn, ahead)
        if text != told:
            monitor.tell(Event(lab, "queue", Progress.RUNNING, text))
            told = text
        time.sleep(LOOK)


def may_start(lab: str, ahead: Sequence[Job]) -> bool:
    """Return whether there is room for one more, and nobody works on the same lab."""
    labs = {job.lab for job in ahead}  # several wishes for one lab wait for each other, and take one place
    return len(labs) < AT_ONCE and lab not in labs


def describe(turn: Turn, ahead: Sequence[Job]) -> str:
    """Return the position for people."""
    if not turn.mine:
        return _("the same reset was asked for already; waiting for its end")
    return _("in the queue, {count} before it").format(count=len(ahead))
