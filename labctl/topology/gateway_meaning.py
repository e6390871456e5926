"""What tunnels and shared addresses of routers mean together with the rest: their ends, cards and networks."""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TypeVar

from pydantic import JsonValue

from labctl.language import _
from labctl.topology.model import Node, Segment
from labctl.topology.parts import Parts
from labctl.topology.problems import Finding, Steps, listing, nearest, quoted

VPN, ROUTER, SHARED = "vpn_gateway", "router_firewall", "virtual_address"
TUNNEL = re.compile(r"wg[0-9]{1,2}")  # OPNsense numbers its tunnels so; Linux takes any name
IDS, PRIORITIES, PORTS, SECONDS = (1, 255), (1, 254), (1, 65535), (0, 65535)
T = TypeVar("T")
Holder = tuple[str, IPv4Address, str, str]  # network, address, node, card


def gateway_findings(parts: Parts) -> Iterator[Finding]:
    """Yield what is wrong with the tunnels and the shared addresses of nodes."""
    for name, node in parts.nodes.items():
        if VPN in node.services:
            yield from tunnel_findings(name, node, parts)
        if SHARED in node.services:
            yield from shared_findings(name, node, parts)


def tunnel_findings(name: str, node: Node, parts: Parts) -> Iterator[Finding]:
    """Yield what is wrong with the tunnel of a node."""
    given, steps = node.services[VPN], ("nodes", name, "services", VPN)
    if ROUTER not in node.services:
        text = _('the service "{service}" beside it: it routes, and lets flows through the tunnel')
        yield Finding(steps, text.format(service=ROUTER), _("a gateway that does not route"), at_key=True)
    link = given.get("interface", "wg0")
    if isinstance(link, str) and (not TUNNEL.fullmatch(link) or link in node.interfaces):
        yield Finding((*steps, "interface"), _("a name such as wg0, which no card has"), quoted(link))
    yield from range_findings(given, steps, {"port": PORTS})
    own = read_address(given.get("address"))
    if own is None and isinstance(given.get("address"), str):
        yield wrong_address((*steps, "address"), given["address"])
    for position, peer in items(given.get("peers")):
        yield from peer_findings(peer, (*steps, "peers", position), name, own, parts)


def wrong_address(steps: Steps, found: JsonValue) -> Finding:
    """Return the finding about what is no address of a tunnel."""
    return Finding(steps, _("an address with its prefix length, such as 10.255.0.1/30"), quoted(str(found)))


def peer_findings(
    peer: Mapping[str, JsonValue], steps: Steps, name: str, own: IPv4Interface | None, parts: Parts
) -> Iterator[Finding]:
    """Yield what is wrong with the other end of a tunnel."""
    ends = [other for other, node in parts.nodes.items() if VPN in node.services and other != name]
    end = peer.get("node")
    if isinstance(end, str) and end not in ends and (parts.whole or end in parts.nodes):
        text = _('another node with the service "{service}" ({names})')
        expected = text.format(service=VPN, names=listing(ends) or _("none"))
        yield Finding((*steps, "node"), expected, quoted(end), nearest(end, ends))
    yield from range_findings(peer, steps, {"port": PORTS, "keepalive": SECONDS})
    for key in ("address", "endpoint"):
        value = peer.get(key)
        if isinstance(value, str) and value and parse(IPv4Address, value) is None:
            yield Finding((*steps, key), _("an IPv4 address"), quoted(value))
    inner = parse(IPv4Address, peer.get("address"))
    if own and inner and (inner not in own.network or inner == own.ip):
        text = _("another address of the tunnel ({cidr})").format(cidr=own.network)
        yield Finding((*steps, "address"), text, str(inner))
    networks = peer.get("networks")
    for position, network in enumerate(networks if isinstance(networks, list) else []):
        if isinstance(network, str) and ("/" not in network or parse(IPv4Network, network) is None):
            way = (*steps, "networks", position)
            yield Finding(way, _("an IPv4 network such as 192.168.50.0/24"), quoted(network))


def shared_findings(name: str, node: Node, parts: Parts) -> Iterator[Finding]:
    """Yield what is wrong with the shared addresses of a node."""
    steps: Steps = ("nodes", name, "services", SHARED, "addresses")
    held = {
        (card.network, card.address): (owner, key)
        for owner, other in parts.nodes.items()
        for key, card in other.interfaces.items()
    }
    for position, item in items(node.services[SHARED].get("addresses")):
        way: Steps = (*steps, position)
        yield from range_findings(item, way, {"id": IDS, "priority": PRIORITIES})
        card, text = item.get("interface"), item.get("address")
        if not isinstance(card, str) or not isinstance(text, str):
            continue
        interface = node.interfaces.get(card)
        if interface is None or not isinstance(interface.address, IPv4Address):
            fixed = [key for key, one in node.interfaces.items() if isinstance(one.address, IPv4Address)]
            expected = _("a card of the node with a fixed address ({names})").format(names=listing(fixed) or _("none"))
            yield Finding((*way, "interface"), expected, quoted(card), nearest(card, fixed))
            continue
        address, network = parse(IPv4Address, text), parts.networks.get(interface.network)
        if not isinstance(network, Segment):
            continue
        if address is None or address not in network.cidr or address in ends_of(network.cidr):
            expected = _('an address of the network "{network}" ({cidr})')
            wanted = expected.format(network=interface.network, cidr=network.cidr)
            yield Finding((*way, "address"), wanted, quoted(text))
        elif (interface.network, address) in held:
            owner, key = held[interface.network, address]
            said = _("{address}, which nodes.{node}.interfaces.{card} has")
            found = said.format(address=address, node=owner, card=key)
            yield Finding((*way, "address"), _("an address that no card has"), found)


def virtual_holders(parts: Parts) -> Iterator[Holder]:
    """Yield the shared addresses of routers: machines may have them as a gateway, for one router answers."""
    for name, node in parts.nodes.items():
        for _position, item in items(node.services.get(SHARED, {}).get("addresses")):
            card, address = str(item.get("interface")), parse(IPv4Address, item.get("address"))
            if card in node.interfaces and address is not None:
                yield node.interfaces[card].network, address, name, card


def ends_of(cidr: IPv4Network) -> tuple[IPv4Address, IPv4Address]:
    """Return the addresses of a network that no machine can have."""
    return cidr.network_address, cidr.broadcast_address


def items(value: JsonValue) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    """Yield the mappings of a list with their positions; what is no mapping is told where parameters are checked."""
    for position, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield position, item


def range_findings(
    given: Mapping[str, JsonValue], steps: Steps, ranges: Mapping[str, tuple[int, int]]
) -> Iterator[Finding]:
    """Yield numbers that are out of their range."""
    for key, (least, most) in ranges.items():
        number = given.get(key)
        if isinstance(number, int) and not isinstance(number, bool) and not least <= number <= most:
            expected = _("a whole number from {least} to {most}").format(least=least, most=most)
            yield Finding((*steps, key), expected, str(number))


def read_address(value: JsonValue) -> IPv4Interface | None:
    """Return an address with its prefix length, None where it has none."""
    return parse(IPv4Interface, value) if "/" in str(value) else None


def parse(kind: Callable[[str], T], value: JsonValue) -> T | None:
    """Return a value as an address of a kind, None where it is none."""
    try:
        return kind(value) if isinstance(value, str) else None
    except ValueError:
        return None
