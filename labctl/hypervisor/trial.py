"""A host to the ways in which it can restore a saved state under another head, each tried with a tiny machine."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from labctl.errors import LabctlError
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Hypervisor
from labctl.plan.observed import Tag
from labctl.render.tag import render_tag

LAB = "self-test"


def self_test_restore(door: Hypervisor, folder: Path, name: str = "labctl-self-test") -> dict[Delivery, str]:
    """Return for each delivery why it does not work with files in `folder`, empty where it does.

    Takes a second or two: a machine of 16 MiB without a disk, emulated, is saved and restored, and removed.
    """
    saved = folder / f".{name}.{os.getpid()}.save"
    xml = describe(name)
    try:
        door.remove_domain(name, LAB)
        door.define_domain(xml)
        door.start_domain(name, LAB)
        door.save_domain(name, LAB, saved)
        return {delivery: attempt(door, saved, xml, delivery) for delivery in Delivery}
    except LabctlError as exc:
        return dict.fromkeys(Delivery, exc.message)
    finally:
        saved.unlink(missing_ok=True)
        with suppress(LabctlError):
            door.remove_domain(name, LAB)


def attempt(door: Hypervisor, saved: Path, xml: str, delivery: Delivery) -> str:
    """Restore once and switch off; return why it did not work."""
    name = xml.partition("<name>")[2].partition("</name>")[0]
    try:
        door.restore_domain(saved, xml, name, running=True, delivery=delivery)
        door.destroy_domain(name, LAB)
    except LabctlError as exc:
        return exc.message
    return ""


def describe(name: str) -> str:
    """Return the XML of the tiny machine; `name` is ours, not a person's."""
    tag = Tag(lab=LAB, topology=LAB, owner=LAB, member=name, spec="")
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{uuid5(NAMESPACE_DNS, name)}</uuid>"
        f"<metadata>{render_tag(tag)}</metadata><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        "<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
    )
