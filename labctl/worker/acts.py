"""The verbs that change labs, done as jobs by the rooms below; each may be done again after a crash."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.classroom.anew import reset_wish
from labctl.classroom.labs import bring_up_labs
from labctl.classroom.wish import LAB_STEP, ClassWish, LabResult
from labctl.errors import LabctlError, PartlyDone
from labctl.lab.checkpoint import checkpoints_of
from labctl.lab.down import take_down
from labctl.lab.examining import Wanted, check_lab
from labctl.lab.keeping import Keeper, remove_checkpoint, save_checkpoint
from labctl.lab.lock import hold_lab, who
from labctl.lab.own_values import assign_values
from labctl.lab.rewind import restore_checkpoint
from labctl.lab.source import load_source
from labctl.lab.standstill import everywhere
from labctl.lab.status import NodeState, read_status
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.language import _, ngettext
from labctl.monitor import Event, Progress
from labctl.plan.model import PlannedNode
from labctl.worker.jobs import Job, Teller

CLOCK_SECONDS = 20.0  # for a woken machine to be told the time
NAMED = 5  # owners or machines in a sentence


@dataclass(frozen=True)
class Acts:
    """Does jobs at one workplace. `pace` tells how fast guests run; `stop` ends what is between two steps."""

    place: Workplace
    pace: Callable[[Path], Pace]
    stop: Stop

    def table(self) -> Mapping[str, Callable[[Job, Teller], None]]:
        """Return what does each verb."""
        return {
            "reset": self.reset, "run_checks": self.run_checks, "checkpoint_save": self.checkpoint_save,
            "checkpoint_restore": self.checkpoint_restore, "checkpoint_remove": self.checkpoint_remove,
            "wake": self.wake, "suspend": self.suspend, "down": self.down, "start": self.start,
        }  # fmt: skip

    def keeper(self, job: Job, teller: Teller) -> Keeper:
        """Return what works on the checkpoints of a job's lab."""
        return Keeper(self.place, job.wish.lab, self.pace, teller, self.stop)

    def reset(self, job: Job, teller: Teller) -> None:
        """Make machines anew; keep the lab first where that is wished for and was not done before a crash."""
        keep = str(job.wish.details.get("keep_checkpoint") or "")
        if keep and not self.is_kept_since(job, keep):
            save_checkpoint(self.keeper(job, teller), keep)
        wish = reset_wish(self.place, [job.wish.lab], words(job, "nodes"))
        raise_failures(bring_up_labs(self.place, wish, self.pace, teller, self.stop))

    def is_kept_since(self, job: Job, name: str) -> bool:
        """Return whether a checkpoint was made for this job."""
        return any(one.id == name and one.built >= job.at for one in checkpoints_of(self.place, job.wish.lab))

    def run_checks(self, job: Job, teller: Teller) -> None:
        """Run all checks of a lab."""
        topology = self.place.load_lab(job.wish.lab)
        check_lab(self.place, Wanted(job.wish.lab, topology, topology.checks, rebooted=False), Counting(teller))

    def checkpoint_save(self, job: Job, teller: Teller) -> None:
        """Keep a lab as it is."""
        name = str(job.wish.details["name"])
        if not self.is_kept_since(job, name):
            save_checkpoint(self.keeper(job, teller), name)

    def checkpoint_restore(self, job: Job, teller: Teller) -> None:
        """Bring a lab back to a checkpoint."""
        restored = restore_checkpoint(self.keeper(job, teller), str(job.wish.details["name"]))
        if troubled := {**restored.silent, **restored.failures}:
            raise partly(troubled)

    def checkpoint_remove(self, job: Job, teller: Teller) -> None:
        """Delete a checkpoint; one that is gone is what was wanted."""
        name = str(job.wish.details["name"])
        if job.attempts == 1 or any(one.id == name for one in checkpoints_of(self.place, job.wish.lab)):
            remove_checkpoint(self.keeper(job, teller), name)

    def suspend(self, job: Job, teller: Teller) -> None:
        """Let the machines of a lab stand still; their memory stays as it is."""
        place, lab = self.place, job.wish.lab
        with hold_lab(place.home, lab, "suspend"):
            nodes = self.nodes_in(lab, {NodeState.READY, NodeState.SILENT, NodeState.UNCONFIGURED})
            place.store.add_event(lab, who(), "suspend", ", ".join(node.member for node in nodes))
            teller.step(_("suspending the machines"))
            everywhere(nodes, lambda node: place.freezer.suspend_domain(node.name, node.tag.seat_name), len(nodes))

    def wake(self, job: Job, teller: Teller) -> None:
        """Let a lab run again: at once where all of its machines stand still, else by bringing it up."""
        place, lab = self.place, job.wish.lab
        layout = place.layout(lab, place.load_lab(lab))
        with hold_lab(place.home, lab, "wake"):
            paused = self.nodes_in(lab, {NodeState.PAUSED})
            teller.step(_("waking the machines"))
            everywhere(paused, lambda node: place.machines.start_domain(node.name, node.tag.seat_name), len(paused))
            everywhere(paused, self.tell_time, len(paused))
            place.store.add_event(lab, who(), "wake", ", ".join(node.member for node in paused))
        if len(paused) < len(layout.nodes):
            raise_failures(bring_up_labs(place, self.wake_wish(lab), self.pace, teller, self.stop))

    def tell_time(self, node: PlannedNode) -> None:
        """Set the clock of a machine that stood still; one whose agent is dead keeps its own."""
        try:
            argv = ["/bin/sh", "-c", 'date -s @"$(cat)"']
            self.place.freezer.guest_exec(node.name, node.tag.seat_name, argv, host_time(), deadline=CLOCK_SECONDS)
        except LabctlError:
            return

    def nodes_in(self, lab: str, states: set[NodeState]) -> list[PlannedNode]:
        """Return the machines of a lab that are in one of these states now."""
        layout = self.place.layout(lab, self.place.load_lab(lab))
        (status,) = read_status(self.place, lambda _lab: False, [lab])
        wanted = {node.name for node in status.nodes if node.state in states}
        return [node for node in layout.nodes if node.member in wanted]

    def wake_wish(self, lab: str) -> ClassWish:
        """Return the wish that a lab be whole again."""
        anew = reset_wish(self.place, [lab])
        return ClassWish(anew.topology, anew.source, anew.owners, own=anew.own)

    def down(self, job: Job, teller: Teller) -> None:
        """Remove a lab; one that is gone is what was wanted."""
        take_down(self.place, job.wish.lab, teller)

    def start(self, job: Job, teller: Teller) -> None:
        """Bring up the labs of the owners of a class."""
        path, template, topology = load_source(str(job.wish.details["topology"]))
        owners = words(job, "owners")
        own = assign_values(self.place, (template, topology), self.place.catalogue, "", owners)
        wish = ClassWish(topology, path, tuple(owners), only_unfinished=len(owners) > 1, own=own)
        monitor = Counting(teller, len(owners)) if len(owners) > 1 else teller
        raise_failures(bring_up_labs(self.place, wish, self.pace, monitor, self.stop))


@dataclass
class Counting:
    """A monitor that turns the ends of many things into a fraction: labs of a class, or the nodes that checks ask."""

    teller: Teller
    total: int = 0
    ended: set[str] = field(default_factory=set)

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        if self.total and event.step == LAB_STEP:
            if event.progress not in {Progress.STARTED, Progress.RUNNING}:
                self.ended.add(event.subject)
            said = _("{ended} of {total} labs").format(ended=len(self.ended), total=self.total)
            self.teller.step(said, len(self.ended) / self.total)
            return
        fraction = None if self.total else event.fraction
        self.teller.tell(Event(event.subject, event.step, event.progress, event.detail, fraction))


def host_time() -> bytes:
    """Return the seconds since 1970 as text."""
    return str(int(time.time())).encode()


def words(job: Job, key: str) -> tuple[str, ...]:
    """Return a list of a job's details."""
    found = job.wish.details.get(key) or ()
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def raise_failures(results: Sequence[LabResult]) -> None:
    """Raise the error of one lab, or one sentence on those of several, that did not come up."""
    if len(results) == 1 and (error := results[0].error):
        raise error
    if len(results) == 1 and (progress := results[0].progress) and progress.failures:
        raise partly(progress.failures)
    failed = [result for result in results if not result.ready]
    if failed:
        text = ngettext("{count} lab is not ready: {names}", "{count} labs are not ready: {names}", len(failed))
        names = shorten([result.owner for result in failed])
        reason = next((result.error.message for result in failed if result.error), "")
        raise PartlyDone(" — ".join(filter(None, [text.format(count=len(failed), names=names), reason])))


def partly(failures: Mapping[str, LabctlError]) -> PartlyDone:
    """Return the error for machines that are not ready."""
    text = ngettext("{count} machine is not ready: {names}", "{count} machines are not ready: {names}", len(failures))
    first = next(iter(failures.values()))
    said = text.format(count=len(failures), names=shorten(sorted(failures)))
    return PartlyDone(f"{said} — {first.message}", hint=first.hint)


def shorten(names: Sequence[str]) -> str:
    """Return the first few names."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (" " + _("and {count} more").format(count=more) if more > 0 else "")


def acts_of(place: Workplace, pace: Callable[[Path], Pace]) -> Mapping[str, Callable[[Job, Teller], None]]:
    """Return what does each verb at a workplace."""
    return Acts(place, pace, Stop()).table()
