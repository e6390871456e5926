"""Brings up the labs of many owners: one golden lab, then clones under a bounded number of workers and of memory."""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labctl.classroom.admission import Admission
from labctl.classroom.capacity import lab_memory
from labctl.classroom.wish import ClassWish, ForOwner, LabResult
from labctl.errors import LabctlError
from labctl.golden import ensure_golden, find_by_id, golden_folder, golden_id, golden_parts, lab_golden
from labctl.lab.frozen import Frozen
from labctl.lab.up import bring_up
from labctl.lab.wish import Pace, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.monitor import Monitor
from labctl.plan.model import ActionKind, Plan
from labctl.topology.model import Topology


def plan_labs(place: Workplace, topology: Topology, owners: Sequence[str]) -> list[Plan]:
    """Return the plan of each owner's lab, cloned from the golden lab that the topology has or will have."""
    golden = golden_id(topology, golden_parts(place, topology))
    return [place.plan(topology, owner, golden) for owner in owners]


def bring_up_labs(
    place: Workplace, wish: ClassWish, pace: Callable[[Path], Pace], monitor: Monitor, stop: Stop
) -> list[LabResult]:
    """Bring up the labs of all owners; one that fails holds back no other. Build the golden lab if one is needed."""
    plans = {plan.owner: plan for plan in plan_labs(place, wish.topology, wish.owners)}
    sources = {owner: golden_source(place, plan, wish.reset) for owner, plan in plans.items()}
    current = next(iter(plans.values())).golden
    fresh = None
    if current in sources.values():
        fresh = ensure_golden(place, (wish.topology, wish.source), pace, monitor, stop)
    admission = Admission(lab_memory(fresh) if fresh else 0)
    several = len(wish.owners) > 1

    def bring(owner: str) -> LabResult:
        own = ForOwner(owner, monitor) if several else monitor
        try:
            with admission.admit(owner):
                golden = find_golden_for(place, plans[owner], sources[owner], fresh)
                one = Wish(wish.topology, wish.source, owner, golden, wish.replace, wish.reset)
                plan, progress = bring_up(place, one, pace, own, stop)
        except LabctlError as exc:
            return LabResult(owner, error=exc)
        return LabResult(owner, plan, progress)

    with ThreadPoolExecutor(max_workers=2 + (os.cpu_count() or 1)) as workers:
        return [done.result() for done in [workers.submit(bring, owner) for owner in wish.owners]]


def golden_source(place: Workplace, plan: Plan, reset: Collection[str]) -> str:
    """Return the id of the golden lab that is needed to bring a lab up, empty where nothing is cloned."""
    anew = {action.target for action in plan.actions_of(ActionKind.CLONE_MACHINE)} | set(reset)
    return lab_golden(place, plan, anew) if anew else ""


def find_golden_for(place: Workplace, plan: Plan, source: str, fresh: Frozen | None) -> Frozen:
    """Return the golden lab of one owner's lab; one that nothing is cloned from need not exist."""
    if fresh is not None and source == fresh.id:
        return fresh
    if source:
        return find_by_id(place, source, plan.lab)
    return Frozen(plan.golden, plan.topology, golden_folder(place) / plan.golden)
