"""Makes machines from a golden lab: new overlays, the saved memory under another name, then what must be their own."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from labctl.errors import LabctlError
from labctl.hypervisor.saved_state import StateNotUsable, load_saved_state
from labctl.lab import keys
from labctl.lab.frozen import Frozen
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.model import Folders, PlannedNetwork, PlannedNode
from labctl.render.clone import clone_domain
from labctl.render.identity import Keys, render_identity, render_personalisation
from labctl.render.tag import unconfigured
from labctl.render.xml import render_domain

SEED_BYTES = 64  # what the kernel's generator is given of the host's; 32 would do, random(7)


@dataclass(frozen=True)
class Mould:
    """What all machines of one lab are cast from."""

    place: Workplace
    golden: Frozen
    networks: Mapping[str, PlannedNetwork]
    folders: Folders
    accelerator: str

    def cast(self, node: PlannedNode, own: Keys) -> bool:
        """Make a machine that waits, paused; return False where it had to be defined for a cold boot instead.

        The new overlay is ready before what had the name before goes.
        """
        disk, identity = self.folders.disk(node.member), self.folders.identity(node.member)
        fresh = disk.with_name(f"{node.member}.new.qcow2")
        self.place.images.create_overlay_on(self.golden.disk(node.member), fresh, node.disk)
        self.place.give_to_qemu(fresh)
        keys.write_secret(identity, render_identity(node, own).encode())
        self.place.give_to_qemu(identity)
        self.place.machines.remove_domain(node.name, node.tag.lab)
        fresh.rename(disk)
        saved = self.golden.state(node.member)
        try:
            # Its mark comes with its own keys: a clone without the mark is made again after a crash.
            plain = replace(node, tag=unconfigured(node.tag))
            xml = clone_domain(load_saved_state(saved).xml, plain, self.networks, self.folders)
            self.place.freezer.restore_domain(saved, xml, node.name, running=False)
        except StateNotUsable:
            networks = dict(self.networks)
            self.place.machines.define_domain(render_domain(node, networks, self.folders, self.accelerator))
            return False
        return True

    def personalise(self, node: PlannedNode, own: Keys, deadline: float) -> None:
        """Give a running machine its own keys, clock, randomness and leases, through its guest agent."""
        script = render_personalisation(node, own, time.time(), secrets.token_bytes(SEED_BYTES))
        ended = self.place.freezer.guest_exec(
            node.name, node.tag.lab, ["/bin/sh", "-s"], script.encode(), deadline=deadline
        )
        if ended.code != 0:
            text = _("{node} could not be given what is its own: {said}")
            said = ended.stdout.decode("utf-8", "replace").strip()[-200:] or f"code {ended.code}"
            raise LabctlError(text.format(node=node.member, said=said))
