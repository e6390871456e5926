"""A check's texts to the hints that students may ask for, step by step."""

import re

from labctl.checks.model import Outcome, Result
from labctl.topology.model import Check

SENTENCE = re.compile(r"(?<=[.!?…])\s+(?=[A-ZÀ-ÖØ-Þ«“])")


def steps_of(check: Check, language: str) -> list[str]:
    """Return the hints of a check, step by step.

    Without hints of its own, they are the sentences of what is said when it fails that say where to look. The first
    one says what is expected: "192.0.2.80 does not answer" is half of the answer.
    """
    if check.hints:
        return [hint.pick(language) for hint in check.hints]
    return SENTENCE.split(check.failed.pick(language).strip())[1:]


def hints_of(outcome: Outcome, language: str, count: int) -> tuple[list[str], int]:
    """Return the first hints of a check, and how many there are beyond; what has passed needs none."""
    steps = [] if outcome.result is Result.PASSED else steps_of(outcome.check, language)
    return steps[:count], len(steps[count:])
