"""Estimates how long a plan takes, from what the same kinds of work took on this host before."""

from labctl.plan.model import ActionKind, Plan
from labctl.store import Store

IMAGE = "image"


def kinds_of_work(plan: Plan) -> dict[str, int]:
    """Return how often each timed kind of work occurs in a plan; boots and plays run side by side and count once."""
    work = {}
    if images := len(plan.actions_of(ActionKind.BUILD_IMAGE)):
        work[IMAGE] = images
    if starts := len(plan.actions_of(ActionKind.START_MACHINE)):
        work[f"boot:{starts}"] = 1
    if plan.actions_of(ActionKind.CONFIGURE):
        work[f"configure:{plan.topology}"] = 1
    work[f"gate:{plan.topology}"] = 1
    return work


def estimate_seconds(plan: Plan, store: Store) -> float | None:
    """Return the expected duration of `up`, None where some of it was never done here."""
    total = 0.0
    for what, times in kinds_of_work(plan).items():
        seconds = store.expected_seconds(what)
        if seconds is None:
            return None
        total += times * seconds
    return total
