"""Makes machines from a golden lab: new overlays, the saved memory under another name, then what must be their own."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labctl.checks.lines import printable
from labctl.errors import LabctlError
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.saved_state import StateNotUsable, load_saved_state
from labctl.lab import keys
from labctl.lab.appliance import has_agent
from labctl.lab.board import give_board
from labctl.lab.disks import fresh_disks, replace_disks
from labctl.lab.frozen import Frozen
from labctl.lab.identity import write_identity
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.model import Folders, PlannedNetwork, PlannedNode
from labctl.render.clone import OtherDisks, clone_domain
from labctl.render.identity import Keys, render_personalisation
from labctl.render.tag import unconfigured
from labctl.render.windows.personalisation import POWERSHELL, render_windows_personalisation
from labctl.render.xml import render_domain
from labctl.topology.hardware import System

SEED_BYTES = 64  # what the kernel's generator is given of the host's; 32 would do, random(7)


@dataclass(frozen=True)
class Mould:
    """What all machines of one lab are cast from: a golden lab or a checkpoint.

    `delivery` is how its memory reaches libvirt, None where no way works on this host and machines boot instead.
    """

    place: Workplace
    golden: Frozen
    networks: Mapping[str, PlannedNetwork]
    folders: Folders
    accelerator: str
    delivery: Delivery | None

    def cast(self, node: PlannedNode, own: Keys) -> bool:
        """Make a clone that waits, paused; return False where it had to be defined for a cold boot instead.

        The new overlays are ready before what had the names before goes. A disk that came into the topology after the
        golden lab is empty.
        """
        system, *others = self.golden.disks(node)
        below = (system, *(disk if disk.exists() else None for disk in others))
        sizes = (node.disk, *node.disks.values())
        for frozen, fresh, size in zip(below, fresh_disks(self.folders, node), sizes, strict=True):
            self.place.images.create_disk(frozen, fresh, size)
            self.place.give_to_qemu(fresh)
        self.write_identity(node, own)
        self.place.machines.remove_domain(node.name, node.tag.seat_name)
        replace_disks(self.folders, node)
        give_board(self.folders, node, self.golden, self.place.freezer.tpm_storage())
        # Its mark comes at the gate: a clone without the mark is made again after a crash.
        return self.wake(replace(node, tag=unconfigured(node.tag)))

    def write_identity(self, node: PlannedNode, own: Keys) -> None:
        """Write what the node finds out about itself when it boots."""
        write_identity(self.place, self.folders, node, own, lasting=False)

    def wake(self, node: PlannedNode) -> bool:
        """Load the saved memory into a machine of this name that waits, paused, on the disks that lie ready.

        Returns False where the memory does not fit this host, or knows other disks: the machine is then defined for a
        cold boot.
        """
        try:
            self.load_memory(node)
        except (StateNotUsable, OtherDisks):
            # A new machine has no mark; one that students have worked on keeps its own, or it would be cloned anew.
            made = bool(node.tag.configured)
            xml = render_domain(node, dict(self.networks), self.folders, self.accelerator, made=made)
            self.place.machines.define_domain(xml, validated=True)  # the golden machine was, by the same template
            return False
        return True

    def load_memory(self, node: PlannedNode) -> None:
        """Load the saved memory into a machine that waits, paused. Raises StateNotUsable, StateDamaged, LabctlError."""
        if self.delivery is None:
            text = _("saved memory cannot be loaded on this host; {node} boots")
            raise StateNotUsable(text.format(node=node.member), hint="labctl doctor")
        saved, xml = self.golden.state(node.member), self.describe(node)
        self.place.freezer.restore_domain(saved, xml, node.name, running=False, delivery=self.delivery)

    def describe(self, node: PlannedNode) -> str:
        """Return the XML of the saved machine under this node's name. Raises as `load_memory` does."""
        return clone_domain(load_saved_state(self.golden.state(node.member)).xml, node, self.networks, self.folders)

    def personalise(self, node: PlannedNode, own: Keys, deadline: float) -> None:
        """Give a running machine its own keys, clock, randomness and leases, through its guest agent, if it has one."""
        if node.system is System.WINDOWS:
            personalise_windows(self.place, self.folders, node, own, deadline)
        elif has_agent(node):
            script = render_personalisation(node, own, time.time(), secrets.token_bytes(SEED_BYTES))
            tell_machine(self.place, node, ("/bin/sh", "-s"), script.encode(), deadline)


def personalise_windows(
    place: Workplace, folders: Folders, node: PlannedNode, own: Keys, deadline: float, *, first: bool = False
) -> None:
    """Give a running Windows its own keys, password, clock and leases; with `first`, only at its first start."""
    password = keys.ensure_password(folders, node.member)
    script = render_windows_personalisation(node, own, password, time.time(), first=first)
    tell_machine(place, node, POWERSHELL, script, deadline)


def tell_machine(place: Workplace, node: PlannedNode, words: Sequence[str], script: bytes, deadline: float) -> None:
    """Let a program of a machine read a script of ours. Raises LabctlError where it does not end well."""
    ended = place.freezer.guest_exec(node.name, node.tag.seat_name, words, script, deadline=deadline)
    if ended.code != 0:
        text = _("{node} could not be given what is its own: {said}")
        said = ended.stdout.decode("utf-8", "replace").strip()[-200:]
        raise LabctlError(text.format(node=node.member, said=printable(said) or f"code {ended.code}"))
