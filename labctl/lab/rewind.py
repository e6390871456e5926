"""Brings a whole lab back to one of its checkpoints: copies of the kept disks, then the kept memory on them."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from labctl.errors import LabctlError, Refused
from labctl.hypervisor.delivery import sweep
from labctl.hypervisor.saved_state import StateNotUsable, load_saved_state
from labctl.lab import keys
from labctl.lab.appliance import has_agent, wait_appliance
from labctl.lab.ascent import APPLIANCE_DEADLINE, LOGIN_DEADLINE, boot_deadline
from labctl.lab.board import give_board
from labctl.lab.checkpoint import RESTORES, Checkpoint, find_checkpoint, own_domains
from labctl.lab.disks import fresh_disks, replace_disks
from labctl.lab.frozen import flush, taken
from labctl.lab.keeping import Keeper
from labctl.lab.lock import hold_lab
from labctl.lab.standstill import everywhere
from labctl.lab.thaw import Mould
from labctl.language import _
from labctl.monitor import Event, Progress
from labctl.plan.model import ActionKind, Plan, PlannedNode
from labctl.render.identity import Keys
from labctl.render.tag import parse_tag
from labctl.render.xml import render_network

COPIES = 2  # disks copied side by side; more only makes the disk seek


@dataclass
class Restored:
    """What became of each node: why some do not run, why some answer no login, and which had to boot cold.

    A kept lab may be broken on purpose: a node that answers no login may be just as it was kept.
    """

    checkpoint: Checkpoint
    nodes: tuple[str, ...]
    failures: dict[str, LabctlError] = field(default_factory=dict)
    silent: dict[str, LabctlError] = field(default_factory=dict)
    cold: list[str] = field(default_factory=list)
    seconds: float = 0.0


def restore_checkpoint(keeper: Keeper, name: str) -> Restored:
    """Bring all machines of a lab back to a checkpoint; what was done since is lost, other checkpoints stay.

    Raises LabctlError, before anything is touched, where a file of the checkpoint or below its disks is
    missing or was changed; Refused where the lab has other machines now or the disk is too full.
    """
    with hold_lab(keeper.place.home, keeper.lab, "checkpoint"):
        checkpoint = find_checkpoint(keeper.place, keeper.lab, name)
        keeper.recover()
        checkpoint.check()
        layout = keeper.layout()
        mould = keeper.mould(checkpoint, layout, checkpoint.disk(layout.nodes[0].member))
        nodes = tuple(as_kept(keeper, mould, node) for node in same_nodes(checkpoint, layout))
        need = sum(taken(disk) for disk in checkpoint.all_disks)
        keeper.refuse_full(need, _('going back to the checkpoint "{name}"').format(name=name))
        with keeper.told("checkpoint restore", name):
            return Rewind(keeper, mould, nodes, Restored(checkpoint, checkpoint.nodes)).run()


def same_nodes(checkpoint: Checkpoint, layout: Plan) -> tuple[PlannedNode, ...]:
    """Return the nodes of the lab. Raises Refused where they are not those that were kept."""
    if {disk for node in layout.nodes for disk in checkpoint.disks(node)} != set(checkpoint.all_disks):
        raise other_lab(checkpoint, layout, ", ".join(disk.stem for disk in checkpoint.all_disks))
    return layout.nodes


def other_lab(checkpoint: Checkpoint, layout: Plan, detail: str) -> Refused:
    """Return the refusal to mix a lab with machines of what it was before."""
    text = _('the lab "{lab}" was changed since the checkpoint "{name}" was kept: {detail}')
    message = text.format(lab=layout.lab, name=checkpoint.id, detail=detail)
    return Refused(message, hint=f"labctl up {checkpoint.source} --student {layout.owner} --replace")


def as_kept(keeper: Keeper, mould: Mould, node: PlannedNode) -> PlannedNode:
    """Return a node with the tag that its machine had when it was kept. Raises Refused for another machine."""
    checkpoint = mould.golden
    try:
        tag = parse_tag(load_saved_state(checkpoint.state(node.member)).xml)
        kept = replace(
            node,
            tag=replace(node.tag, spec=tag.spec, configured=tag.configured, golden=tag.golden) if tag else node.tag,
        )
        mould.describe(kept)
    except StateNotUsable:
        seen = own_domains(keeper.place, keeper.lab).get(node.name)
        return replace(node, tag=seen.tag) if seen and seen.tag else node
    except LabctlError as exc:
        if isinstance(checkpoint, Checkpoint):
            raise other_lab(checkpoint, keeper.layout(), exc.message) from exc
        raise
    return kept


@dataclass
class Rewind:
    """One run of `checkpoint restore`. Until the machines are switched off, the lab is as it was."""

    keeper: Keeper
    mould: Mould
    nodes: tuple[PlannedNode, ...]
    result: Restored

    def run(self) -> Restored:
        """Go back, all machines together; one that fails does not hold back the others."""
        start = time.monotonic()
        own = keys.ensure_keys(self.mould.folders, self.keeper.lab, self.nodes)
        try:
            everywhere(self.nodes, self.copy, COPIES)
            self.keeper.stop.raise_if_asked(self.keeper.lab)
            self.ensure_networks()
            self.switch_all_off()
        except Exception:
            for node in self.nodes:
                for disk in fresh_disks(self.mould.folders, node):
                    disk.unlink(missing_ok=True)
            raise
        for node in self.nodes:  # the old disks go all at once: this takes no time
            self.mould.write_identity(node, own[node.member])
            replace_disks(self.mould.folders, node)
            give_board(self.mould.folders, node, self.mould.golden, self.keeper.place.freezer.tpm_storage())
        flush(self.mould.folders.disk("x").parent)
        sweep(self.mould.golden.state("x").parent)
        self.each("restore", self.wake, RESTORES)
        self.each("resume", self.start, len(self.nodes))
        self.each("personalise", lambda node: self.personalise(node, own[node.member]), len(self.nodes))
        self.each("login", self.log_in, len(self.nodes))
        self.result.seconds = time.monotonic() - start
        return self.result

    def copy(self, node: PlannedNode) -> None:
        """Copy each kept disk beside the one that it will replace."""
        self.tell(node, "restore", Progress.STARTED)
        for kept, fresh in zip(self.mould.golden.disks(node), fresh_disks(self.mould.folders, node), strict=True):
            self.keeper.copy(kept, fresh)
            self.keeper.place.give_to_qemu(fresh)
            flush(fresh)

    def ensure_networks(self) -> None:
        """Create the networks that somebody removed or stopped."""
        place, lab = self.keeper.place, self.keeper.lab
        golden = self.nodes[0].tag.golden
        plan = place.plan(place.load_lab(lab), self.nodes[0].tag.owner, golden)
        for action in plan.actions_of(ActionKind.REMOVE_NETWORK):
            place.machines.remove_network(action.target, plan.seat)
        networks = {network.member: network for network in plan.networks}
        for action in plan.actions_of(ActionKind.CREATE_NETWORK):
            place.machines.create_network(render_network(networks[action.target]))

    def switch_all_off(self) -> None:
        """Cut the power of all machines, but keep them defined: after a crash they boot, from the old or kept disks."""
        destroy = self.keeper.place.freezer.destroy_domain
        try:
            everywhere(self.nodes, lambda node: destroy(node.name, node.tag.seat_name), len(self.nodes))
        except LabctlError:
            with suppress(LabctlError):  # the lab stays what it was; why one could not be switched off is to be told
                everywhere(self.nodes, self.start, len(self.nodes))
            raise

    def wake(self, node: PlannedNode) -> None:
        """Load the kept memory; say so where it cannot be used here and the machine will boot instead."""
        if not self.mould.wake(node):
            self.result.cold.append(node.member)
            self.tell(node, "restore", Progress.RUNNING, _("its memory does not fit this host: cold boot"))

    def start(self, node: PlannedNode) -> None:
        """Let a machine run on, or boot."""
        self.keeper.place.machines.start_domain(node.name, node.tag.seat_name)

    def personalise(self, node: PlannedNode, own: Keys) -> None:
        """Set its clock, give it randomness, leases and the lab's keys; a machine whose agent is dead has none."""
        if not has_agent(node):
            return
        deadline = (boot_deadline(node) if node.member in self.result.cold else LOGIN_DEADLINE) * self.factor
        with suppress(LabctlError):  # whether it can be used is for the login to tell
            self.keeper.place.machines.wait_agent(node.name, deadline)
            self.mould.personalise(node, own, LOGIN_DEADLINE * self.factor)

    def log_in(self, node: PlannedNode) -> None:
        """Make a real login; a machine without labctl's SSH server is asked by what it has instead."""
        login = keys.login(self.mould.folders, node)
        try:
            if has_agent(node):
                self.keeper.place.guests.wait_login(login, LOGIN_DEADLINE * self.factor)
            else:
                wait_appliance(self.mould.folders, node, APPLIANCE_DEADLINE * self.factor)
        except LabctlError as exc:
            self.result.silent[node.member] = exc
            self.tell(node, "login", Progress.RUNNING, exc.message)

    @property
    def factor(self) -> float:
        """Return by how much deadlines are stretched here."""
        return self.keeper.pace_of(self.mould.golden.disk(self.nodes[0].member)).factor

    def each(self, step: str, act: Callable[[PlannedNode], None], workers: int) -> None:
        """Do an act on all nodes that have not failed; an error is kept with its node."""

        def attempt(node: PlannedNode) -> None:
            self.tell(node, step, Progress.STARTED)
            try:
                act(node)
            except LabctlError as exc:
                self.result.failures[node.member] = exc
                self.tell(node, step, Progress.FAILED, exc.message)
            else:
                silent = node.member in self.result.silent
                self.tell(node, step, Progress.SKIPPED if silent else Progress.DONE)

        everywhere(list(self.alive()), attempt, workers)

    def alive(self) -> Iterable[PlannedNode]:
        """Yield the nodes that have not failed."""
        return (node for node in self.nodes if node.member not in self.result.failures)

    def tell(self, node: PlannedNode, step: str, progress: Progress, detail: str = "") -> None:
        """Tell the monitor."""
        self.keeper.monitor.tell(Event(node.member, step, progress, detail))
