"""The address plan of a topology: networks that overlap, addresses and routers that cannot be reached."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from labctl.language import _
from labctl.topology.gateway_meaning import virtual_holders
from labctl.topology.model import Interface, Node, Segment
from labctl.topology.parts import Parts
from labctl.topology.problems import Finding, Steps, plain_key

WIDEST = 8  # prefix lengths of a segment; /31 and /32 have no room for a broadcast address
NARROWEST = 30

Holders = dict[tuple[str, IPv4Address], tuple[str, str]]  # (network, address) → (node, interface)


def address_findings(parts: Parts) -> Iterator[Finding]:
    """Yield every problem of the address plan."""
    yield from network_findings(parts)
    holders: Holders = {}
    for name, node in parts.nodes.items():
        for card, interface in node.interfaces.items():
            steps: Steps = ("nodes", name, "interfaces", card, "address")
            yield from interface_findings(interface, parts, steps)
            if not isinstance(interface.address, IPv4Address):
                continue
            holder = holders.setdefault((interface.network, interface.address), (name, card))
            if holder != (name, card):
                text = _("{address}, which nodes.{node}.interfaces.{card} has")
                found = text.format(address=interface.address, node=plain_key(holder[0]), card=plain_key(holder[1]))
                yield Finding(steps, _("an address of its own"), found)
    for network, address, name, card in virtual_holders(parts):
        holders.setdefault((network, address), (name, card))
    for name, node in parts.nodes.items():
        yield from gateway_findings(name, node, parts, holders)
        yield from route_findings(name, node, parts, holders)


def segments(parts: Parts) -> dict[str, IPv4Network]:
    """Return the readable segments' addresses by name."""
    return {name: network.cidr for name, network in parts.networks.items() if isinstance(network, Segment)}


def network_findings(parts: Parts) -> Iterator[Finding]:
    """Yield segments that overlap, or whose addresses machines cannot have."""
    known = segments(parts)
    for name, cidr in known.items():
        steps: Steps = ("networks", name, "cidr")
        if not WIDEST <= cidr.prefixlen <= NARROWEST:
            text = _("a prefix length from {least} to {most}").format(least=WIDEST, most=NARROWEST)
            yield Finding(steps, text, f"/{cidr.prefixlen}")
        elif cidr.is_multicast or cidr.is_loopback or cidr.is_link_local or cidr.is_reserved or cidr.is_unspecified:
            yield Finding(steps, _("addresses that machines can have"), str(cidr))
    for one, other in overlaps(known):
        text = _("{cidr}, which overlaps networks.{name} ({other})")
        found = text.format(cidr=known[other], name=plain_key(one), other=known[one])
        yield Finding(("networks", other, "cidr"), _("addresses of its own"), found)


def overlaps(known: Mapping[str, IPv4Network]) -> Iterator[tuple[str, str]]:
    """Yield for each network inside another one the pair of names, that which comes first in the file first.

    Two networks overlap only where one holds the other, so that in the order of addresses a network
    needs to be compared only with those that are still open.
    """
    order = {name: position for position, name in enumerate(known)}
    around: list[str] = []
    for name in sorted(known, key=lambda one: (known[one].network_address, known[one].prefixlen, order[one])):
        while around and not known[around[-1]].overlaps(known[name]):
            around.pop()
        if around:
            one, other = sorted((around[-1], name), key=order.__getitem__)
            yield one, other
        around.append(name)


def interface_findings(interface: Interface, parts: Parts, steps: Steps) -> Iterator[Finding]:
    """Yield what is wrong with the address of one card; `steps` leads to the address."""
    address = interface.address
    network = parts.networks.get(interface.network)
    if network is None or not isinstance(address, IPv4Address):
        return
    if not isinstance(network, Segment):
        text = _('dhcp or none on the network "{network}" of kind internet').format(network=interface.network)
        yield Finding(steps, text, str(address))
    elif address not in network.cidr:
        text = _('an address of the network "{network}" ({cidr})')
        yield Finding(steps, text.format(network=interface.network, cidr=network.cidr), str(address))
    elif address in (network.cidr.network_address, network.cidr.broadcast_address):
        first, last = network.cidr[1], network.cidr[-2]
        text = _("an address from {first} to {last}").format(first=first, last=last)
        kind = _("the network's own address") if address < first else _("its broadcast address")
        yield Finding(steps, text, f"{address}, {kind}")


def gateway_findings(name: str, node: Node, parts: Parts, holders: Holders) -> Iterator[Finding]:
    """Yield default gateways that are several, not on the card's network, or held by nobody else."""
    first = ""
    for card, interface in node.interfaces.items():
        steps: Steps = ("nodes", name, "interfaces", card, "gateway")
        if interface.gateway is None:
            continue
        if first:
            text = _("{gateway}, after that of interfaces.{card}").format(gateway=interface.gateway, card=first)
            yield Finding(steps, _("one default gateway on a node"), text)
        first = first or card
        if not isinstance(interface.address, IPv4Address):
            text = _("{gateway} beside {address}").format(gateway=interface.gateway, address=interface.address)
            yield Finding(steps, _("a gateway only beside a fixed address"), text)
            continue
        network = parts.networks.get(interface.network)
        if not isinstance(network, Segment):
            continue
        if interface.gateway not in network.cidr:
            text = _('an address of the network "{network}" ({cidr})')
            yield Finding(steps, text.format(network=interface.network, cidr=network.cidr), str(interface.gateway))
        else:
            yield from router_findings(steps, interface.gateway, (name, interface.network), parts, holders)


def route_findings(name: str, node: Node, parts: Parts, holders: Holders) -> Iterator[Finding]:
    """Yield routes over a router that is on no network of the node, or that nobody is; destinations given twice."""
    known = segments(parts)
    connected = {
        one.network: known[one.network]
        for one in node.interfaces.values()
        if isinstance(one.address, IPv4Address) and one.network in known
    }
    unknown = parts.whole is False and len(connected) < len(node.interfaces)
    seen: set[IPv4Network] = set()
    for position, route in enumerate(node.routes):
        steps: Steps = ("nodes", name, "routes", position)
        if route.to in seen:
            yield Finding((*steps, "to"), _("each destination once"), str(route.to))
        seen.add(route.to)
        near = [network for network, cidr in connected.items() if route.via in cidr]
        if near:
            yield from router_findings((*steps, "via"), route.via, (name, near[0]), parts, holders)
        elif not unknown:
            names = ", ".join(f"{network} {cidr}" for network, cidr in connected.items()) or _("none")
            text = _("an address on a network of this node ({names})").format(names=names)
            yield Finding((*steps, "via"), text, str(route.via))
    for card, interface in node.interfaces.items():
        if interface.gateway is not None and IPv4Network("0.0.0.0/0") in seen:
            text = _("{gateway} beside a route to 0.0.0.0/0").format(gateway=interface.gateway)
            yield Finding(("nodes", name, "interfaces", card, "gateway"), _("one default gateway on a node"), text)


def router_findings(
    steps: Steps, router: IPv4Address, place: tuple[str, str], parts: Parts, holders: Holders
) -> Iterator[Finding]:
    """Yield a router that no node holds, or that is the node itself; `place` is the node and the network."""
    node, network = place
    holder = holders.get((network, router))
    if holder is None and parts.whole:
        yield Finding(steps, _('an address that a node holds on "{network}"').format(network=network), str(router))
    elif holder is not None and holder[0] == node:
        yield Finding(steps, _("another node"), _("{address}, the node itself").format(address=router))
