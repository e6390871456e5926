"""Keeps a step of a lab: all its machines at one moment, memory and disks, while they stand still for seconds."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path

import psutil

from labctl.errors import LabctlError, Refused
from labctl.images.copying import copy_disk
from labctl.images.overlay import chain
from labctl.lab.appliance import has_agent
from labctl.lab.board import keep_board
from labctl.lab.checkpoint import (
    Checkpoint,
    checkpoints_of,
    discard,
    draft_checkpoint,
    find_checkpoint,
    own_domains,
    publish,
    put_back,
    recover,
)
from labctl.lab.frozen import Frozen, seal, taken
from labctl.lab.lock import hold_lab, who
from labctl.lab.standstill import SAVES, everywhere, quiesce, set_clock, suspend_together
from labctl.lab.thaw import Mould
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.observed import DomainState
from labctl.store import now

ROOM_KEPT = 256 << 20  # bytes of disk that stay for the machines that run
CLOCK_DEADLINE = 30.0  # seconds


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on the file system of a folder."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Keeper:
    """Works on the checkpoints of one lab. `copy` copies a disk; `room` gives the free bytes of a folder's disk."""

    place: Workplace
    lab: str
    pace: Callable[[Path], Pace]
    monitor: Monitor
    stop: Stop
    copy: Callable[[Path, Path], None] = copy_disk
    room: Callable[[Path], int] = free_bytes

    def layout(self) -> Plan:
        """Return what the lab is made of."""
        return self.place.layout(self.lab, self.place.load_lab(self.lab))

    def recover(self) -> None:
        """Mend what a crash left of an earlier save."""
        recover(self.place, self.lab, lambda disk: self.pace(disk).accelerator, self.monitor)

    def pace_of(self, disk: Path) -> Pace:
        """Return how fast guests run on a disk, by the image at its bottom: that one nobody writes to."""
        return self.pace(chain(disk)[-1])

    def mould(self, frozen: Frozen, layout: Plan, disk: Path) -> Mould:
        """Return what the lab's machines are made from again."""
        networks = {network.member: network for network in layout.networks}
        accelerator = self.pace_of(disk).accelerator
        return Mould(self.place, frozen, networks, layout.folders, accelerator, self.place.delivery())

    def refuse_full(self, need: int, what: str) -> None:
        """Raise Refused with the numbers where a disk would be full."""
        free = self.room(self.place.home)
        if need + ROOM_KEPT > free:
            text = _('{what} takes about {need} MiB, and {kept} MiB must stay free; "{path}" has {free} MiB left')
            numbers = {"need": need >> 20, "kept": ROOM_KEPT >> 20, "free": free >> 20}
            raise Refused(
                text.format(what=what, path=self.place.home, **numbers), hint=f"labctl checkpoint list {self.lab}"
            )

    @contextmanager
    def told(self, what: str, name: str) -> Iterator[None]:
        """Write an act into the lab's history, with who asked for it and how it ended; only a crash leaves it open."""
        failure: LabctlError | None = None
        self.place.store.add_event(self.lab, who(), what, name)
        with self.place.store.intent(self.lab, what, name):
            try:
                yield
            except LabctlError as exc:
                failure = exc
            except OSError as exc:
                text = _('the checkpoint "{name}" cannot be written: {reason}')
                failure = LabctlError(text.format(name=name, reason=exc.strerror), hint=f"df -h {self.place.home}")
        if failure is not None:
            with suppress(LabctlError):  # the failure is what must be told
                self.place.store.add_event(self.lab, who(), f"{what} failed", f"{name}: {failure.message}")
            raise failure
        self.place.store.add_event(self.lab, who(), f"{what} ended", name)


@dataclass(frozen=True)
class Kept:
    """A checkpoint that was made, and for how many seconds the machines stood still."""

    checkpoint: Checkpoint
    still: float


def save_checkpoint(keeper: Keeper, name: str, *, replace: bool = False) -> Kept:
    """Keep all machines of a lab as they are now; they go on running.

    Raises Refused where a machine does not run, the name is taken and not to be replaced, or the disk is
    too full. When it fails in the middle, the machines run on and nothing is kept.
    """
    place, lab = keeper.place, keeper.lab
    draft = with_changes(draft_checkpoint(place, lab, name), built=now(), by=who())
    with hold_lab(place.home, lab, "checkpoint"):
        keeper.recover()
        layout = keeper.layout()
        refuse_taken(place, lab, name, replace=replace)
        nodes = running_nodes(keeper, layout)
        keeper.refuse_full(expected_bytes(layout, nodes), _('the checkpoint "{name}"').format(name=name))
        with keeper.told("checkpoint save", name):
            return keep(keeper, draft, layout, nodes)


def refuse_taken(place: Workplace, lab: str, name: str, *, replace: bool) -> None:
    """Raise Refused where there is a checkpoint of this name that is not to be replaced."""
    if not replace and name in {one.id for one in checkpoints_of(place, lab)}:
        text = _('the lab "{lab}" has a checkpoint "{name}" already')
        raise Refused(text.format(lab=lab, name=name), hint=f"labctl checkpoint save {lab} {name} --replace")


def running_nodes(keeper: Keeper, layout: Plan) -> tuple[PlannedNode, ...]:
    """Return the nodes, each with the tag that its machine has. Raises Refused unless all run and are in use."""
    seen = own_domains(keeper.place, keeper.lab)
    nodes, missing = [], []
    for node in layout.nodes:
        found = seen.get(node.name)
        runs = found is not None and found.state is DomainState.RUNNING
        whole = all(disk.exists() for disk in layout.folders.disks(node))
        if runs and whole and found and found.tag and found.tag.configured:
            nodes.append(with_changes(node, tag=found.tag))
        else:
            missing.append(node.member)
    if missing:
        text = _('only a lab that runs as a whole can be kept; in "{lab}" these machines are not ready: {names}')
        hint = f"labctl up {layout.topology} --student {layout.owner}"
        raise Refused(text.format(lab=keeper.lab, names=", ".join(missing)), hint=hint)
    return tuple(nodes)


def expected_bytes(layout: Plan, nodes: Sequence[PlannedNode]) -> int:
    """Return about how many bytes a checkpoint will take: what each machine uses of its memory, and each overlay."""
    used = used_memory([node.name for node in nodes])
    memory = sum(min(node.memory << 20, used.get(node.name, node.memory << 20)) for node in nodes)
    return memory + sum(taken(disk) for node in nodes for disk in layout.folders.disks(node))


def used_memory(names: Sequence[str]) -> dict[str, int]:
    """Return the bytes of memory that the QEMU processes of these machines hold; none for one that is not found."""
    wanted = {f"guest={name}": name for name in names}
    found = {}
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        for word in (process.info["cmdline"] or ())[:4]:  # -name stands before everything else
            name = wanted.get(word.partition(",")[0])
            if name and process.info["memory_info"]:
                found[name] = process.info["memory_info"].rss
    return found


def keep(keeper: Keeper, draft: Checkpoint, layout: Plan, nodes: Sequence[PlannedNode]) -> Kept:
    """Stop, save, copy, run on, and only then make the checkpoint whole; undo everything where a step fails."""
    keeper.stop.raise_if_asked(keeper.lab)
    mould = keeper.mould(draft, layout, layout.folders.disk(nodes[0].member))
    try:
        draft.folder.parent.mkdir(mode=0o700, exist_ok=True)
        for folder in (draft.folder, draft.state("x").parent, draft.disk("x").parent):
            folder.mkdir(mode=0o700)
        shutil.copyfile(layout.folders.topology, draft.source)
        everywhere(nodes, lambda node: calm(keeper, node), len(nodes))
        start = time.monotonic()
        freeze(keeper, draft, layout, nodes)
        failures = put_back(mould, nodes, keeper.monitor)
        still = time.monotonic() - start
        alive = [node for node in nodes if node.member not in failures]
        everywhere(alive, lambda node: tell_time(keeper, node), len(alive))
        checkpoint = finish(draft, nodes)
    except Exception:
        put_back(mould, nodes, keeper.monitor)
        shutil.rmtree(draft.folder, ignore_errors=True)
        raise
    for member, error in failures.items():
        text = _("the checkpoint is whole, but {node} does not run on: {error}")
        raise LabctlError(
            text.format(node=member, error=error.message), hint=error.hint or f"labctl status {draft.lab}"
        )
    return Kept(checkpoint, still)


def calm(keeper: Keeper, node: PlannedNode) -> None:
    """Bring what a machine wrote to its disk; one whose agent is dead is kept as after a power cut."""
    try:
        quiesce(keeper.place, node)
    except LabctlError as exc:
        keeper.monitor.tell(Event(node.member, "freeze", Progress.RUNNING, exc.message))


def freeze(keeper: Keeper, draft: Checkpoint, layout: Plan, nodes: Sequence[PlannedNode]) -> None:
    """Stop all nodes together, then save each one's memory and copy its disks; they are off afterwards."""
    keeper.stop.raise_if_asked(keeper.lab)
    suspend_together(keeper.place, nodes)

    def save(node: PlannedNode) -> None:
        keeper.monitor.tell(Event(node.member, "freeze", Progress.STARTED))
        state = draft.state(node.member)
        keeper.place.freezer.save_domain(node.name, node.tag.seat_name, state)
        os.utime(state)  # it is off: nothing that was written before is newer than its memory
        for disk, kept in zip(layout.folders.disks(node), draft.disks(node), strict=True):
            keeper.copy(disk, kept)
        keep_board(layout.folders, node, draft, keeper.place.freezer.tpm_storage())
        keeper.monitor.tell(Event(node.member, "freeze", Progress.DONE))

    everywhere(nodes, save, SAVES)


def tell_time(keeper: Keeper, node: PlannedNode) -> None:
    """Set the clock of a machine that stood still; a machine whose agent is dead keeps its own."""
    try:
        if has_agent(node):
            keeper.place.machines.wait_agent(node.name, CLOCK_DEADLINE)  # its channel opens a moment after the machine
        set_clock(keeper.place, node, CLOCK_DEADLINE)
    except LabctlError as exc:
        keeper.monitor.tell(Event(node.member, "resume", Progress.RUNNING, exc.message))


def finish(draft: Checkpoint, nodes: Sequence[PlannedNode]) -> Checkpoint:
    """Seal the files, write the manifest and give the checkpoint its name."""
    paths = [draft.source, *draft.all_disks, *(draft.state(node.member) for node in nodes)]
    boards = (make(node.member) for node in nodes for make in (draft.nvram, draft.tpm))
    paths += [path for path in boards if path.exists()]
    draft.write({str(path.relative_to(draft.folder)): seal(path) for path in paths})
    return publish(draft)


def remove_checkpoint(keeper: Keeper, name: str) -> Checkpoint:
    """Delete a checkpoint and return what it was."""
    with hold_lab(keeper.place.home, keeper.lab, "checkpoint"):
        checkpoint = find_checkpoint(keeper.place, keeper.lab, name)
        keeper.recover()
        with keeper.told("checkpoint rm", name):
            discard(checkpoint)
        return checkpoint
