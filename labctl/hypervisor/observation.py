"""What libvirt lists to the observed domains and networks, in as few calls as it allows."""

from ipaddress import IPv4Network
from xml.etree import ElementTree

import libvirt

from labctl.hypervisor.binding import Connection, Handle
from labctl.hypervisor.failure import is_missing
from labctl.hypervisor.states import read_state
from labctl.plan.observed import SeenDomain, SeenNetwork
from labctl.render.tag import parse_tag


def read_domains(connection: Connection, start: str = "") -> tuple[SeenDomain, ...]:
    """Return the domains whose names start so, by name: one call for the states of all, one for the XML of each."""
    stats = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
    seen = (_read_domain(domain, values) for domain, values in stats if domain.name().startswith(start))
    return tuple(sorted((domain for domain in seen if domain is not None), key=lambda domain: domain.name))


def _read_domain(domain: Handle, values: dict[str, int]) -> SeenDomain | None:
    document = _document(domain)
    if document is None:
        return None
    state, reason = read_state(values.get("state.state", 0), values.get("state.reason", 0))
    sources = ElementTree.fromstring(document).iterfind("./devices/disk/source[@file]")
    return SeenDomain(
        name=domain.name(),
        uuid=domain.UUIDString(),
        state=state,
        reason=reason,
        tag=parse_tag(document),
        disks=tuple(source.attrib["file"] for source in sources),
    )


def read_networks(connection: Connection, start: str = "") -> tuple[SeenNetwork, ...]:
    """Return the networks whose names start so, and all inactive ones, by name.

    Two calls for the list, one for the XML of each.
    """
    active = {network.UUID() for network in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)}
    listed = ((network, network.UUID() in active) for network in connection.listAllNetworks())
    seen = (_read_network(network, runs) for network, runs in listed if not runs or network.name().startswith(start))
    return tuple(sorted((network for network in seen if network is not None), key=lambda network: network.name))


def _read_network(network: Handle, active: bool) -> SeenNetwork | None:
    document = _document(network)
    if document is None:
        return None
    root = ElementTree.fromstring(document)
    bridge = root.find("bridge")
    return SeenNetwork(
        name=network.name(),
        uuid=network.UUIDString(),
        bridge="" if bridge is None else bridge.get("name", ""),
        active=active,
        tag=parse_tag(document),
        subnet=_subnet(root),
    )


def _subnet(root: ElementTree.Element) -> IPv4Network | None:
    for element in root.iterfind("ip"):
        if element.get("family", "ipv4") == "ipv4" and "address" in element.attrib:
            mask = element.get("netmask") or element.get("prefix") or "32"
            return IPv4Network(f"{element.attrib['address']}/{mask}", strict=False)
    return None


def _document(handle: Handle) -> str | None:
    """Return the XML, None for what somebody removed since it was listed."""
    try:
        return str(handle.XMLDesc())
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return None
        raise
