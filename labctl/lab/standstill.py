"""Brings all running machines of a lab to a stop at one moment, with everything they wrote on their disks."""

from collections.abc import Callable, Iterable, Sequence

from labctl.crew import Crew
from labctl.lab.appliance import has_agent
from labctl.lab.workplace import Workplace
from labctl.plan.model import PlannedNode
from labctl.render.windows.personalisation import FLUSH, POWERSHELL
from labctl.topology.hardware import System

SAVES = 2  # memories written side by side; more only makes the disk seek
SYNC_DEADLINE = 120.0


def quiesce(place: Workplace, node: PlannedNode) -> None:
    """Write a node's dirty pages to its disk: a cold boot from that disk must find everything."""
    if not has_agent(node):
        return
    windows = node.system is System.WINDOWS
    words, script = (POWERSHELL, FLUSH) if windows else (("/bin/sync",), b"")
    place.freezer.guest_exec(node.name, node.tag.seat_name, words, script, deadline=SYNC_DEADLINE)


def suspend_together(place: Workplace, nodes: Sequence[PlannedNode]) -> None:
    """Stop the processors of all nodes at the same time: none of them has yet seen what another one did since."""
    everywhere(nodes, lambda node: place.freezer.suspend_domain(node.name, node.tag.seat_name), len(nodes))


def everywhere(nodes: Iterable[PlannedNode], act: Callable[[PlannedNode], None], workers: int) -> None:
    """Do an act on all nodes side by side; the first error is raised once all have ended."""
    with Crew(max_workers=max(1, workers)) as pool:
        for done in [pool.submit(act, node) for node in nodes]:
            done.result()
