"""Renders a planned firewall as OPNsense's config.xml: interfaces, rules, NAT, DNS, DHCP and the lab's own keys.

Elements: `elements/opnsense.yml`, with the file of opnsense/core that reads each.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Any
from xml.etree import ElementTree
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
RECORDS = frozenset({"A", "AAAA"})  # what Unbound's host overrides hold
DHCP_OPTIONS = {"router": "3", "dns-server": "6", "domain-name": "15"}  # RFC 2132
Parameters = Mapping[str, Any]


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


@dataclass(frozen=True)
class Port:
    """One card of the firewall: its key in config.xml, its name for FreeBSD, and the planned interface."""

    key: str
    device: str
    planned: PlannedInterface

    @property
    def network(self) -> IPv4Network | None:
        """Return the network that it stands in, None where its address is not fixed."""
        if self.planned.prefix is None or self.planned.address in {"dhcp", "none"}:
            return None
        return IPv4Interface(f"{self.planned.address}/{self.planned.prefix}").network


def render_config(node: PlannedNode, own: Credentials) -> str:
    """Return config.xml of a firewall. Its services are those that the recipe says it can have.

    Raises LabctlError where a service asks for what labctl cannot write for it.
    """
    if foreign := [*find_foreign(node.services)]:
        text = _("{node}: labctl cannot configure this on OPNsense: {names}")
        hint = _("leave it out, or give the service to a Debian machine")
        raise LabctlError(text.format(node=node.member, names=", ".join(foreign)), hint=hint)
    root = Element("opnsense")
    ports = name_ports(node)
    firewall: Parameters = node.services.get("router_firewall", {})
    add_system(root, node, own)
    add_certificate(root, own)
    add_interfaces(root, ports)
    add_routes(root, node, ports)
    add_nat(root, ports, firewall)
    rules = SubElement(root, "filter")
    for rule in (*management_rules(ports), *firewall_rules(ports, firewall)):
        rules.append(rule)
    if "dns" in node.services:
        add_dns(root, ports, node.services["dns"])
    if "dhcp" in node.services:
        add_dhcp(root, ports, node.services["dhcp"])
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


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
    return tuple(Port(key, f"{driver}{slot}", card) for slot, (key, card) in enumerate(zip(keys, cards, strict=True)))


def put(parent: Element, **texts: str | int | None) -> None:
    """Add one element for each text; None is left out."""
    for name, text in texts.items():
        if text is not None:
            SubElement(parent, name).text = str(text)


def add_system(root: Element, node: PlannedNode, own: Credentials) -> None:
    """Add the names, the account of labctl, the web server and SSH; hardware offloads are off, for virtual cards."""
    system = SubElement(root, "system")
    put(
        system, hostname=node.member, domain=node.search or "lab.internal", timezone="Europe/Paris",
        disablenatreflection="yes", usevirtualterminal="1", primaryconsole="serial", serialspeed="115200",
        disablechecksumoffloading="1", disablesegmentationoffloading="1", disablelargereceiveoffloading="1",
        disablevlanhwfilter="1",
    )  # fmt: skip
    for server in node.nameservers:
        put(system, dnsserver=server)
    group = SubElement(system, "group")
    put(group, name="admins", description="System Administrators", scope="system", gid="1999", member="0")
    put(group, priv="page-all")
    user = SubElement(system, "user")
    put(
        user, name="root", descr="System Administrator", scope="system", groupname="admins", uid="0",
        password=own.password_hash,
    )  # fmt: skip
    put(SubElement(SubElement(user, "apikeys"), "item"), key=own.api_key, secret=own.api_secret_hash)
    web = SubElement(system, "webgui")
    put(web, protocol="https", noantilockout="1")
    SubElement(web, "ssl-certref").text = "labctl"
    put(SubElement(system, "ssh"), enabled="enabled", permitrootlogin="1", group="admins")


def add_certificate(root: Element, own: Credentials) -> None:
    """Add the web server's certificate: labctl made it, so its client knows which one must answer."""
    texts = {"crt": own.certificate, "prv": own.private_key}
    certificate = SubElement(root, "cert")
    put(certificate, refid="labctl", descr="labctl")
    put(certificate, **{name: base64.b64encode(text.encode()).decode() for name, text in texts.items()})


def add_interfaces(root: Element, ports: Sequence[Port]) -> None:
    """Add the cards. Management has its link-local address only, the one that labctl derives from the MAC."""
    parent = SubElement(root, "interfaces")
    for port in ports:
        card = SubElement(parent, port.key)
        SubElement(card, "if").text = port.device
        put(card, enable="1", descr=port.planned.name)
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


def add_routes(root: Element, node: PlannedNode, ports: Sequence[Port]) -> None:
    """Add gateways and static routes."""
    by_name = {port.planned.name: port for port in ports}
    found: list[tuple[str, Port, str, str | None]] = [
        (gateway_name(port), port, port.planned.gateway, "1") for port in ports if port.planned.gateway
    ]
    routes = [(f"R{number}", route) for number, route in enumerate(node.routes, 1)]
    found += [(name, by_name[route.interface], route.via, None) for name, route in routes]
    if found:
        parent = SubElement(root, "gateways")
        for name, port, address, default in found:
            put(
                SubElement(parent, "gateway_item"), name=name, interface=port.key, ipprotocol="inet", gateway=address,
                monitor_disable="1", defaultgw=default,
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
            yield from flow_rules(keys[flow["from"]], flow, flow.get("destination") or destination.key)
    yield from outward_rules(ports, keys, outward, log=bool(firewall.get("log_drops", True)))


def outward_rules(
    ports: Sequence[Port], keys: Mapping[str, Port], flows: Sequence[Parameters], *, log: bool
) -> Iterator[Element]:
    """Yield flows to anywhere outside: first what is inside, the firewall too, is refused to those that have one."""
    for source in dict.fromkeys(keys[flow["from"]].key for flow in flows):
        inside = [port.key for port in ports[1:] if port.key not in {"wan", source}]
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


def add_dns(root: Element, ports: Sequence[Port], dns: Parameters) -> None:
    """Add Unbound with the records of the zones; it answers the networks that may ask, and refuses the others."""
    unbound = SubElement(SubElement(root, "OPNsense"), "unboundplus")
    put(SubElement(unbound, "general"), enabled="1", port="53", local_zone_type="static")
    acls = SubElement(unbound, "acls")
    put(acls, default_action="refuse")
    networks = {port.planned.network: port.network for port in ports[1:]}
    for name in dns.get("allow_query", ()):
        put(
            SubElement(acls, "acl"), enabled="1", name=name, action="allow", networks=str(networks.get(name) or name),
        )  # fmt: skip
    hosts = SubElement(unbound, "hosts")
    for zone in dns["zones"]:
        for record in zone["records"]:
            put(
                SubElement(hosts, "host"), enabled="1", hostname="" if record["name"] == "@" else record["name"],
                domain=zone["name"], rr=record.get("type", "A"), server=record["value"],
            )  # fmt: skip


def add_dhcp(root: Element, ports: Sequence[Port], dhcp: Parameters) -> None:
    """Add dnsmasq for DHCP alone (port 0: Unbound answers names)."""
    keys = {port.planned.name: port.key for port in ports}
    subnets = dhcp["subnets"]
    dnsmasq = SubElement(root, "dnsmasq")
    put(dnsmasq, enable="1", port="0", interface=",".join(keys[subnet["interface"]] for subnet in subnets))
    put(SubElement(dnsmasq, "dhcp"), authoritative="1")
    for subnet in subnets:
        key = keys[subnet["interface"]]
        put(
            SubElement(dnsmasq, "dhcp_ranges"), interface=key, start_addr=subnet["first"], end_addr=subnet["last"],
            lease_time=subnet.get("lease_seconds", 3600), domain=subnet.get("domain") or None,
        )  # fmt: skip
        told = {
            "router": subnet.get("gateway", ""), "dns-server": ",".join(subnet.get("nameservers", ())),
            "domain-name": subnet.get("domain", ""),
        }  # fmt: skip
        for name, value in told.items():
            if value:
                put(SubElement(dnsmasq, "dhcp_options"), option=DHCP_OPTIONS[name], interface=key, value=value)
