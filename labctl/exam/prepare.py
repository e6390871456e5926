"""Every candidate's lab, proven and paused before the day: ready, repaired, taken from a spare, or failed and why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from labctl.crew import Crew
from labctl.errors import Interrupted, LabctlError, Refused
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Became, Conduct, Result, Results, select
from labctl.exam.doors import Built, Proof, Proofs, Workshop
from labctl.exam.rules import refuse_stage
from labctl.exam.standing import CandidateStanding, Readiness, Stage
from labctl.language import _

PROVEN_TOGETHER = 4  # candidates whose checks run side by side


@dataclass(frozen=True)
class Preparation:
    """What prepares a session. Without `proofs` nothing is said of the recette and of isolation."""

    conduct: Conduct
    workshop: Workshop
    proofs: Proofs | None = None


@dataclass(frozen=True)
class Prepared:
    """What became of one lab, and the facts of its proofs."""

    readiness: Readiness
    reason: str
    facts: Mapping[str, JsonValue]


def prepare(preparation: Preparation, numbers: Sequence[str]) -> Results:
    """Prepare the labs of candidates, or of all; those that are ready and paused are left alone.

    Raises Refused before anything is made: where a lab of that name is somebody else's, or the host has no room.
    """
    session, workshop = preparation.conduct.session, preparation.workshop
    standing = session.read()
    refuse_stage(standing, Act.PREPARE, session.name)
    started = [one.number for one in select(standing, numbers) if one.practical]
    if numbers and started:
        text = _("these candidates have begun to work: {numbers}; their labs are not made anew")
        raise Refused(text.format(numbers=", ".join(started)), hint=f"labctl exam status {session.name}")
    waiting = [one for one in select(standing, numbers) if not one.practical]
    meant = [one for one in waiting if not is_ready(preparation, one)]
    refuse_foreign(workshop, meant)
    workshop.refuse_no_room([one.lab for one in standing.candidates.values() if not one.practical] if meant else [])
    with session.writing() as log:
        if not log.standing.stage.reached(Stage.PREPARED):
            log.add(Act.PREPARE, Step.BEGUN)
        for one in meant:
            log.add(Act.PREPARE, Step.BEGUN, one.number)
    results = make_all(preparation, meant)
    with session.writing() as log:
        whole = all(one.readiness is not Readiness.NONE for one in log.standing.candidates.values())
        if whole and Act.PREPARE in log.standing.unfinished:
            log.add(Act.PREPARE, Step.DONE, "", failed=[n for n, one in results.items() if one.became != "done"])
    already = [one.number for one in select(standing, numbers) if one.number not in results]
    return {**dict.fromkeys(already, Result(Became.ALREADY)), **results}


def is_ready(preparation: Preparation, one: CandidateStanding) -> bool:
    """Return whether a lab was prepared and still waits: a restart of the host switches paused machines off."""
    if one.readiness in {Readiness.NONE, Readiness.FAILED} or Act.PREPARE in one.unfinished:
        return False
    states = preparation.conduct.labs.states([one.lab])[one.lab]
    return bool(states) and set(states.values()) <= {"paused", "running"}


def refuse_foreign(workshop: Workshop, meant: Sequence[CandidateStanding]) -> None:
    """Raise Refused where a lab exists that this session has not begun to make: somebody may have worked on it."""
    foreign = [one.lab for one in meant if not one.entries(Act.PREPARE) and workshop.exists(one.lab)]
    if foreign:
        text = _("these labs exist already and were not made for this exam: {labs}")
        raise Refused(text.format(labs=", ".join(foreign)), hint=f"labctl down {foreign[0]}")


def make_all(preparation: Preparation, meant: Sequence[CandidateStanding]) -> dict[str, Result]:
    """Make the labs of all together, then prove, mend or replace each; write down what became of it."""
    try:
        built = preparation.workshop.build([one.owner for one in meant]) if meant else {}
    except LabctlError as exc:
        with preparation.conduct.session.writing() as log:
            for one in meant:
                log.add(Act.PREPARE, Step.FAILED, one.number, reason=exc.message)
        raise
    results: dict[str, Result] = {}

    def finish(one: CandidateStanding) -> None:
        prepared = make_one(preparation, one, built.get(one.owner, Built(ready=False)))
        results[one.number] = write_result(preparation, one, prepared)

    with Crew(max_workers=PROVEN_TOGETHER) as crew:
        for done in [crew.submit(finish, one) for one in meant]:
            done.result()
    return {one.number: results[one.number] for one in meant}


def make_one(preparation: Preparation, one: CandidateStanding, built: Built) -> Prepared:
    """Prove a lab; where it is not as it must be, make it anew, then let a spare take its place."""
    readiness, reason = (Readiness.SPARE if built.spare else Readiness.READY), ""
    again: tuple[tuple[Readiness, Callable[[], Built]], ...] = (
        (Readiness.REPAIRED, lambda: preparation.workshop.mend(one.owner)),
        (Readiness.SPARE, lambda: preparation.workshop.exchange(one.owner)),
    )
    for following in (*again, None):
        proof = prove(preparation, one) if built.ready else Proof(holds=False, reason=built.reason)
        if proof.holds is not False:
            return Prepared(readiness, proof.reason or reason, proof.facts)
        reason = reason or proof.reason
        if following is None:
            break
        try:
            readiness, built = following[0], following[1]()
        except Interrupted:
            raise
        except LabctlError as exc:
            built = Built(ready=False, reason=exc.message)
    return Prepared(Readiness.FAILED, proof.reason or reason, proof.facts)


def prove(preparation: Preparation, one: CandidateStanding) -> Proof:
    """Ask for both proofs; one that cannot be made is said, and holds nothing back."""
    if preparation.proofs is None:
        return Proof(holds=True)
    told: dict[str, JsonValue] = {}
    reasons, holds = [], True
    for name, ask in (("recette", preparation.proofs.recette_at_start), ("isolation", preparation.proofs.isolation)):
        try:
            proof = ask(one.number)
        except LabctlError as exc:
            proof = Proof(holds=None, reason=exc.message)
        told[name] = {True: "holds", False: "does not hold", None: "not checked"}[proof.holds]
        told |= {f"{name} {key}": value for key, value in proof.facts.items()}
        holds = holds and proof.holds is not False
        reasons += [proof.reason] if proof.holds is not True and proof.reason else []
    return Proof(holds=holds, reason="; ".join(reasons), facts=told)


def write_result(preparation: Preparation, one: CandidateStanding, prepared: Prepared) -> Result:
    """Let a lab wait, paused and out of reach, and write down what became of it."""
    readiness, reason = prepared.readiness, prepared.reason
    if readiness is not Readiness.FAILED:
        try:
            preparation.conduct.consoles.cut(one.lab)
            preparation.conduct.labs.suspend(one.lab)
        except LabctlError as exc:
            readiness, reason = Readiness.FAILED, exc.message
    failed = readiness is Readiness.FAILED
    facts: dict[str, JsonValue] = {**prepared.facts, "result": readiness, "reason": reason}
    with preparation.conduct.session.writing() as log:
        log.add(Act.PREPARE, Step.FAILED if failed else Step.DONE, one.number, **facts)
    return Result(Became.FAILED if failed else Became.DONE, reason, facts)
