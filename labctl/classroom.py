"""Brings up the labs of many owners: one golden lab, then clones under a bounded number of workers and of memory."""

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from labctl.errors import LabctlError, Refused
from labctl.golden import ensure_golden, find_by_id, find_golden, golden_folder, golden_id, golden_parts, lab_golden
from labctl.lab.frozen import Frozen
from labctl.lab.up import Pace, Progressed, Stop, Wish, bring_up
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor
from labctl.plan.model import ActionKind, Plan
from labctl.topology.model import Topology

RESERVE = 1 << 30  # bytes of memory that stay the host's
ADMISSION_PATIENCE = 120.0  # seconds; KSM gives memory back while it catches up


@dataclass(frozen=True)
class ClassWish:
    """What a person asked for: a topology, where it came from, for whom, and what may be lost or made anew."""

    topology: Topology
    source: Path
    owners: tuple[str, ...]
    replace: bool = False
    reset: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabResult:
    """What became of one owner's lab; `error` where it could not even be tried."""

    owner: str
    plan: Plan | None = None
    progress: Progressed | None = None
    error: LabctlError | None = None

    @property
    def ready(self) -> bool:
        """Return whether every node of the lab passed the gate."""
        return self.progress is not None and not self.progress.failures


@dataclass(frozen=True)
class ForOwner:
    """A monitor that puts the owner before each subject, where several labs are under way."""

    owner: str
    monitor: Monitor

    def tell(self, event: Event) -> None:
        """Pass the event on."""
        self.monitor.tell(replace(event, subject=f"{self.owner}/{event.subject}"))


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


def lab_memory(golden: Frozen) -> int:
    """Return the bytes of memory that one lab takes at first: what its nodes had saved, and QEMU's own."""
    states = list(golden.state("x").parent.glob("*.save"))
    return sum(path.stat().st_size for path in states) + len(states) * QEMU_BYTES


QEMU_BYTES = 100 << 20  # a restored machine's process beyond its guest's memory, measured on QEMU 7.2 under TCG


class Admission:
    """Lets a lab begin only while the memory that it will take is there, counting those that have just begun."""

    def __init__(self, need: int) -> None:
        self.need = need
        self.begun = 0
        self.lock = threading.Lock()

    def admit(self, owner: str) -> "Admission":
        """Wait for room. Raises Refused with the numbers where there is none in time."""
        until = time.monotonic() + ADMISSION_PATIENCE
        while True:
            with self.lock:
                free = psutil.virtual_memory().available - RESERVE - self.begun * self.need
                if free >= self.need or self.need == 0:
                    self.begun += 1
                    return self
            if time.monotonic() > until:
                text = _("{owner}: not enough memory: the lab takes {need} MiB, {free} MiB are free")
                raise Refused(
                    text.format(owner=owner, need=self.need >> 20, free=max(0, free) >> 20), hint="labctl status"
                )
            time.sleep(1)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.begun -= 1


def forecast(place: Workplace, topology: Topology, wanted: int) -> tuple[int, int] | None:
    """Return how many of the wanted labs fit, and the bytes that each takes; None before the golden lab exists."""
    golden = find_golden(place, topology)
    if golden is None:
        return None
    need = lab_memory(golden)
    room = psutil.virtual_memory().available - RESERVE
    return min(wanted, max(0, room // need)), need
