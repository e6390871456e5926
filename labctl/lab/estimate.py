"""Estimates how long a plan takes, from what the same kinds of work took on this host before."""

from labctl.plan.model import ActionKind, Plan
from labctl.store import Store

IMAGE = "image"


def boot_work(machines: int) -> str:
    """Return the kind of work of starting so many machines side by side."""
    return f"boot:{machines}"


def clone_work(machines: int) -> str:
    """Return the kind of work of cloning so many machines side by side."""
    return f"clone:{machines}"


def configure_work(topology: str) -> str:
    """Return the kind of work of configuring a topology's machines."""
    return f"configure:{topology}"


def gate_work(topology: str) -> str:
    """Return the kind of work of logging in and running the ready checks."""
    return f"gate:{topology}"


def class_work(topology: str) -> str:
    """Return the kind of work of one lab among many: the mean share of a class run."""
    return f"lab-of-class:{topology}"


def kinds_of_work(plan: Plan) -> dict[str, int]:
    """Return how often each timed kind of work occurs in a plan; boots and plays run side by side and count once."""
    work: dict[str, int] = {}
    if images := len(plan.actions_of(ActionKind.BUILD_IMAGE)):
        work[IMAGE] = images
    if starts := len(plan.actions_of(ActionKind.START_MACHINE)):
        work[boot_work(starts)] = 1
    if clones := len(plan.actions_of(ActionKind.CLONE_MACHINE)):
        work[clone_work(clones)] = 1
    if plan.actions_of(ActionKind.CONFIGURE):
        work[configure_work(plan.topology)] = 1
    work[gate_work(plan.topology)] = 1
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
