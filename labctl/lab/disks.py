"""The disks of a machine in its lab's folder: made beside those that they will replace, and put in their place."""

from pathlib import Path

from labctl.images.store import Image
from labctl.lab.workplace import Workplace
from labctl.plan.model import Folders, PlannedNode
from labctl.plan.names import node_of_disk

FRESH = ".new.qcow2"  # ends the name of a disk that is to take the place of another


def create_disks(place: Workplace, image: Image, folders: Folders, node: PlannedNode) -> None:
    """Make the disks of a machine that is built: that of its system on an image, the others empty."""
    system, *others = folders.disks(node)
    place.images.create_overlay(image, system, node.disk)
    for path, size in zip(others, node.disks.values(), strict=True):
        place.images.create_disk(None, path, size)
    for path in (system, *others):
        place.give_to_qemu(path)
    drop_other_disks(folders, node)


def fresh_disks(folders: Folders, node: PlannedNode) -> tuple[Path, ...]:
    """Return where a machine's next disks are made, each beside the one that it will replace."""
    return tuple(path.with_name(f"{path.stem}{FRESH}") for path in folders.disks(node))


def replace_disks(folders: Folders, node: PlannedNode) -> None:
    """Put fresh disks in the place of those that a machine had; it is off. This takes no time."""
    for fresh, path in zip(fresh_disks(folders, node), folders.disks(node), strict=True):
        fresh.rename(path)
    drop_other_disks(folders, node)


def drop_other_disks(folders: Folders, node: PlannedNode) -> None:
    """Remove the disks that a machine of this name had and that the one that was made now does not have."""
    known = folders.disks(node)
    for path in known[0].parent.glob(f"{node.member}*.qcow2"):
        if path not in known and node_of_disk(path) == node.member:
            path.unlink()
