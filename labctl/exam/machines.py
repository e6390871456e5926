"""The labs of candidates on this host: links pulled, machines let run and stopped together, frozen work copied.

Unlike a checkpoint, a copy for an exam is made of machines that stand still already, leaves them standing still, and
takes those that are switched off as they are. It lies with the session, not with the lab.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from labctl.classroom.anew import reset_wish
from labctl.classroom.labs import bring_up_labs
from labctl.crew import Crew
from labctl.errors import LabctlError, Refused
from labctl.exam.allowed import AllowedNames
from labctl.exam.doors import Built, Burst, Copied
from labctl.exam.workshop import as_built
from labctl.hypervisor.saved_state import is_complete
from labctl.images.copying import copy_disk
from labctl.images.overlay import chain
from labctl.lab.barring import bar, unbar
from labctl.lab.board import keep_board
from labctl.lab.checkpoint import ATTEMPTS, Checkpoint, is_of_one_moment, own_domains
from labctl.lab.doors import Links
from labctl.lab.down import take_down
from labctl.lab.frozen import Frozen, flush, read_facts, seal, taken
from labctl.lab.keeping import ROOM_KEPT, free_bytes, used_memory
from labctl.lab.lock import hold_lab, is_held
from labctl.lab.standstill import SAVES, everywhere, quiesce, set_clock
from labctl.lab.thaw import Mould
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import NetworkKind, Plan, PlannedInterface, PlannedNode
from labctl.plan.observed import DomainState, SeenDomain
from labctl.store import now

BURST = 32  # machines let run side by side; libvirt takes four requests at a time anyway
CALM_SECONDS = 2.0
CLOCK_SECONDS = 10.0
LOCK_PATIENCE = 5.0  # seconds; a reset that lasts longer was waited for already
UNFINISHED = ".part"


@dataclass(frozen=True)
class HostLabs:
    """The labs of one session on a workplace; `folder` gets the copies."""

    place: Workplace
    links: Links
    folder: Path
    pace: Callable[[Path], Pace]
    monitor: Monitor
    copy_file: Callable[[Path, Path], None] = copy_disk
    room: Callable[[Path], int] = free_bytes
    allowed: AllowedNames = field(default_factory=AllowedNames)
    layouts: dict[str, Plan] = field(default_factory=dict)

    def layout(self, lab: str) -> Plan:
        """Return what a lab is made of, from its own files; it does not change during a session."""
        if lab not in self.layouts:
            self.layouts[lab] = self.place.layout(lab, self.place.load_lab(lab))
        return self.layouts[lab]

    def set_links(self, lab: str, *, up: bool) -> tuple[str, ...]:
        """Pull the management link of each machine, and keep it from the Internet; or plug management in again.

        The links to the Internet are pulled too, but for a network that the host holds to the allowed names. They stay
        as they are when management is plugged in: labctl needs no Internet, and the other machines may be at work.
        """
        layout = self.layout(lab)
        limited = frozenset[str]() if up else self.limit(layout)
        wanted = [
            (node, card, up or card.network in limited)
            for node in layout.nodes
            for card in ([node.management] if up else self.forbidden(layout, node))
        ]
        with Crew(max_workers=max(1, len(wanted))) as crew:
            for done in [crew.submit(self.set_link, *one) for one in wanted]:
                done.result()
        return tuple(f"{node.member}/{card.name}" for node, card, has_link in wanted if has_link == up)

    def limit(self, layout: Plan) -> frozenset[str]:
        """Hold a lab's networks to the names that the exam allows, and return those whose links may stay plugged in.

        Without names nothing passes: a machine that is made anew comes with its links. A host that cannot hold a
        network to names has its links pulled: the exam goes on without the Internet, and says so.
        """
        held = []
        for network in layout.networks:
            if network.kind is not NetworkKind.INTERNET:
                continue
            try:
                self.links.limit_network(network.name, network.tag.seat_name, self.allowed.pins())
                held.append(network.member)
            except LabctlError as exc:
                if self.allowed.names:
                    self.monitor.tell(Event(f"{layout.lab}/{network.member}", "internet", Progress.FAILED, exc.message))
        return frozenset(held if self.allowed.names else ())

    def pins(self) -> Mapping[str, Sequence[str]]:
        """Return the addresses of the names that the exam allows."""
        return self.allowed.pins() if self.allowed.names else {}

    def forbidden(self, layout: Plan, node: PlannedNode) -> list[PlannedInterface]:
        """Return the cards of a machine that have no link during the work, or none that leads anywhere."""
        kinds = {network.member: network.kind for network in layout.networks}
        outside = [one for one in node.interfaces if kinds.get(one.network) is NetworkKind.INTERNET]
        return [node.management, *outside]

    def set_link(self, node: PlannedNode, card: PlannedInterface, up: bool) -> None:
        """Set one link."""
        self.links.set_link(node.name, node.tag.seat_name, card.mac, up=up)

    def resume(self, labs: Sequence[str]) -> Burst:
        """Let all machines of all labs run on, or boot, in one burst."""
        layouts = {lab: self.layout(lab) for lab in labs}
        moments: list[datetime] = []
        failures: dict[str, str] = {}

        def let_run(node: PlannedNode) -> datetime:
            self.place.machines.start_domain(node.name, node.tag.seat_name)
            return datetime.now(UTC)

        with Crew(max_workers=BURST) as crew:
            asked: list[tuple[str, PlannedNode, Future[datetime]]] = [
                (lab, node, crew.submit(let_run, node)) for lab, layout in layouts.items() for node in layout.nodes
            ]
            for lab, node, done in asked:
                try:
                    moments.append(done.result())
                except LabctlError as exc:
                    failures[lab] = f"{node.member}: {exc.message}"
        moments = sorted(moments) or [datetime.now(UTC)]
        return Burst(moments[0], moments[-1], len(asked), failures)

    def suspend(self, lab: str) -> None:
        """Stop all machines of a lab that run, at the same time.

        Whose machines they are is read from libvirt: to read the lab's topology takes longer than all the rest.
        """
        awake = [one for one in self.machines_of(lab) if one.state is DomainState.RUNNING]

        def stop(machine: SeenDomain) -> None:
            try:
                self.place.freezer.suspend_domain(machine.name, self.place.seat_of(lab))
            except LabctlError:
                if any(one.name == machine.name and one.state is DomainState.RUNNING for one in self.machines_of(lab)):
                    raise  # else it went off in between: it stands still

        with Crew(max_workers=max(1, len(awake))) as crew:
            for done in [crew.submit(stop, one) for one in awake]:
                done.result()

    def machines_of(self, lab: str) -> list[SeenDomain]:
        """Return the machines of a lab as libvirt has them now."""
        seat = self.place.seat_of(lab)
        seen = self.place.see(f"{self.place.prefix}{seat}.").domains
        return [one for one in seen if one.tag and one.tag.seat_name == seat]

    def calm(self, lab: str) -> None:
        """Ask running machines to write what they hold, for at most two seconds."""
        layout = self.layout(lab)

        def ask(node: PlannedNode) -> None:
            try:
                quiesce(self.place, node, CALM_SECONDS)
            except LabctlError as exc:
                self.monitor.tell(Event(f"{lab}/{node.member}", "calm", Progress.FAILED, exc.message))

        everywhere(layout.nodes, ask, len(layout.nodes))

    def set_clocks(self, labs: Sequence[str]) -> None:
        """Set the clocks of all machines through their agents, which need no link."""
        layouts = [self.layout(lab) for lab in labs]
        everywhere([node for layout in layouts for node in layout.nodes], self.set_clock, BURST)

    def set_clock(self, node: PlannedNode) -> None:
        """Set the clock of one machine; one whose agent is dead keeps its own."""
        try:
            set_clock(self.place, node, CLOCK_SECONDS)
        except LabctlError as exc:
            self.monitor.tell(Event(node.name, "clock", Progress.FAILED, exc.message))

    def refuse_no_machine(self, lab: str, node: str) -> None:
        """Raise LabctlError for a machine that the lab does not have."""
        names = [one.member for one in self.layout(lab).nodes]
        if node not in names:
            text = _('the lab "{lab}" has no machine "{node}"; it has: {names}')
            message = text.format(lab=lab, node=node, names=", ".join(names))
            raise LabctlError(message, hint=f"labctl status {lab}")

    def cut_power(self, lab: str, node: str) -> None:
        """Switch a machine off as a power cut does."""
        one = self.layout(lab).node(node)
        self.place.freezer.destroy_domain(one.name, one.tag.seat_name)

    def set_cables(self, lab: str, node: str, *, up: bool) -> None:
        """Pull the links of a machine to the networks of its lab, or plug them in; not those that the exam pulls."""
        layout = self.layout(lab)
        one = layout.node(node)
        forbidden = {card.mac for card in self.forbidden(layout, one)}
        for card in one.interfaces:
            if card.mac not in forbidden:
                self.set_link(one, card, up)

    def reset(self, lab: str, nodes: Sequence[str]) -> Built:
        """Make machines anew, with the values of their owner."""
        wish = reset_wish(self.place, [lab], nodes)
        (result, *_spares) = bring_up_labs(self.place, wish, self.pace, self.monitor, Stop())
        return as_built(result)

    def remove(self, lab: str) -> None:
        """Remove a lab that nobody has worked on."""
        take_down(self.place, lab, self.monitor)

    def states(self, labs: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Return the state of each machine, by lab and node."""
        seen = {one.name: str(one.state) for one in self.place.see().domains if one.tag}
        found: dict[str, Mapping[str, str]] = {}
        for lab in labs:
            try:
                found[lab] = {node.member: seen.get(node.name, "missing") for node in self.layout(lab).nodes}
            except LabctlError:
                found[lab] = {}
        return found

    def busy(self, lab: str) -> bool:
        """Return whether another run works on the lab now."""
        return is_held(self.place.home, lab)

    def copy(self, lab: str, name: str) -> Copied:
        """Copy disks and memory of machines that stand still; a copy that a crash broke off is made whole."""
        final = self.folder / "frozen" / name
        with hold_lab(self.place.home, lab, "exam freeze", LOCK_PATIENCE):
            layout = self.layout(lab)
            if not final.exists():
                self.make_copy(lab, layout, final)
        kept = Frozen(name, layout.topology, final)
        off = tuple(node for node in kept.nodes if not kept.state(node).exists())
        size = sum(taken(path) for path in final.rglob("*") if path.is_file())
        return Copied(str(final.relative_to(self.folder)), size, off)

    def make_copy(self, lab: str, layout: Plan, final: Path) -> None:
        """Save each memory and copy each disk; load the memory again so that the machine waits; then name the copy."""
        part = final.with_name(f"{final.name}{UNFINISHED}")
        draft = Checkpoint(final.name, layout.topology, part, now(), lab=lab, by="exam")
        for folder in (part, draft.state("x").parent, draft.disk("x").parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = own_domains(self.place, lab)
        nodes = [replace(node, tag=seen[node.name].tag or node.tag) for node in layout.nodes if node.name in seen]
        for node in nodes:  # what libvirt had ended when nobody waited for it any more
            for path in draft.state("x").parent.glob(f".{node.member}.save.*.tmp"):
                if is_complete(path):
                    path.rename(draft.state(node.member))
        self.refuse_full(lab, layout, nodes)
        everywhere(nodes, lambda node: self.copy_node(draft, layout, node, seen[node.name].state), SAVES)
        shutil.copyfile(layout.folders.topology, draft.source)
        files = [path for path in part.rglob("*") if path.is_file() and path != draft.manifest]
        draft.write({str(path.relative_to(part)): seal(path) for path in files})
        flush(draft.manifest)
        part.rename(final)
        flush(final.parent)

    def refuse_full(self, lab: str, layout: Plan, nodes: Sequence[PlannedNode]) -> None:
        """Raise Refused where the copy would fill the disk: earlier evidence lies there too."""
        used = used_memory([node.name for node in nodes])
        memory = sum(min(node.memory << 20, used.get(node.name, 0)) for node in nodes)
        need = memory + sum(taken(disk) for node in nodes for disk in layout.folders.disks(node))
        free = self.room(self.folder)
        if need + ROOM_KEPT > free:
            text = _('the copy of "{lab}" takes about {need} MiB; "{path}" has {free} MiB left: machines stay as is')
            hint = f"df -h {self.folder}"
            raise Refused(text.format(lab=lab, need=need >> 20, free=free >> 20, path=self.folder), hint=hint)

    def copy_node(self, draft: Checkpoint, layout: Plan, node: PlannedNode, state: DomainState) -> None:
        """Keep one machine. Its memory, once saved, stays valid as long as nothing is written to its disks."""
        disks, memory = layout.folders.disks(node), draft.state(node.member)
        self.monitor.tell(Event(f"{draft.lab}/{node.member}", "freeze", Progress.STARTED))
        if state is not DomainState.STOPPED and state is not DomainState.CRASHED:
            self.place.freezer.save_domain(node.name, node.tag.seat_name, memory)
            os.utime(memory)  # it is off: nothing that was written before is newer than its memory
        elif memory.exists() and not is_of_one_moment(memory, disks):
            memory.unlink()  # of another moment: the machine was booted since
        for disk, kept in zip(disks, draft.disks(node), strict=True):
            self.copy_file(disk, kept)
        keep_board(layout.folders, node, draft, self.place.freezer.tpm_storage())
        if memory.exists():
            self.load_again(draft, layout, node)
        self.monitor.tell(Event(f"{draft.lab}/{node.member}", "freeze", Progress.DONE))

    def load_again(self, draft: Checkpoint, layout: Plan, node: PlannedNode) -> None:
        """Load a memory that was just saved: the machine waits as it was. Raises LabctlError at the second failure."""
        networks = {network.member: network for network in layout.networks}
        base = chain(layout.folders.disk(node.member))[-1]
        mould = Mould(
            self.place, draft, networks, layout.folders, self.pace(base).accelerator, self.place.delivery()
        )  # fmt: skip
        for attempt in range(ATTEMPTS):
            try:
                mould.wake(node)
            except LabctlError:
                if attempt + 1 == ATTEMPTS:
                    raise
            else:
                return

    def is_whole(self, name: str) -> bool:
        """Return whether a copy has its manifest."""
        return read_facts(self.folder / "frozen" / name) is not None


@dataclass(frozen=True)
class HostConsoles:
    """The consoles of candidates: the portal's worker lets nobody in, and nobody stay, where a lab is barred."""

    home: Path

    def cut(self, lab: str) -> None:
        """Keep the candidate out."""
        bar(self.home, lab)

    def allow(self, lab: str) -> None:
        """Let the candidate in."""
        unbar(self.home, lab)
