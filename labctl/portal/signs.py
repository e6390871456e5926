"""The sign and the tone of each state; a word always stands beside them, and signs differ in form, not in colour."""

from typing import NamedTuple


class Sign(NamedTuple):
    """`tone` is a class of the stylesheet: good, busy, bad, off or info."""

    text: str
    tone: str


NONE = Sign("–", "off")
LABS = {
    "ready": Sign("✔", "good"), "working": Sign("…", "busy"), "partly": Sign("!", "busy"), "stopped": Sign("■", "off"),
    "failed": Sign("✘", "bad"), "suspended": Sign("‖", "off"), "absent": Sign("○", "off"),
}  # fmt: skip
NODES = {
    "ready": Sign("✔", "good"), "not configured": Sign("…", "busy"), "silent": Sign("?", "busy"),
    "paused": Sign("‖", "busy"), "stopped": Sign("■", "off"), "crashed": Sign("✘", "bad"), "missing": Sign("○", "bad"),
    "running": Sign("▶", "good"),
}  # fmt: skip
CHECKS = {"passed": Sign("✔", "good"), "failed": Sign("✘", "bad"), "unknown": Sign("?", "busy")}


MACHINES = {
    "running": Sign("✔", "good"), "paused": Sign("‖", "busy"), "stopped": Sign("■", "off"),
    "crashed": Sign("✘", "bad"), "missing": Sign("○", "bad"),
}  # fmt: skip
EXAMS = {
    "waiting": Sign("○", "off"), "working": Sign("▶", "good"), "paused": Sign("‖", "busy"),
    "frozen": Sign("■", "info"), "showing": Sign("◉", "good"), "ended": Sign("–", "off"),
}  # fmt: skip


RUNNING = frozenset({"ready", "running", "not configured", "silent", "paused"})


def has_screen(state: str) -> bool:
    """Return whether a machine in this state shows something."""
    return state in RUNNING


def lab_sign(state: str) -> Sign:
    """Return the sign of a lab's state."""
    return LABS.get(state, NONE)


def node_sign(state: str) -> Sign:
    """Return the sign of a machine's state."""
    return NODES.get(state, NONE)


def check_sign(result: str) -> Sign:
    """Return the sign of a check's result."""
    return CHECKS.get(result, NONE)


def machine_sign(state: str) -> Sign:
    """Return the sign of a machine in an exam."""
    return MACHINES.get(state, NONE)


def exam_sign(state: str) -> Sign:
    """Return the sign of how far a candidate's work is."""
    return EXAMS.get(state, NONE)
