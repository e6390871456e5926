"""The checkpoints of a lab: its machines frozen as they were at one moment, found, removed, mended after a crash.

A checkpoint lies in the lab's own folder and holds copies: none depends on another, and each may go alone.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.hypervisor.saved_state import is_complete
from labctl.images.overlay import chain
from labctl.lab.frozen import Frozen, flush, read_facts, read_frozen
from labctl.lab.standstill import everywhere
from labctl.lab.thaw import Mould
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import PlannedNode
from labctl.plan.observed import DomainState, SeenDomain

FOLDER = "checkpoints"  # of a lab's checkpoints, inside its own
NAME = re.compile("[a-z0-9][a-z0-9-]{0,30}")
UNFINISHED, REPLACED = ".new", ".old"  # ends of folder names that no checkpoint can have
RESTORES = 4  # memories loaded side by side
ATTEMPTS = 2  # to load a memory that was saved a moment ago: without it, the machine would boot and lose its processes


@dataclass(frozen=True)
class Checkpoint(Frozen):
    """A kept step of a lab. `id` is its name, `built` when it was kept (UTC, ISO 8601), `by` who asked for it."""

    lab: str = ""
    by: str = ""

    def facts(self) -> dict[str, JsonValue]:
        """Return what the manifest says beside the files."""
        return {**super().facts(), "lab": self.lab, "by": self.by}

    def changed(self, path: Path) -> LabctlError:
        """Return the error for a file that is not what was kept."""
        text = _('the checkpoint "{name}" cannot be used: "{path}" is missing or was changed')
        return LabctlError(text.format(name=self.id, path=path), hint=f"labctl checkpoint list {self.lab}")

    def check(self) -> None:
        """Compare its files, and those that its disks stand on. Raises LabctlError naming the first other one."""
        super().check()
        below = {base for disk in self.all_disks for base in chain(disk)[1:]}
        for base in sorted(below):
            if not base.exists():
                raise self.changed(base)
        for folder in {base.parent.parent for base in below}:
            if golden := read_frozen(folder):
                golden.check()


def checkpoints_of(place: Workplace, lab: str) -> tuple[Checkpoint, ...]:
    """Return the checkpoints of a lab, the oldest first; they go with the lab."""
    found = (read_checkpoint(path) for path in checkpoint_top(place, lab).glob("*") if NAME.fullmatch(path.name))
    return tuple(sorted((one for one in found if one), key=lambda one: (one.built, one.id)))


def checkpoint_top(place: Workplace, lab: str) -> Path:
    """Return the folder that a lab's checkpoints are in."""
    return place.folders(lab).top / FOLDER


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a folder, None where there is none or its manifest cannot be read."""
    data = read_facts(folder) or {}
    try:
        words = [str(data[key]) for key in ("topology", "built", "lab", "by")]
    except KeyError:
        return None
    topology, built, lab, by = words
    return Checkpoint(folder.name, topology, folder, built, lab=lab, by=by)


def find_checkpoint(place: Workplace, lab: str, name: str) -> Checkpoint:
    """Return a checkpoint by its name. Raises LabctlError naming those that there are."""
    place.load_lab(lab)  # raises for an unknown lab
    known = {one.id: one for one in checkpoints_of(place, lab)}
    if name not in known:
        text = _('the lab "{lab}" has no checkpoint "{name}"; it has: {names}')
        names = ", ".join(known) or _("none")
        raise LabctlError(text.format(lab=lab, name=name, names=names), hint=f"labctl checkpoint list {lab}")
    return known[name]


def draft_checkpoint(place: Workplace, lab: str, name: str) -> Checkpoint:
    """Return a checkpoint that is about to be made. Raises Refused for a name that would lead out of its folder."""
    if not NAME.fullmatch(name):
        raise Refused(_("a checkpoint is named with 1 to 31 small letters, digits and dashes"))
    topology = place.load_lab(lab)
    return Checkpoint(name, topology.name, checkpoint_top(place, lab) / f"{name}{UNFINISHED}", lab=lab)


def publish(draft: Checkpoint) -> Checkpoint:
    """Give a whole checkpoint its name; the one that had the name before goes. A crash in between is mended later."""
    top = draft.folder.parent
    final, old = top / draft.id, top / f"{draft.id}{REPLACED}"
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    draft.folder.rename(final)
    flush(top)
    shutil.rmtree(old, ignore_errors=True)
    return replace(draft, folder=final)


def discard(checkpoint: Checkpoint) -> None:
    """Delete a checkpoint; from the first moment on it is none, whatever stops the rest."""
    checkpoint.manifest.unlink(missing_ok=True)
    shutil.rmtree(checkpoint.folder)


def recover(place: Workplace, lab: str, accelerator: Callable[[Path], str], monitor: Monitor) -> None:
    """Mend what a crash left of a save: its machines run on where they were stopped, and its leftovers go.

    The lab's lock is held. `accelerator` names that of a disk image, "kvm" or "tcg".
    """
    top = checkpoint_top(place, lab)
    for folder in sorted(top.glob(f"*{UNFINISHED}")):
        draft = Checkpoint(folder.name.removesuffix(UNFINISHED), "", folder, lab=lab)
        if draft.manifest.exists():
            publish(draft)
        else:
            for error in run_on(place, draft, accelerator, monitor).values():
                raise error
            shutil.rmtree(folder)
    for folder in top.glob(f"*{REPLACED}"):
        shutil.rmtree(folder)


def run_on(
    place: Workplace, draft: Checkpoint, accelerator: Callable[[Path], str], monitor: Monitor
) -> dict[str, LabctlError]:
    """Let the machines of an interrupted save run on; return why some could not."""
    layout = place.layout(draft.lab, place.load_lab(draft.lab))
    seen = own_domains(place, draft.lab)
    nodes = []
    for node in layout.nodes:
        state = draft.state(node.member)
        for path in state.parent.glob(f".{state.name}.*.tmp"):  # libvirt may have ended what nobody waited for
            if is_complete(path):
                path.rename(state)
        found = seen.get(node.name)
        if found and found.tag and (found.state is DomainState.PAUSED or state.exists()):
            nodes.append(replace(node, tag=found.tag))
    if not nodes:
        return {}
    base = chain(layout.folders.disk(nodes[0].member))[-1]
    networks = {network.member: network for network in layout.networks}
    return put_back(Mould(place, draft, networks, layout.folders, accelerator(base), place.delivery()), nodes, monitor)


def own_domains(place: Workplace, lab: str) -> dict[str, SeenDomain]:
    """Return the machines of a lab by libvirt's name."""
    seat = place.seat_of(lab)
    return {seen.name: seen for seen in place.see().domains if seen.tag and seen.tag.seat_name == seat}


def put_back(mould: Mould, nodes: Sequence[PlannedNode], monitor: Monitor) -> dict[str, LabctlError]:
    """Let machines that a save paused or switched off run on, all together; return why some could not.

    Where its memory was saved and its disks are still of that moment, a machine goes on as if nothing had
    been; else it boots from its disks, which are whole.
    """
    seen = own_domains(mould.place, nodes[0].tag.lab)
    known = [node for node in nodes if node.name in seen]
    off = [node for node in known if seen[node.name].state is DomainState.STOPPED]
    everywhere(off, lambda node: load_again(mould, node, monitor), RESTORES)
    return start_all(mould.place, known, monitor)


def load_again(mould: Mould, node: PlannedNode, monitor: Monitor) -> None:
    """Load the memory of a machine that a save switched off; where that cannot be, it is left to boot."""
    if not is_of_one_moment(mould.golden.state(node.member), mould.folders.disks(node)):
        return
    for _attempt in range(ATTEMPTS):
        try:
            if not mould.wake(node):
                detail = _("its memory does not fit this host: cold boot")
                monitor.tell(Event(node.member, "resume", Progress.RUNNING, detail))
        except LabctlError as exc:
            monitor.tell(Event(node.member, "resume", Progress.RUNNING, exc.message))
        else:
            return


def start_all(place: Workplace, nodes: Sequence[PlannedNode], monitor: Monitor) -> dict[str, LabctlError]:
    """Let machines run on, or boot, all together; return why some could not."""
    failures: dict[str, LabctlError] = {}

    def start(node: PlannedNode) -> None:
        try:
            place.machines.start_domain(node.name, node.tag.seat_name)
        except LabctlError as exc:
            failures[node.member] = exc
            monitor.tell(Event(node.member, "resume", Progress.FAILED, exc.message))
        else:
            monitor.tell(Event(node.member, "resume", Progress.DONE))

    everywhere(nodes, start, len(nodes))
    return failures


def is_of_one_moment(state: Path, disks: Sequence[Path]) -> bool:
    """Return whether nothing was written to a machine's disks since its memory was saved.

    A memory on a disk that went on without it would ruin the disk.
    """
    if not state.exists():
        return False
    saved = state.stat().st_mtime_ns
    return all(disk.exists() and disk.stat().st_mtime_ns <= saved for disk in disks)
