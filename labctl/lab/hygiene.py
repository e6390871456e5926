"""Asks the Windows machines of a lab for what would spoil every clone: equal identifiers, restarts, ended licences."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labctl.checks.lines import printable
from labctl.errors import LabctlError
from labctl.lab.evaluation import FEWEST_DAYS
from labctl.lab.workplace import Workplace
from labctl.language import _, ngettext
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import PlannedNode
from labctl.render.windows.personalisation import POWERSHELL, hygiene_script
from labctl.topology.hardware import System

DEADLINE = 300.0  # seconds; the licence service starts for the first question
GOOD_LICENCES = frozenset({1, 2, 3})  # SoftwareLicensingProduct: licensed, and the two first times of grace


@dataclass(frozen=True)
class State:
    """What one Windows tells. `evaluation_days` is -1 where it is no evaluation, `licence` Microsoft's number."""

    sid: str
    pending_reboot: bool
    licence: int
    evaluation_days: int


def check_hygiene(place: Workplace, nodes: Iterable[PlannedNode], monitor: Monitor) -> None:
    """Raise LabctlError telling each machine that is not fit to be frozen, and why; tell which is not activated."""
    states = {node.member: ask(place, node) for node in nodes if node.system is System.WINDOWS}
    for name, state in states.items():
        if is_not_activated(state):
            text = _("Windows on {node} is not activated: it works, and reminds of it on its screen")
            monitor.tell(Event(name, "freeze", Progress.RUNNING, text.format(node=name)))
    problems = tuple(judge(states))
    if problems:
        raise LabctlError("; ".join(problems))


def ask(place: Workplace, node: PlannedNode) -> State:
    """Return what a running Windows tells of itself, through its guest agent."""
    ended = place.freezer.guest_exec(node.name, node.tag.seat_name, POWERSHELL, hygiene_script(), deadline=DEADLINE)
    text = ended.stdout.decode("utf-8", "replace").strip()
    try:
        told = json.loads(text)
        return State(
            printable(str(told["sid"])),
            bool(told["pending_reboot"]),
            int(told["licence"]),
            int(told["evaluation_days"]),
        )
    except (ValueError, KeyError, TypeError) as exc:
        said = _("{node} does not tell whether it can be frozen: {said}")
        raise LabctlError(said.format(node=node.member, said=printable(text[-200:]) or f"code {ended.code}")) from exc


def judge(states: Mapping[str, State]) -> Iterable[str]:
    """Yield what is wrong with the machines of one lab, in sentences."""
    by_sid: dict[str, list[str]] = {}
    for name, state in states.items():
        by_sid.setdefault(state.sid, []).append(name)
    for sid, names in by_sid.items():
        if len(names) > 1:
            text = _("{names} have the same security identifier {sid}: their image was not generalised")
            yield text.format(names=", ".join(names), sid=sid)
    for name, state in states.items():
        if not state.sid:
            yield _("{node} has no security identifier").format(node=name)
        if state.pending_reboot:
            yield _("{node} waits for a restart").format(node=name)
        if 0 <= state.evaluation_days < FEWEST_DAYS:
            days = state.evaluation_days
            text = ngettext(
                "the evaluation of Windows on {node} ends in {days} day",
                "the evaluation of Windows on {node} ends in {days} days", days,
            )  # fmt: skip
            yield text.format(node=name, days=days)


def is_not_activated(state: State) -> bool:
    """Return whether a Windows reminds people of its activation; of an evaluation, the days that are left count.

    A Windows 11 that never saw the Internet does so from its first start on.
    """
    return state.evaluation_days < 0 and state.licence not in GOOD_LICENCES
