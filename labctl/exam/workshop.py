"""The labs of a session made on this host: the golden lab, then a clone for each candidate with their own values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.classroom.labs import bring_up_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.errors import Interrupted, Refused
from labctl.exam.doors import Built
from labctl.exam.papers import Source, draw_values
from labctl.exam.session import Session
from labctl.golden import find_golden
from labctl.lab.down import take_down
from labctl.lab.frozen import taken
from labctl.lab.keeping import ROOM_KEPT, free_bytes
from labctl.lab.own_values import Owned
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Monitor

WORK = 64 << 20  # bytes that an hour of work adds to a disk of a machine, about; students of the trials wrote less


@dataclass(frozen=True)
class HostWorkshop:
    """Makes the labs of one session; `spares` is how many ready labs are kept beside those of the candidates."""

    place: Workplace
    session: Session
    source: Source
    spares: int
    pace: Callable[[Path], Pace]
    monitor: Monitor
    stop: Stop
    room: Callable[[Path], int] = free_bytes
    drawn: dict[str, Owned] = field(default_factory=dict)

    def exists(self, lab: str) -> bool:
        """Return whether there is a lab of this name."""
        return lab in self.place.known_labs()

    def refuse_no_room(self, labs: Sequence[str]) -> None:
        """Raise Refused where the disk cannot carry a frozen copy of each lab: memory, and what was written."""
        topology = self.source.paper.topology
        golden = find_golden(self.place, self.source.scenario.resolve(self.place.catalogue))
        states = [golden.state(node) for node in golden.nodes] if golden else []
        memory = sum(taken(state) for state in states if state.exists())
        memory = memory or sum(node.memory << 20 for node in topology.nodes.values()) // 2
        layout = self.place.layout(f"{topology.name}-golden", topology)
        need = len(labs) * (memory + sum(len(node.disk_files) for node in layout.nodes) * WORK)
        free = self.room(self.place.home)
        if labs and need + ROOM_KEPT > free:
            text = _('the frozen work of {count} candidates takes about {need} MiB; "{path}" has {free} MiB left')
            numbers = {"count": len(labs), "need": need >> 20, "free": free >> 20}
            raise Refused(text.format(path=self.place.home, **numbers), hint=f"df -h {self.place.home}")

    def build(self, owners: Sequence[str]) -> Mapping[str, Built]:
        """Bring up the labs of owners side by side."""
        results = bring_up_labs(self.place, self.wish(owners, spares=self.spares), self.pace, self.monitor, self.stop)
        for result in results:
            if isinstance(result.error, Interrupted):
                raise result.error
        return {result.owner: as_built(result) for result in results}

    def mend(self, owner: str) -> Built:
        """Make all machines of a lab anew."""
        nodes = tuple(self.source.paper.topology.nodes)
        return self.bring_one(owner, self.wish([owner], reset=nodes))

    def exchange(self, owner: str) -> Built:
        """Remove a lab, and bring it up again: a spare becomes it where there is one."""
        take_down(self.place, f"{self.source.paper.topology.name}-{owner}", self.monitor)
        return self.bring_one(owner, self.wish([owner], spares=0))

    def bring_one(self, owner: str, wish: ClassWish) -> Built:
        """Bring up one lab."""
        results = bring_up_labs(self.place, wish, self.pace, self.monitor, self.stop)
        return next((as_built(result) for result in results if result.owner == owner), Built(ready=False))

    def wish(self, owners: Sequence[str], *, reset: tuple[str, ...] = (), spares: int | None = None) -> ClassWish:
        """Return what is wished for some owners, with their values; all candidates draw together."""
        everybody = [one.owner for one in self.session.read().candidates.values()]
        if not self.drawn:
            self.drawn.update(draw_values(self.place, self.source, self.session, everybody))
        base = self.source.scenario.resolve(self.place.catalogue)
        own = {owner: self.drawn[owner] for owner in owners if owner in self.drawn}
        path = self.session.papers / self.source.paper.exam.topology
        return ClassWish(base, path, tuple(owners), replace=True, reset=reset, spares=spares, own=own)


def as_built(result: LabResult) -> Built:
    """Return what became of a lab in the words of an exam."""
    if result.error is not None:
        return Built(ready=False, reason=result.error.message)
    progress = result.progress
    if progress is None:
        return Built(ready=False)
    failures = "; ".join(f"{node}: {error.message}" for node, error in progress.failures.items())
    return Built(ready=result.ready, reason=failures, spare=progress.spare)
