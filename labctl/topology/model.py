"""The topology as its author wrote it: frozen models, one class for each thing of the file.

Meaning across models (an address inside its network, a known service…) is checked in `semantics`.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from labctl.language import N_
from labctl.topology.faults import Fault
from labctl.topology.hardware import MOST_DISKS
from labctl.topology.probes import HOST, Probe, node_asked
from labctl.topology.values import (
    VERSION_PATTERN,
    CompetencyId,
    DiskName,
    DiskSize,
    InterfaceName,
    Line,
    Model,
    Name,
    ServiceName,
    Text,
)
from labctl.topology.variants import Variant


class Segment(Model):
    """An isolated layer-2 network between the nodes of one lab; the host has no address on it."""

    kind: Literal["segment"] = Field(description=N_("a network inside the lab"))
    cidr: IPv4Network = Field(description=N_("its IPv4 addresses, such as 192.168.50.0/24"))
    description: Text | None = Field(default=None, description=N_("what the network is for"))


class Internet(Model):
    """A way out through the host by NAT, with DHCP; each lab gets a subnet of its own."""

    kind: Literal["internet"] = Field(description=N_("the way out through the host"))
    description: Text | None = Field(default=None, description=N_("what the network is for"))


Network = Annotated[Segment | Internet, Field(discriminator="kind")]


class Interface(Model):
    """A network card of a node."""

    network: Name = Field(description=N_("the network it is plugged into"))
    address: IPv4Address | Literal["dhcp", "none"] = Field(
        description=N_("a fixed IPv4 address, `dhcp`, or `none` to leave the card to the student")
    )
    gateway: IPv4Address | None = Field(default=None, description=N_("default gateway, an address that a node holds"))


class Route(Model):
    """A static route."""

    to: IPv4Network = Field(description=N_("destination, such as 172.16.10.0/24"))
    via: IPv4Address = Field(description=N_("the router, an address that a node holds"))


class Node(Model):
    """One machine."""

    image: Name = Field(description=N_("the operating system image"))
    description: Text | None = Field(default=None, description=N_("what the machine is for"))
    memory: int = Field(default=512, ge=64, le=262144, description=N_("memory in MiB"))
    cpus: int = Field(default=1, ge=1, le=64, description=N_("virtual processors"))
    disk: DiskSize = Field(default=8, description=N_("size of the disk as the guest sees it, in GiB"))
    # Left out where there are none: golden labs of before this key was known keep their identity.
    disks: Mapping[DiskName, DiskSize] = Field(
        default_factory=dict, max_length=MOST_DISKS, exclude_if=lambda disks: not disks,
        description=N_(
            "empty disks beside it: sizes in GiB by name, which is their serial number too "
            "(`/dev/disk/by-id/virtio-NAME` on Linux). Those of the image are there as well; the same name gives one "
            "another size. A Debian that has some comes with `lvm2`, `mdadm` and `parted`"
        ),
    )  # fmt: skip
    interfaces: Mapping[InterfaceName, Interface] = Field(
        min_length=1, max_length=12, description=N_("network cards by name, in the order of the guest's slots")
    )
    nameservers: tuple[IPv4Address, ...] = Field(default=(), max_length=3, description=N_("DNS servers"))
    search: Line | None = Field(default=None, description=N_("DNS search domain"))
    routes: tuple[Route, ...] = Field(default=(), description=N_("static routes"))
    services: Mapping[ServiceName, Mapping[str, JsonValue]] = Field(
        default_factory=dict, description=N_("what the machine is for: role names with their parameters")
    )
    after: tuple[Name, ...] = Field(
        default=(), description=N_("nodes that must be ready before this one is configured")
    )


class Check(Model):
    """A machine-checkable outcome, seen from one node or from the host."""

    id: Name = Field(description=N_("name of the check, used once"))
    title: Text = Field(description=N_("what is checked"))
    origin: Name = Field(alias="from", description=N_("the node that probes, or `host`"))
    probe: Probe = Field(description=N_("what is tried"))
    windows: Probe | None = Field(
        default=None, description=N_("what is tried instead where the node runs Windows: the same check, asked its way")
    )
    negative: bool = Field(default=False, description=N_("the probe must NOT succeed, such as a forbidden flow"))
    ready: bool = Field(default=False, description=N_("the lab is not ready before this check passes"))
    wait: int = Field(default=0, ge=0, le=600, description=N_("seconds to go on trying before it counts"))
    points: int = Field(default=1, ge=0, le=100, description=N_("points that it is worth"))
    competency: CompetencyId = Field(description=N_("the competency that it shows"))
    after_reboot: bool = Field(
        default=False, description=N_("it is worth most after a reboot: `labctl check --after-reboot` makes one first")
    )
    passed: Text = Field(alias="pass", description=N_("said when it passes"))
    failed: Text = Field(alias="fail", description=N_("said when it fails, with what to look at"))
    hints: tuple[Text, ...] = Field(
        default=(), max_length=10, description=N_("help for students, step by step: `labctl check --hint N`")
    )

    @property
    def node(self) -> str:
        """The node that it says something of first: the one that probes, or the one that the host asks."""
        return node_asked(self.probe) if self.origin == HOST else self.origin


class Topology(Model):
    """One lab network."""

    name: Name = Field(description=N_("name of the topology, the first part of the lab's name"))
    version: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)] = Field(
        description=N_('quoted, such as "1.0": unquoted, 1.10 would be the number 1.1')
    )
    title: Text = Field(description=N_("title shown to students"))
    description: Text = Field(description=N_("what the lab is about"))
    competencies: tuple[CompetencyId, ...] = Field(min_length=1, description=N_("competencies that the lab trains"))
    networks: Mapping[Name, Network] = Field(min_length=1, max_length=32, description=N_("the networks by name"))
    nodes: Mapping[Name, Node] = Field(min_length=1, max_length=64, description=N_("the machines by name"))
    checks: tuple[Check, ...] = Field(default=(), description=N_("what must work in the end, or must not"))
    faults: tuple[Fault, ...] = Field(default=(), description=N_("troubles to find and repair, for the trainer"))
    variants: Mapping[ServiceName, Variant] = Field(
        default_factory=dict, max_length=20, description=N_("values that differ from one owner to the next, by name")
    )
