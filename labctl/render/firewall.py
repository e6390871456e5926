"""Renders what OPNsense and pfSense read alike in config.xml: cards, gateways, routes, address translation, rules."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from labctl.errors import LabctlError
from labctl.language import _
from labctl.plan.model import PlannedInterface, PlannedNode
from labctl.plan.names import link_local
from labctl.topology.hardware import CardModel

# How FreeBSD names the cards of each model: vtnet(4), em(4), re(4), vmx(4).
DRIVERS = {
    CardModel.VIRTIO: "vtnet", CardModel.E1000E: "em", CardModel.E1000: "em", CardModel.RTL8139: "re",
    CardModel.VMXNET3: "vmx",
}  # fmt: skip
SELF = "(self)"  # the firewall itself, on whatever address
GREATEST = 254  # priority of VRRP; CARP counts the other way round, advskew(4) from 0
RECORDS = frozenset({"A", "AAAA"})  # what Unbound's host overrides hold
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class GatewaySecrets:
    """What the routers of one lab share: the tunnel's own key, the public keys by node, the password of CARP."""

    private_key: str = field(repr=False)
    public_keys: Mapping[str, str]
    password: str = field(repr=False)


@dataclass(frozen=True)
class Credentials:
    """What only labctl and this firewall know. Hashes are those of crypt(3); certificate and key are PEM texts.

    A clone has those of its golden lab: they are in its memory, and no other lab reaches its link.
    """

    password_hash: str
    api_key: str
    api_secret_hash: str
    certificate: str
    private_key: str
    gateway: GatewaySecrets


@dataclass(frozen=True)
class Port:
    """One card of the firewall: its key in config.xml, its name for FreeBSD, and the planned interface.

    A tunnel is one too: `behind` are the networks that it leads to.
    """

    key: str
    device: str
    planned: PlannedInterface
    behind: tuple[str, ...] = ()

    @property
    def network(self) -> IPv4Network | None:
        """Return the network that it stands in, None where its address is not fixed."""
        if self.planned.prefix is None or self.planned.address in {"dhcp", "none"}:
            return None
        return IPv4Interface(f"{self.planned.address}/{self.planned.prefix}").network

    @property
    def targets(self) -> tuple[str, ...]:
        """Return what a rule names to mean all that the card leads to."""
        return (self.key, *self.behind)


def put(parent: Element, **texts: str | int | None) -> None:
    """Add one element for each text; None is left out."""
    for name, text in texts.items():
        if text is not None:
            SubElement(parent, name).text = str(text)


def refuse_foreign(node: PlannedNode, system: str) -> None:
    """Raise LabctlError where a service asks for what labctl cannot write for a system: nothing is left out unsaid."""
    if foreign := [*find_foreign(node.services)]:
        text = _("{node}: labctl cannot configure this on {system}: {names}")
        hint = _("leave it out, or give the service to a Debian machine")
        raise LabctlError(text.format(node=node.member, system=system, names=", ".join(foreign)), hint=hint)


def find_foreign(services: Mapping[str, Parameters]) -> Iterator[str]:
    """Yield what the services ask for and config.xml is not given: nothing is left out without a word."""
    dns, dhcp = services.get("dns", {}), services.get("dhcp", {})
    for zone in dns.get("zones", ()):
        for record in zone["records"]:
            if record.get("type", "A") not in RECORDS:
                yield f"{record['name']}.{zone['name']} {record['type']}"
    yield from (name for name in ("forwarders", "recursion") if dns.get(name))
    if any(subnet.get("reservations") for subnet in dhcp.get("subnets", ())):
        yield "reservations"


def add_certificate(root: Element, own: Credentials) -> None:
    """Add the web server's certificate: labctl made it, so its client knows which one must answer."""
    texts = {"crt": own.certificate, "prv": own.private_key}
    certificate = SubElement(root, "cert")
    put(certificate, refid="labctl", descr="labctl")
    put(certificate, **{name: base64.b64encode(text.encode()).decode() for name, text in texts.items()})


def section(root: Element, name: str) -> Element:
    """Return the one element of a name below the root, made where there is none."""
    found = root.find(name)
    return SubElement(root, name) if found is None else found


def name_ports(node: PlannedNode) -> tuple[Port, ...]:
    """Return the cards in the order of their slots: management first, then those of the topology.

    OPNsense calls the outside wan, the first inner one lan, the others opt1, opt2…
    """
    outside = str(node.services.get("router_firewall", {}).get("outside", ""))
    driver = DRIVERS[node.hardware.card]
    inner = iter(["lan", *(f"opt{number}" for number in range(1, len(node.interfaces) + 2))])
    keys = ["wan" if card.name == outside else next(inner) for card in node.interfaces]
    keys.insert(0, next(inner))
    cards = (node.management, *node.interfaces)
    ports = [Port(key, f"{driver}{slot}", card) for slot, (key, card) in enumerate(zip(keys, cards, strict=True))]
    if "vpn_gateway" in node.services:
        tunnel, behind = plan_tunnel(node.services["vpn_gateway"])
        ports.append(Port(next(inner), tunnel.name, tunnel, behind))
    return tuple(ports)


def add_interfaces(root: Element, ports: Sequence[Port]) -> None:
    """Add the cards. Management has its link-local address only, the one that labctl derives from the MAC."""
    parent = SubElement(root, "interfaces")
    for port in ports:
        card = SubElement(parent, port.key)
        SubElement(card, "if").text = port.device
        put(card, enable="1", descr=port.planned.name)
        if port.behind:
            continue  # WireGuard gives it its address
        if port is ports[0]:
            put(card, ipaddrv6=link_local(port.planned.mac), subnetv6="64")
        elif port.planned.address == "dhcp":
            put(card, ipaddr="dhcp")
        elif port.planned.address != "none":
            put(card, ipaddr=port.planned.address, subnet=port.planned.prefix)
            put(card, gateway=gateway_name(port) if port.planned.gateway else None)


def gateway_name(port: Port) -> str:
    """Return how a card's default gateway is called."""
    return f"GW_{port.key.upper()}"


def add_routes(root: Element, node: PlannedNode, ports: Sequence[Port], default: str | None = None) -> None:
    """Add gateways and static routes. `default` marks the default gateway where the system wants it there."""
    by_name = {port.planned.name: port for port in ports}
    found: list[tuple[str, Port, str, str | None]] = [
        (gateway_name(port), port, port.planned.gateway, default) for port in ports if port.planned.gateway
    ]
    routes = [(f"R{number}", route) for number, route in enumerate(node.routes, 1)]
    found += [(name, by_name[route.interface], route.via, None) for name, route in routes]
    if found:
        parent = SubElement(root, "gateways")
        for name, port, address, mark in found:
            put(
                SubElement(parent, "gateway_item"), name=name, interface=port.key, ipprotocol="inet", gateway=address,
                monitor_disable="1", defaultgw=mark,
            )  # fmt: skip
    if routes:
        parent = SubElement(root, "staticroutes")
        for name, route in routes:
            put(SubElement(parent, "route"), network=route.to, gateway=name)


def add_nat(root: Element, ports: Sequence[Port], firewall: Parameters) -> None:
    """Add address translation to the outside, and what is published from there."""
    nat = SubElement(root, "nat")
    outside = any(port.key == "wan" for port in ports)
    translated = outside and firewall.get("masquerade", True)
    put(SubElement(nat, "outbound"), mode="automatic" if translated else "disabled")
    for published in firewall.get("publications", ()) if outside else ():
        rule = SubElement(nat, "rule")
        put(
            rule, interface="wan", ipprotocol="inet", protocol=published.get("protocol", "tcp"),
            target=published["to"], descr=published["description"],
        )  # fmt: skip
        SubElement(SubElement(rule, "source"), "any").text = "1"
        put(SubElement(rule, "destination"), network="wanip", port=published["port"])
        SubElement(rule, "local-port").text = str(published.get("to_port") or published["port"])
        SubElement(rule, "associated-rule-id").text = "pass"


@dataclass(frozen=True)
class Match:
    """What a rule is about. `target` is an address, the key of a card's network, `(self)` or empty for any."""

    protocol: str | None = None
    source: str = ""
    target: str = ""
    port: str | int | None = None
    family: str = "inet"


def management_rules(ports: Sequence[Port]) -> Iterator[Element]:
    """Yield what labctl needs of the firewall: SSH and the API on its own link, which leads nowhere else."""
    for number in ("22", "443"):
        yield rule_of(ports[0].key, "pass", "labctl", Match("tcp", target=SELF, port=number, family="inet6"))
    yield rule_of(ports[0].key, "block", "labctl", Match(family="inet6"))


def firewall_rules(ports: Sequence[Port], firewall: Parameters) -> Iterator[Element]:
    """Yield the rules of the flows. pf stops at the first that matches, and refuses what no rule lets pass."""
    keys = {port.planned.name: port for port in ports}
    for name in firewall.get("ping_from", ()):
        yield rule_of(keys[name].key, "pass", "ping", Match("icmp", target=SELF))
    for flow in firewall.get("local", ()):
        yield from flow_rules(keys[flow["from"]], flow, SELF)
    outward = []
    for flow in firewall.get("flows", ()):
        destination = keys[flow["to"]]
        if destination.network is None and not flow.get("destination"):
            outward.append(flow)
        else:
            for target in (flow["destination"],) if flow.get("destination") else destination.targets:
                yield from flow_rules(keys[flow["from"]], flow, target)
    yield from outward_rules(ports, keys, outward, log=bool(firewall.get("log_drops", True)))


def outward_rules(
    ports: Sequence[Port], keys: Mapping[str, Port], flows: Sequence[Parameters], *, log: bool
) -> Iterator[Element]:
    """Yield flows to anywhere outside: first what is inside, the firewall too, is refused to those that have one."""
    for source in dict.fromkeys(keys[flow["from"]].key for flow in flows):
        inside = [target for port in ports[1:] if port.key not in {"wan", source} for target in port.targets]
        for target in (SELF, *inside):
            yield rule_of(source, "block", "labctl", Match(target=target), log=log)
    for flow in flows:
        yield from flow_rules(keys[flow["from"]], flow, "")


def flow_rules(port: Port, flow: Parameters, target: str) -> Iterator[Element]:
    """Yield one rule for each port of a flow: config.xml takes several only as an alias."""
    protocol = {"tcp_udp": "tcp/udp", "any": None}.get(flow["protocol"], flow["protocol"])
    for number in flow.get("ports") or (None,):
        match = Match(protocol, flow.get("source") or "", target, number)
        yield rule_of(port.key, "pass", flow["description"], match)


def rule_of(interface: str, kind: str, words: str, match: Match, *, log: bool = False) -> Element:
    """Return one rule for what comes in by a card."""
    rule = Element("rule")
    put(
        rule, type=kind, interface=interface, ipprotocol=match.family, descr=" ".join(words.split()),
        protocol=match.protocol, icmptype="echoreq" if match.protocol == "icmp" else None, log="1" if log else None,
    )  # fmt: skip
    add_end(rule, "source", match.source)
    put(add_end(rule, "destination", match.target), port=match.port)
    return rule


def add_end(rule: Element, name: str, value: str) -> Element:
    """Add the source or destination of a rule and return it."""
    end = SubElement(rule, name)
    if not value:
        SubElement(end, "any").text = "1"
    else:
        put(end, **{"address" if value[0].isdigit() else "network": value})
    return end


def plan_tunnel(vpn: Parameters) -> tuple[PlannedInterface, tuple[str, ...]]:
    """Return a tunnel as an interface, and the networks behind it."""
    own = IPv4Interface(vpn["address"])
    name = vpn.get("interface", "wg0")
    behind = tuple(network for peer in vpn["peers"] for network in peer["networks"])
    return PlannedInterface(name, name, "", str(own.ip), own.network.prefixlen), behind


def add_virtual_addresses(root: Element, ports: Sequence[Port], shared: Parameters, password: str) -> None:
    """Add the addresses that routers share, by CARP: the one that waits the least between announcements holds them."""
    parent = SubElement(root, "virtualip")
    by_name = {port.planned.name: port for port in ports}
    for one in shared["addresses"]:
        port = by_name[one["interface"]]
        put(
            SubElement(parent, "vip"), interface=port.key, mode="carp", subnet=one["address"],
            subnet_bits=port.planned.prefix, password=password, vhid=one["id"], advbase="1",
            advskew=GREATEST - one["priority"], descr=f"CARP {one['id']}",
        )  # fmt: skip
