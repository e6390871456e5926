"""Brings up the labs of many owners: one golden lab, then clones, as many at a time as the host carries."""

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labctl.classroom.admission import Admission
from labctl.classroom.capacity import forecast, lab_memory
from labctl.classroom.wish import LAB_STEP, ClassWish, ForOwner, LabResult
from labctl.crew import Crew
from labctl.errors import ExitCode, Interrupted, LabctlError, Refused
from labctl.golden import ensure_golden, find_by_id, golden_folder, golden_id, golden_parts, lab_golden
from labctl.lab.down import take_down
from labctl.lab.estimate import class_work
from labctl.lab.frozen import Frozen
from labctl.lab.own_values import Owned
from labctl.lab.queue import wait_turn
from labctl.lab.standby import find_spares, is_stale, keep_spares, kept_spares, spare_owners
from labctl.lab.up import bring_up
from labctl.lab.wish import Pace, Progressed, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import ActionKind, Plan
from labctl.topology.model import Topology

LABS_PER_CPU = 2  # at most, however idle the processors seem: emulated guests that lack time miss their deadlines


def plan_labs(
    place: Workplace, topology: Topology, owners: Sequence[str], own: Mapping[str, Owned] | None = None
) -> list[Plan]:
    """Return the plan of each owner's lab, cloned from the golden lab that the topology has or will have.

    `own` has the topologies of those owners that have values of their own.
    Raises Refused where something that is not ours has a name of one of the labs.
    """
    plans, refused = plan_each(place, topology, owners, own or {})
    for error in refused.values():
        raise error
    return plans


def plan_each(
    place: Workplace, topology: Topology, owners: Sequence[str], own: Mapping[str, Owned]
) -> tuple[list[Plan], dict[str, Refused]]:
    """Return the plans of the owners' labs as `plan_labs` does, and why some owners have none."""
    golden = golden_id(topology, golden_parts(place, topology))
    observed = place.see()
    plans, refused = [], {}
    for owner in owners:
        try:
            having = own[owner].topology if owner in own else topology
            plans.append(place.plan(having, owner, golden, seen=observed, base=topology))
        except Refused as exc:
            refused[owner] = exc
    return plans, refused


def bring_up_labs(
    place: Workplace, wish: ClassWish, pace: Callable[[Path], Pace], monitor: Monitor, stop: Stop
) -> list[LabResult]:
    """Bring up the labs of all owners; one that fails holds back no other. Build the golden lab if one is needed.

    Raises Refused, before the first one begins, where not all of them fit on this host.
    """
    plans, refused = plan_each(place, wish.topology, wish.owners, wish.own)
    failed = [LabResult(owner, error=error) for owner, error in refused.items()]
    if wish.only_unfinished:
        plans = [plan for plan in plans if plan.actions]
    if len(wish.owners) != 1:
        for owner in refused:
            monitor.tell(Event(owner, LAB_STEP, Progress.FAILED))
    asked = count_new(place, wish.topology, plans, wish.spares)
    results = bring_up_owners(place, wish, plans, asked, (pace, monitor, stop)) if plans else []
    results = sorted([*failed, *results], key=lambda result: wish.owners.index(result.owner))
    if wish.reset or any(isinstance(result.error, Interrupted) for result in results):
        return results
    return [*results, *bring_up_spares(place, wish, pace, monitor, stop)]


def bring_up_owners(
    place: Workplace,
    wish: ClassWish,
    plans: Sequence[Plan],
    asked: int,
    means: tuple[Callable[[Path], Pace], Monitor, Stop],
) -> list[LabResult]:
    """Bring up planned labs side by side. Raises Refused where the `asked` new ones, spares too, do not fit."""
    pace, monitor, stop = means
    sources = {plan.owner: golden_source(place, plan, wish.reset) for plan in plans}
    fresh = None
    if plans[0].golden in sources.values():
        fresh = ensure_golden(place, (wish.topology, wish.source), pace, monitor, stop)
        refuse_overflow(place, wish.topology, asked)
    need = lab_memory(fresh) if fresh and any(map(is_new, plans)) else 0  # a reset gives back what it takes
    admission = Admission(need, least=processors())
    run = ClassRun(place, wish, fresh, sources, admission, pace, monitor, stop, several=len(wish.owners) != 1)
    start = time.monotonic()
    results = run.bring_all(plans)
    taken = any(result.progress and result.progress.spare for result in results)
    if len(plans) > 1 and all(result.ready for result in results) and all(map(is_new, plans)) and not taken:
        place.store.add_timing(class_work(wish.topology.name), (time.monotonic() - start) / len(plans))
    return results


def bring_up_spares(
    place: Workplace, wish: ClassWish, pace: Callable[[Path], Pace], monitor: Monitor, stop: Stop
) -> list[LabResult]:
    """Bring the spares of a topology to the number that is wished for, else to that of the last wish.

    Those that come from an older golden lab are made anew, those that are too many go. Spares that only an earlier
    wish asks for are made as far as they fit; raises Refused where those of this wish do not.
    """
    topology = wish.topology
    count = kept_spares(place, topology.name) if wish.spares is None else wish.spares
    if wish.spares is not None:
        keep_spares(place, topology.name, count)
    owners, surplus = spare_owners(place, topology.name, count, place.see())
    for lab in surplus:
        take_down(place, lab, monitor)
    if not owners:
        return []
    golden = ensure_golden(place, (topology, wish.source), pace, monitor, stop)
    seen = place.see()
    plans, refused = plan_each(place, topology, owners, {})
    new = [plan for plan in plans if is_new(plan)]
    if (found := forecast(place, topology, len(new))) and found.fits < len(new):
        if wish.spares is not None:
            raise Refused(found.explain(), hint=found.hint)
        plans = [plan for plan in plans if plan not in new[found.fits :]]
    stale = [plan for plan in plans if is_stale(plan, seen)]
    results = [LabResult(owner, error=error) for owner, error in refused.items()]
    for group, nodes in (([plan for plan in plans if plan not in stale], ()), (stale, tuple(topology.nodes))):
        labs = replace(wish, owners=tuple(plan.owner for plan in group), replace=True, reset=nodes, own={})
        admission = Admission(lab_memory(golden), least=processors())
        sources = dict.fromkeys(labs.owners, golden.id)
        run = ClassRun(place, labs, golden, sources, admission, pace, monitor, stop, several=True)
        results += run.bring_all(group)
    return results


def processors() -> int:
    """Return how many processors this host has."""
    return os.cpu_count() or 1


def count_new(place: Workplace, topology: Topology, plans: Sequence[Plan], spares: int | None) -> int:
    """Return how many labs are to be made: new ones that no spare becomes, and the spares that are asked for."""
    new = sum(map(is_new, plans))
    ready = find_spares(place, topology.name)
    free = max(0, new - len(ready))
    return free + max(0, (spares or 0) - max(0, len(ready) - new))


@dataclass(frozen=True)
class ClassRun:
    """One run over many labs. `fresh` is the golden lab as it is now, `sources` the id that each owner's lab needs."""

    place: Workplace
    wish: ClassWish
    fresh: Frozen | None
    sources: Mapping[str, str]
    admission: Admission
    pace: Callable[[Path], Pace]
    monitor: Monitor
    stop: Stop
    several: bool

    def bring_all(self, plans: Sequence[Plan]) -> list[LabResult]:
        """Bring up the labs side by side, as many at a time as admission lets in, and return them in order."""
        with Crew(max_workers=LABS_PER_CPU * processors()) as workers:
            return [done.result() for done in [workers.submit(self.bring, plan) for plan in plans]]

    def bring(self, plan: Plan) -> LabResult:
        """Bring up one owner's lab; an error is its result."""
        owner = plan.owner
        own = ForOwner(owner, self.monitor) if self.several else self.monitor
        try:
            with self.admission.admit(owner, self.stop):
                self.tell(owner, Progress.STARTED)
                result = self.reset(plan, own) if self.wish.reset else self.bring_lab(plan, own)
        except Interrupted as exc:
            result, reached = LabResult(owner, error=exc), Progress.SKIPPED
        except LabctlError as exc:
            result, reached = LabResult(owner, error=exc), Progress.FAILED
        else:
            reached = Progress.DONE if result.ready else Progress.FAILED
        self.tell(owner, reached)
        return result

    def reset(self, plan: Plan, monitor: Monitor) -> LabResult:
        """Make nodes anew when their turn has come; where the same was asked for already, share its result."""
        with wait_turn(self.place, plan.lab, self.wish.reset, monitor, self.stop) as turn:
            if turn.mine:
                result = self.bring_lab(plan, monitor)
                turn.code = ExitCode.DONE if result.ready else ExitCode.PARTLY
                return result
        if turn.code == ExitCode.DONE:
            return LabResult(plan.owner, plan, Progressed(changed=True))
        text = _("the same reset, asked for by somebody else, did not end well")
        return LabResult(plan.owner, error=LabctlError(text, hint=f"labctl status {plan.lab}"))

    def bring_lab(self, plan: Plan, monitor: Monitor) -> LabResult:
        """Bring up one owner's lab now."""
        golden = self.find_golden(plan)
        wish = Wish(self.wish.topology, self.wish.source, plan.owner, golden, self.wish.replace, self.wish.reset)
        if owned := self.wish.own.get(plan.owner):
            wish = replace(wish, topology=owned.topology, own=owned.own, base=self.wish.topology)
        return LabResult(plan.owner, *bring_up(self.place, wish, self.pace, monitor, self.stop))

    def find_golden(self, plan: Plan) -> Frozen:
        """Return the golden lab of one owner's lab; one that nothing is cloned from need not exist."""
        source = self.sources[plan.owner]
        if self.fresh is not None and source == self.fresh.id:
            return self.fresh
        if source:
            return find_by_id(self.place, source, plan.lab)
        return Frozen(plan.golden, plan.topology, golden_folder(self.place) / plan.golden)

    def tell(self, owner: str, progress: Progress) -> None:
        """Tell where a lab stands as a whole, where there are several."""
        if self.several:
            self.monitor.tell(Event(owner, LAB_STEP, progress))


def refuse_overflow(place: Workplace, topology: Topology, wanted: int) -> None:
    """Raise Refused where so many new labs do not fit."""
    found = forecast(place, topology, wanted)
    if found and found.fits < wanted:
        raise Refused(found.explain(), hint=found.hint)


def is_new(plan: Plan) -> bool:
    """Return whether a lab takes memory that it does not have yet: all its machines are to be cloned."""
    return len(plan.actions_of(ActionKind.CLONE_MACHINE)) == len(plan.nodes)


def golden_source(place: Workplace, plan: Plan, reset: Collection[str]) -> str:
    """Return the id of the golden lab that is needed to bring a lab up, empty where nothing is cloned."""
    anew = {action.target for action in plan.actions_of(ActionKind.CLONE_MACHINE)} | set(reset)
    return lab_golden(place, plan, anew) if anew else ""
