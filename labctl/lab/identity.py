"""Writes what a node finds out about itself when it starts: a credential for Debian, a small disc for Windows."""

from labctl.images.disc import write_disc
from labctl.lab import keys
from labctl.lab.appliance import appliance_identity, has_agent
from labctl.lab.workplace import Workplace
from labctl.plan.model import Folders, PlannedNode
from labctl.render.identity import Keys, render_identity
from labctl.render.windows.answers import LABEL, LOCALE, node_files
from labctl.topology.hardware import System


def write_identity(place: Workplace, folders: Folders, node: PlannedNode, own: Keys, *, lasting: bool = True) -> None:
    """Write the identity of a node, for QEMU's user alone. What is not `lasting` may be lost in a power cut."""
    path = folders.identity(node.member)
    if node.system is System.WINDOWS:
        image = place.images.find(place.spec(node.image))
        facts = image.given.facts if image and image.given else {}
        # Everybody on the machine reads the disc: the password that lasts comes through the guest agent.
        files = node_files(node, own, keys.draw_password(), str(facts.get("language", LOCALE)))
        write_disc(path, files, LABEL)
    elif not has_agent(node):
        keys.write_secret(path, appliance_identity(folders, node), lasting=lasting)
    else:
        keys.write_secret(path, render_identity(node, own).encode(), lasting=lasting)
    place.give_to_qemu(path)
