"""The acceptance test of an exam on one lab: before the work, whether all is as it must be then; after it, what passes.

Asking changes nothing that was handed in: the copy of the disks was taken before, no machine is rebooted, and nothing
is waited for longer than a check says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from labctl.checks.model import Outcome, Result
from labctl.exam.doors import Proof
from labctl.exam.evidence.store import write_durably
from labctl.exam.load import Paper
from labctl.exam.meaning import start_of
from labctl.exam.model import Start
from labctl.lab.checking import Prober, run_checks
from labctl.language import _
from labctl.monitor import Monitor
from labctl.report.sheet import Found, read_found
from labctl.topology.model import Check

FOLDER = "recette"  # in the session's folder, for root alone
SHOWN = 3  # checks that a reason names


class Moment(StrEnum):
    """When the checks were run."""

    START = "start"
    END = "end"


@dataclass(frozen=True)
class Expected:
    """A check of the recette, and what it must say before the work."""

    check: Check
    start: Start


def recette_of(paper: Paper) -> tuple[Expected, ...]:
    """Return the checks of the recette in their order; `paper` has the candidate's values."""
    known = {check.id: check for check in (*paper.topology.checks, *paper.exam.checks)}
    own = [check.id for check in paper.exam.checks]
    return tuple(Expected(known[one.check], start_of(one.start, one.check, own)) for one in paper.exam.recette)


def run_recette(expected: Sequence[Expected], prober: Prober, monitor: Monitor, moment: Moment) -> tuple[Outcome, ...]:
    """Return the outcome of each check, in order.

    At the start, a check that must fail waits for nothing: it would wait in vain, a minute for each machine.
    """
    checks = [
        one.check.model_copy(update={"wait": 0}) if moment is Moment.START and one.start is Start.FAILS else one.check
        for one in expected
    ]
    return run_checks(checks, prober, monitor)


def judge_start(expected: Sequence[Expected], outcomes: Sequence[Outcome]) -> Proof:
    """Return whether the initial state is right: what must pass does, what is to be done is not done yet."""
    wrong, unknown = [], []
    for one, outcome in zip(expected, outcomes, strict=True):
        wanted = Result.FAILED if one.start is Start.FAILS else Result.PASSED
        if outcome.result is Result.UNKNOWN:
            unknown.append(_("{check} could not be checked: {seen}").format(check=one.check.id, seen=outcome.seen))
        elif outcome.result is not wanted and one.start is Start.FAILS:
            wrong.append(_("{check} passes before anything is done").format(check=one.check.id))
        elif outcome.result is not wanted:
            wrong.append(_("{check} must pass and fails: {seen}").format(check=one.check.id, seen=outcome.seen))
    facts: dict[str, JsonValue] = {
        "checks": {outcome.check.id: str(outcome.result) for outcome in outcomes}, "wrong": [*wrong],
        "unknown": [*unknown],
    }  # fmt: skip
    reason = "; ".join([*wrong, *unknown][:SHOWN])
    return Proof(False if wrong else None if unknown else True, reason, facts)


def count_results(expected: Sequence[Expected], outcomes: Sequence[Outcome]) -> dict[str, JsonValue]:
    """Return what the log has of a recette after the work: each result, how many of each, the points of those won."""
    results = [outcome.result for outcome in outcomes]
    won = sum(one.check.points for one, result in zip(expected, results, strict=True) if result is Result.PASSED)
    return {
        "checks": {outcome.check.id: str(outcome.result) for outcome in outcomes},
        **{str(result): results.count(result) for result in Result},
        "points": won, "worth": sum(one.check.points for one in expected),
    }  # fmt: skip


def results_file(session: Path, owner: str, moment: Moment) -> Path:
    """Return where the results of one candidate are kept in a session's folder."""
    return session / FOLDER / f"{owner}-{moment}.json"


def save_results(path: Path, outcomes: Sequence[Outcome], expected: Sequence[Expected], at: str) -> bytes:
    """Keep results with their proofs, and return the bytes. `at` is UTC, ISO 8601."""
    rows: list[JsonValue] = [
        {
            "check": outcome.check.id, "result": str(outcome.result), "at": at, "start": str(one.start),
            "title": {"en": outcome.check.title.pick("en"), "fr": outcome.check.title.pick("fr")},
            "text": {"en": outcome.text("en"), "fr": outcome.text("fr")}, "evidence": outcome.to_dict("en"),
        }
        for one, outcome in zip(expected, outcomes, strict=True)
    ]  # fmt: skip
    content = (json.dumps({"version": 1, "at": at, "checks": rows}, ensure_ascii=False, indent=1) + "\n").encode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(path, content)
    return content


def load_results(path: Path) -> Mapping[str, Found]:
    """Return the results of a file by check, as acceptance sheets have them; none where there is none to be read."""
    try:
        rows = json.loads(path.read_bytes())["checks"]
        return {row["check"]: read_found(row["result"], row["at"], row["evidence"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
