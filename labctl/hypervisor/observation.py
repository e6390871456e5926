"""What libvirt lists to the observed domains and networks, in as few calls as it allows."""

from ipaddress import IPv4Network
from xml.etree import ElementTree

import libvirt

from labctl.hypervisor.binding import Connection, Handle
from labctl.hypervisor.failure import is_missing
from labctl.hypervisor.states import read_state
from labctl.plan.observed import SeenDomain, SeenNetwork
from labctl.render.tag import find_tag


def read_domains(connection: Connection, start: str = "") -> tuple[SeenDomain, ...]:
    """Return the domains whose names start so, by name.

    One call for the list, one for the states, one for the XML of each. Only the list grows with what others have.
    """
    wanted = [domain for domain in connection.listAllDomains() if domain.name().startswith(start)]
    stats = connection.domainListGetStats(wanted, libvirt.VIR_DOMAIN_STATS_STATE) if wanted else []
    seen = (_read_domain(domain, values) for domain, values in stats)
    return tuple(sorted((domain for domain in seen if domain is not None), key=lambda domain: domain.name))


def _read_domain(domain: Handle, values: dict[str, int]) -> SeenDomain | None:
    document = _document(domain)
    if document is None:
        return None
    state, reason = read_state(values.get("state.state", 0), values.get("state.reason", 0))
    root = ElementTree.fromstring(document)
    return SeenDomain(
        name=domain.name(),
        uuid=domain.UUIDString(),
        state=state,
        reason=reason,
        tag=find_tag(root),
        disks=tuple(source.attrib["file"] for source in root.iterfind("./devices/disk/source[@file]")),
    )


def read_networks(connection: Connection, start: str = "") -> tuple[SeenNetwork, ...]:
    """Return the networks whose names start so, and all inactive ones, by name.

    Two calls for the list, one for the XML of each.
    """
    inactive = {network.name() for network in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_INACTIVE)}
    listed = ((network, network.name()) for network in connection.listAllNetworks())
    wanted = ((network, name) for network, name in listed if name.startswith(start) or name in inactive)
    seen = (_read_network(network, name not in inactive) for network, name in wanted)
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
        tag=find_tag(root),
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
