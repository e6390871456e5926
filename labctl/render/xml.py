"""Renders planned machines and networks as libvirt XML documents.

Formats: https://libvirt.org/formatdomain.html and https://libvirt.org/formatnetwork.html
"""

from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from labctl.plan.model import Folders, NetworkKind, PlannedNetwork, PlannedNode
from labctl.render.tag import render_tag, unconfigured
from labctl.topology.hardware import DiskBus, System

# MiB of translated code that QEMU keeps for an emulated machine; its own default is 1 GiB. No two machines share it, so
# it is most of what a clone costs beside a class. Up to the gate, 64 MiB are as fast as 128, 48 cost 4 %, 32 15 %.
TRANSLATED = 128
TRANSLATED_OF_CLONE = 48
# Systems that find out who they are from a disk; Debian reads its identity from the firmware, and what the school
# imported is given none.
READ_A_MEDIUM = frozenset({System.WINDOWS, System.OPNSENSE, System.PFSENSE})
TEMPLATES = Path(__file__).parent / "templates"
# Windows takes the clock of its hardware for the time of its own zone, which our answer files set to that of Paris.
WINDOWS_ZONE = "Europe/Paris"


@cache
def environment() -> Environment:
    """Return the template environment.

    Autoescape is always on: select_autoescape() would leave ``.xml.j2`` files out.
    """
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def render_domain(
    node: PlannedNode, networks: dict[str, PlannedNetwork], folders: Folders, accelerator: str, *, made: bool = False
) -> str:
    """Return the domain XML of a machine. `networks` is by member name; `accelerator` is "kvm" or "tcg".

    `made` is for a machine whose disk has been worked on: its tag says so, and it is not cloned anew.
    """
    return environment().get_template("domain.xml.j2").render(
        node=node,
        hardware=node.hardware,
        medium=medium_device(node) if node.system in READ_A_MEDIUM else "",
        networks=networks,
        disks=disks_of(node, folders),
        identity=folders.identity(node.member),
        nvram=folders.nvram(node.member),
        serial_log=folders.serial_log(node.member),
        interfaces=(node.management, *node.interfaces),
        management=node.management,
        virtualisation="kvm" if accelerator == "kvm" else "qemu",
        windows_zone=WINDOWS_ZONE,
        translated=TRANSLATED_OF_CLONE if node.tag.golden else TRANSLATED,
        # "configured" says what was done, not what is wanted: a new machine gets it at the gate.
        tag=Markup(render_tag(node.tag if made else unconfigured(node.tag))),  # noqa: S704  render_tag quotes every value
    )  # fmt: skip


class Disk(NamedTuple):
    """A disk in a description; the one that the system is on has no serial number."""

    file: Path
    device: str
    serial: str


def disks_of(node: PlannedNode, folders: Folders) -> tuple[Disk, ...]:
    """Return the disks of a machine, that of its system first: firmware boots the first one."""
    prefix = "vd" if node.hardware.disk_bus is DiskBus.VIRTIO else "sd"
    files = zip(folders.disks(node), ascii_lowercase, ("", *node.disks), strict=False)
    return tuple(Disk(file, f"{prefix}{letter}", name) for file, letter, name in files)


def medium_device(node: PlannedNode) -> str:
    """Return where the disc with a machine's identity is plugged in: on SATA, behind disks that are there too."""
    before = 0 if node.hardware.disk_bus is DiskBus.VIRTIO else len(node.disk_files)
    return f"sd{ascii_lowercase[before]}"


def render_network(network: PlannedNetwork) -> str:
    """Return the network XML: NAT with DHCP, management by IPv6 link-local only, or a bare bridge."""
    hosts = IPv4Network(network.subnet) if network.kind is NetworkKind.INTERNET else None
    return environment().get_template("network.xml.j2").render(
        network=network,
        tag=Markup(render_tag(network.tag)),  # noqa: S704  render_tag quotes every value
        router=hosts[1] if hosts else "",
        first=hosts[2] if hosts else "",
        last=hosts[-2] if hosts else "",
        prefix=hosts.prefixlen if hosts else "",
    )  # fmt: skip
