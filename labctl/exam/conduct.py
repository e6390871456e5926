"""What conducts a session: its log joined with the labs and consoles; who is meant, and what became of each."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from labctl.crew import Crew
from labctl.errors import Busy, LabctlError
from labctl.exam.audit import Act, Step
from labctl.exam.doors import Consoles, Labs
from labctl.exam.model import Phase
from labctl.exam.rules import is_done, refuse_stage, why_not
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding, Standing
from labctl.language import _

PATIENCE = 60.0  # seconds that an act waits for another one on the same candidate
WAIT_STEP = 0.05
WORKERS = 16


class Became(StrEnum):
    """What became of an act on one candidate."""

    DONE = "done"
    ALREADY = "already"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """What became of an act on one candidate; `reason` in the reader's words where it is not done."""

    became: Became
    reason: str = ""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)


Results = Mapping[str, Result]


@dataclass(frozen=True)
class Conduct:
    """One session with what it acts on. `patience` is how long an act waits for another one on the same candidate."""

    session: Session
    labs: Labs
    consoles: Consoles
    patience: float = PATIENCE


def select(standing: Standing, numbers: Sequence[str]) -> list[CandidateStanding]:
    """Return the candidates of these numbers, or all, in the session's order. Raises LabctlError for an unknown one."""
    meant = {standing.candidate(number).number for number in numbers} or standing.candidates.keys()
    return [one for number, one in standing.candidates.items() if number in meant]


def lock_path(session: Session, number: str) -> Path:
    """Return the lock of the acts on one candidate."""
    return session.folder / "locks" / f"{number}.lock"


@contextmanager
def hold_candidate(session: Session, number: str, patience: float) -> Iterator[None]:
    """Hold the acts on one candidate for the length of the block; it ends with the process. Raises Busy."""
    path = lock_path(session, number)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    until = time.monotonic() + patience
    with path.open("a+b") as stream:
        os.fchmod(stream.fileno(), 0o600)
        while True:
            try:
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() >= until:
                    text = _("something else is done for the candidate {number} at this moment")
                    hint = f"labctl exam status {session.name}"
                    raise Busy(text.format(number=number), hint=hint) from exc
                time.sleep(WAIT_STEP)
        yield


@dataclass
class Run:
    """One act under way on several candidates: `meant` are those on whom it is done now, `results` tell of all."""

    conduct: Conduct
    act: Act
    meant: list[CandidateStanding] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)

    def end(self, number: str, error: LabctlError | None = None, /, **facts: JsonValue) -> None:
        """Write that the act is done for a candidate, or has failed."""
        step = Step.FAILED if error else Step.DONE
        told = {**facts, "error": error.message} if error else facts
        with self.conduct.session.writing() as log:
            log.add(self.act, step, number, **told)
        became = Became.FAILED if error else Became.DONE
        self.results[number] = Result(became, error.message if error else "", told)

    def each(self, act: Callable[[CandidateStanding], None]) -> None:
        """Do something for all that are meant, side by side; one that fails is written down and is meant no more."""

        def attempt(candidate: CandidateStanding) -> LabctlError | None:
            try:
                act(candidate)
            except LabctlError as exc:
                return exc
            return None

        with Crew(max_workers=max(1, min(WORKERS, len(self.meant)))) as crew:
            errors = list(crew.map(attempt, self.meant))
        for candidate, error in zip(list(self.meant), errors, strict=True):
            if error:
                self.end(candidate.number, error)
                self.meant.remove(candidate)

    def inform(self) -> Results:
        """Return what became of each, in the order of the session."""
        return {n: self.results[n] for n in self.conduct.session.read().candidates if n in self.results}


Extra = Callable[[CandidateStanding], Mapping[str, JsonValue]]


@contextmanager
def begin(
    conduct: Conduct, act: Act, numbers: Sequence[str], extra: Extra, phase: Phase = Phase.PRACTICAL,
    step: Step = Step.BEGUN, wanted: Callable[[Standing, CandidateStanding], bool] = lambda *_: True,
) -> Iterator[Run]:  # fmt: skip
    """Decide for whom an act is done now, and write that it begins; nobody else acts on them inside the block.

    `extra` gives the facts of an entry; who is not `wanted` any more once the log is held is left alone.
    Raises Refused where the session has not come so far.
    """
    session, run = conduct.session, Run(conduct, act)
    standing = session.read()
    refuse_stage(standing, act, session.name)
    with ExitStack() as held:
        for candidate in select(standing, numbers):
            try:
                held.enter_context(hold_candidate(session, candidate.number, conduct.patience))
            except Busy as exc:
                run.results[candidate.number] = Result(Became.REFUSED, exc.message)
        with session.writing() as log:
            for before in select(standing, numbers):
                candidate = log.standing.candidate(before.number)
                if candidate.number in run.results or not wanted(log.standing, candidate):
                    continue
                if is_done(act, candidate, phase):
                    run.results[candidate.number] = Result(Became.ALREADY)
                elif reason := why_not(log.standing, act, candidate, phase, session.clock.read().hour):
                    run.results[candidate.number] = Result(Became.REFUSED, reason)
                else:
                    log.add(act, step, candidate.number, **extra(candidate))
                    run.meant.append(log.standing.candidate(candidate.number))
        yield run
