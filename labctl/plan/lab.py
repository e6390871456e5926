"""Turns a topology, an owner and the observed host into the plan of one lab: the same input gives the same bytes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import Refused
from labctl.language import _
from labctl.plan import names
from labctl.plan.converge import converge
from labctl.plan.model import (
    Folders,
    NetworkKind,
    Plan,
    PlannedImage,
    PlannedInterface,
    PlannedNetwork,
    PlannedNode,
    PlannedRoute,
)
from labctl.plan.observed import Observed, Tag
from labctl.topology.catalogue import Catalogue
from labctl.topology.hardware import ANSWERS, COMMON, System
from labctl.topology.model import Interface, Internet, Node, Segment, Topology

DISK_TOOLS = ("lvm2", "mdadm", "parted")  # volumes, RAID and partitions: a lab has no archive to get them from
RENDER_VERSION = "1"  # raised when rendered machines change in a way that running ones must follow


@dataclass(frozen=True)
class Setting:
    """What planning takes from this installation.

    `prefix` starts every libvirt name, empty for the real one; `roles` has the hash of each role's files.
    """

    home: Path
    prefix: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    def folders(self, lab: str, seat: str = "") -> Folders:
        """Return where a lab keeps its files; `seat` is the seat that it took over, empty for its own."""
        labs = self.home / "labs"
        return Folders(labs / names.SEATS / seat if seat else labs / lab)


def plan_lab(
    topology: Topology,
    owner: str,
    catalogue: Catalogue,
    observed: Observed,
    setting: Setting,
    *,
    golden: str = "",
    seat: str = "",
    base: Topology | None = None,
) -> Plan:
    """Return the plan of the lab of one owner, cloned from a golden lab where its id is given.

    `base` is the topology of the golden lab, where this one has values of the owner's own.

    `seat` is the seat that the lab has in the folder of seats, empty for a lab that never was a spare: a running
    machine and its bridges cannot be renamed, so a spare that becomes somebody's lab keeps its names and folder.
    Raises Refused where a foreign object has one of its names.
    """
    lab, name = f"{topology.name}-{owner}", seat or f"{topology.name}-{owner}"
    mark = names.home_mark(str(setting.home))
    tag = Tag(
        lab=lab, topology=topology.name, owner=owner, member="", spec="", home=mark, golden=golden,
        seat=name if name != lab else "",
    )  # fmt: skip
    # libvirt cannot change the tag of a network that runs: networks stay marked as the seat's.
    fixed = replace(tag, lab=name, owner=name.removeprefix(f"{topology.name}-"), seat="")
    networks = plan_networks(topology, fixed, observed, setting)
    nodes = plan_nodes((topology, base or topology), tag, networks, catalogue, setting)
    plan = Plan(lab, topology.name, owner, name, setting.folders(lab, seat), networks, nodes, (), golden)
    return replace(plan, actions=converge(plan, observed))


def plan_networks(topology: Topology, base: Tag, observed: Observed, setting: Setting) -> tuple[PlannedNetwork, ...]:
    """Return the libvirt networks of a lab: those of the topology, then management."""
    planned = []
    for member, network in topology.networks.items():
        kind = NetworkKind.INTERNET if isinstance(network, Internet) else NetworkKind.SEGMENT
        planned.append(plan_network(member, kind, base, observed, setting))
    planned.append(plan_network(names.MANAGEMENT, NetworkKind.MANAGEMENT, base, observed, setting))
    return tuple(planned)


def plan_network(member: str, kind: NetworkKind, base: Tag, observed: Observed, setting: Setting) -> PlannedNetwork:
    """Return one libvirt network; an `internet` one keeps the subnet that it already has."""
    name = f"{setting.prefix}{base.lab}.{member}"
    subnet = pick_subnet(name, observed) if kind is NetworkKind.INTERNET else ""
    spec = names.digest(RENDER_VERSION, kind, subnet)[:16]
    return PlannedNetwork(
        member=member, name=name, uuid=names.object_uuid(name), bridge=names.bridge_name(name), kind=kind,
        subnet=subnet, tag=replace(base, member=member, spec=spec),
    )  # fmt: skip


def pick_subnet(name: str, observed: Observed) -> str:
    """Return the NAT subnet of a network: its own if it exists and is ours, else a free one of the pool."""
    for seen in observed.networks:
        if seen.name == name and seen.tag and seen.subnet:
            return str(seen.subnet)
    taken = [*(seen.subnet for seen in observed.networks if seen.subnet), *observed.routes]
    subnet = names.internet_subnet(name, [other for other in taken if other.prefixlen > 0])
    if subnet is None:
        raise Refused(
            _("no free subnet is left in {pool} for the network {name}").format(pool=names.INTERNET_POOL, name=name),
            hint="labctl status",
        )
    return str(subnet)


def plan_nodes(
    topologies: tuple[Topology, Topology],
    base: Tag,
    networks: tuple[PlannedNetwork, ...],
    catalogue: Catalogue,
    setting: Setting,
) -> tuple[PlannedNode, ...]:
    """Return the machines of a lab in the topology's order. `topologies` are the lab's and that of its golden lab."""
    topology, golden = topologies
    pairs = [(node, name) for node, spec in topology.nodes.items() for name in (*spec.interfaces, names.MANAGEMENT)]
    lab = LabFacts(
        topology, catalogue, setting, base, names.mac_addresses(topology.name, pairs), plan_waves(topology.nodes),
        bridge=networks[-1].bridge, golden=golden,
    )  # fmt: skip
    return tuple(plan_node(member, lab) for member in topology.nodes)


@dataclass(frozen=True)
class LabFacts:
    """What all machines of one lab share while they are planned."""

    topology: Topology
    catalogue: Catalogue
    setting: Setting
    base: Tag
    macs: Mapping[tuple[str, str], str]
    waves: Mapping[str, int]
    bridge: str
    golden: Topology


def plan_waves(nodes: Mapping[str, Node]) -> Mapping[str, int]:
    """Return for each node how deep its chain of `after` goes; the topology has no cycle, loading made sure."""
    waves: dict[str, int] = {}

    def depth(member: str) -> int:
        if member not in waves:
            waves[member] = 1 + max((depth(other) for other in nodes[member].after), default=-1)
        return waves[member]

    for member in nodes:
        depth(member)
    return waves


def plan_node(member: str, lab: LabFacts) -> PlannedNode:
    """Return one machine with everything that its XML and identity need."""
    node = lab.topology.nodes[member]
    name = f"{lab.setting.prefix}{lab.base.seat_name}.{member}"
    interfaces = tuple(
        plan_interface(lab.topology, key, interface, lab.macs[member, key])
        for key, interface in node.interfaces.items()
    )
    management = PlannedInterface(names.MANAGEMENT, names.MANAGEMENT, lab.macs[member, names.MANAGEMENT], "none")
    facts = lab.catalogue.images[node.image]
    packages: set[str] = set()
    if facts.system is System.DEBIAN:  # what was given is used as it is
        packages.update(*(lab.catalogue.services[service].packages_for(node.image) for service in node.services))
        packages.update(DISK_TOOLS if node.disks else ())
    planned = PlannedNode(
        member=member, name=name, uuid=names.object_uuid(name),
        image=PlannedImage(node.image, tuple(sorted(packages))),
        memory=node.memory, cpus=node.cpus, disk=node.disk, interfaces=interfaces,
        routes=plan_routes(lab.topology, node), nameservers=tuple(str(server) for server in node.nameservers),
        search=node.search or "", services=node.services, wave=lab.waves[member], management=management,
        address=f"{names.link_local(management.mac)}%{lab.bridge}", tag=lab.base,
        system=facts.system, hardware=facts.hardware, disks={**facts.hardware.disks, **node.disks},
    )  # fmt: skip
    spec, configured = machine_hash(planned), services_hash(node.services, lab.setting)
    tag = replace(
        lab.base, member=member, spec=spec, configured=configured, address=planned.address,
        answers=ANSWERS.get(facts.system, ""),
    )  # fmt: skip
    golden = lab.golden.nodes[member].services if member in lab.golden.nodes else node.services
    varied = tuple(service for service, given in node.services.items() if given != golden.get(service))
    return replace(planned, tag=tag, varied=varied, unvaried=services_hash(golden, lab.setting) if varied else "")


def plan_interface(topology: Topology, name: str, interface: Interface, mac: str) -> PlannedInterface:
    """Return one network card."""
    network = topology.networks[interface.network]
    prefix = network.cidr.prefixlen if isinstance(network, Segment) else None
    gateway = str(interface.gateway) if interface.gateway else ""
    return PlannedInterface(name, interface.network, mac, str(interface.address), prefix, gateway)


def plan_routes(topology: Topology, node: Node) -> tuple[PlannedRoute, ...]:
    """Return the static routes of a node, each with the interface that reaches its router."""
    routes = []
    for route in node.routes:
        for name, interface in node.interfaces.items():
            network = topology.networks[interface.network]
            if isinstance(network, Segment) and route.via in IPv4Network(network.cidr):
                routes.append(PlannedRoute(str(route.to), str(route.via), name))
                break
    return tuple(routes)


def machine_hash(node: PlannedNode) -> str:
    """Return the hash of all that a new overlay or another XML would be needed for."""
    parts = (node.image.key, node.memory, node.cpus, node.disk, node.interfaces, node.routes, node.nameservers)
    # Written only where they are not the common ones: labs of before these were told apart are not made anew.
    hardware = (repr(node.hardware),) if node.hardware != COMMON else ()
    disks = (repr(tuple(node.disks.items())),) if node.disks else ()
    return names.digest(RENDER_VERSION, repr((*parts, node.search, node.management, *hardware, *disks)))[:16]


def services_hash(given: Mapping[str, Mapping[str, JsonValue]], setting: Setting) -> str:
    """Return the hash of all that the playbooks make of a node with these services."""
    services = json.dumps(given, sort_keys=True, default=dict)
    return names.digest(roles_hash(given, setting), services)[:16]


def roles_hash(services: Iterable[str], setting: Setting) -> str:
    """Return the hash of the roles of services."""
    return names.digest(*(f"{service} {setting.roles.get(service, '')}" for service in sorted(set(services))))
