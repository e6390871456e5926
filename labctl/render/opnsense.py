"""Renders a planned firewall as OPNsense's config.xml: interfaces, rules, NAT, DNS, DHCP and the lab's own keys.

Elements: `elements/opnsense.yml`, with the file of opnsense/core that reads each.
"""

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from labctl.plan.model import PlannedNode
from labctl.render.firewall import (
    Credentials,
    Parameters,
    Port,
    add_certificate,
    add_interfaces,
    add_nat,
    add_routes,
    add_virtual_addresses,
    firewall_rules,
    management_rules,
    name_ports,
    put,
    refuse_foreign,
    section,
)
from labctl.render.opnsense_gateway import add_wireguard

DHCP_OPTIONS = {"router": "3", "dns-server": "6", "domain-name": "15"}  # RFC 2132


def render_config(node: PlannedNode, own: Credentials) -> str:
    """Return config.xml of a firewall. Its services are those that the recipe says it can have.

    Raises LabctlError where a service asks for what labctl cannot write for it.
    """
    refuse_foreign(node, "OPNsense")
    root = Element("opnsense")
    ports = name_ports(node)
    firewall: Parameters = node.services.get("router_firewall", {})
    add_system(root, node, own)
    add_certificate(root, own)
    add_interfaces(root, ports)
    add_routes(root, node, ports, default="1")
    add_nat(root, ports, firewall)
    rules = SubElement(root, "filter")
    for rule in (*management_rules(ports), *firewall_rules(ports, firewall)):
        rules.append(rule)
    if "vpn_gateway" in node.services:
        add_wireguard(root, node.member, node.services["vpn_gateway"], own.gateway)
    if "virtual_address" in node.services:
        add_virtual_addresses(root, ports, node.services["virtual_address"], own.gateway.password)
    if "dns" in node.services:
        add_dns(root, ports, node.services["dns"])
    if "dhcp" in node.services:
        add_dhcp(root, ports, node.services["dhcp"])
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def add_system(root: Element, node: PlannedNode, own: Credentials) -> None:
    """Add the names, the account of labctl, the web server and SSH; hardware offloads are off, for virtual cards."""
    system = SubElement(root, "system")
    put(
        system, hostname=node.member, domain=node.search or "lab.internal", timezone="Europe/Paris",
        disablenatreflection="yes", ipv6allow="1", usevirtualterminal="1", primaryconsole="serial",
        serialspeed="115200", disablechecksumoffloading="1", disablesegmentationoffloading="1",
        disablelargereceiveoffloading="1", disablevlanhwfilter="1",
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


def add_dns(root: Element, ports: Sequence[Port], dns: Parameters) -> None:
    """Add Unbound with the records of the zones; it answers the networks that may ask, and refuses the others."""
    # The first start moves settings of older versions: Unbound is on afterwards where it was on by the older word.
    put(SubElement(root, "unbound"), enable="1")
    unbound = SubElement(section(root, "OPNsense"), "unboundplus")
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
