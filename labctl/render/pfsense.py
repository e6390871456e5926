"""Renders a planned firewall as pfSense's config.xml, which its External Configuration Locator reads from a disk.

Elements: `elements/pfsense.yml`, with the file of pfsense/pfsense that reads each.
"""

from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from labctl.errors import LabctlError
from labctl.language import _
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
    gateway_name,
    management_rules,
    name_ports,
    put,
    refuse_foreign,
    section,
)

# The format of pfSense 2.7.2: newer versions bring it up to date by themselves (config.lib.inc, convert_config).
FORMAT = "22.9"
# The locator (rc.ecl) would take the medium's configuration at every start, and what students change would be lost.
# This takes its place: it takes a configuration that it has not taken yet, as the hook of an OPNsense does.
LOCATOR = (
    "#!/bin/sh",
    "# labctl",
    "disk=/dev/iso9660/LABCTL",
    "at=/tmp/labctl",
    "[ -c $disk ] || exit 0",
    "mkdir -p $at && mount -t cd9660 -o ro $disk $at || exit 0",
    "if ! cmp -s $at/config.xml /cf/conf/labctl.xml; then",
    "[ -e /cf/conf/labctl.xml ] && cp $at/config.xml /cf/conf/config.xml",
    "cp $at/config.xml /cf/conf/labctl.xml",
    "rm -f /tmp/config.cache",
    "fi",
    "umount $at",
)


def render_config(node: PlannedNode, own: Credentials) -> str:
    """Return config.xml of a firewall. Its services are those that the recipe says it can have.

    Raises LabctlError where a service asks for what labctl cannot write for it. The second line is the root element
    alone: the locator looks for it there.
    """
    refuse_foreign(node, "pfSense")
    ports = name_ports(node)
    if not any(port.key == "wan" for port in ports):
        text = _("{node}: pfSense needs an outside interface: router_firewall.outside names none")
        raise LabctlError(text.format(node=node.member), hint="labctl validate")
    root = Element("pfsense")
    firewall: Parameters = node.services.get("router_firewall", {})
    put(root, version=FORMAT)
    add_system(root, node, own)
    add_certificate(root, own)
    add_interfaces(root, ports)
    add_routes(root, node, ports)
    for port in ports:
        if port.planned.gateway:
            put(section(root, "gateways"), defaultgw4=gateway_name(port))
    add_nat(root, ports, firewall)
    rules = SubElement(root, "filter")
    for rule in (*management_rules(ports), *firewall_rules(ports, firewall)):
        rules.append(rule)
    if "virtual_address" in node.services:
        add_virtual_addresses(root, ports, node.services["virtual_address"], own.gateway.password)
        for number, vip in enumerate(root.iterfind("virtualip/vip"), 1):
            put(vip, type="single", uniqid=f"labctl{number}")
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
        disablenatreflection="yes", ipv6allow="", enableserial="", primaryconsole="serial", serialspeed="115200",
        disablechecksumoffloading="", disablesegmentationoffloading="", disablelargereceiveoffloading="",
        nextuid="2000", nextgid="2000",
    )  # fmt: skip
    for server in node.nameservers:
        put(system, dnsserver=server)
    group = SubElement(system, "group")
    put(group, name="admins", description="System Administrators", scope="system", gid="1999", member="0")
    put(group, priv="page-all")
    user = SubElement(system, "user")
    put(user, name="admin", descr="System Administrator", scope="system", uid="0")
    SubElement(user, "bcrypt-hash").text = own.password_hash
    put(user, priv="user-shell-access")
    web = SubElement(system, "webgui")
    put(web, protocol="https", noantilockout="")
    SubElement(web, "ssl-certref").text = "labctl"
    put(SubElement(system, "ssh"), enable="enabled")
    lines = " ".join(f"'{line}'" for line in LOCATOR)
    put(
        system,
        earlyshellcmd=f"grep -q '^# labctl$' /etc/rc.ecl || {{ printf '%s\\n' {lines} > /etc/rc.ecl; /etc/rc.ecl; }}",
    )


def add_dns(root: Element, ports: Sequence[Port], dns: Parameters) -> None:
    """Add Unbound with the records of the zones; it listens to those who may ask, and to the firewall itself."""
    unbound = SubElement(root, "unbound")
    by_network = {port.planned.network: port for port in ports[1:]}
    allowed = dns.get("allow_query", ())
    near = [by_network[name].key for name in allowed if name in by_network]
    put(
        unbound, enable="", active_interface=",".join([*near, "lo0"]), outgoing_interface="all",
        system_domain_local_zone_type="static",
    )  # fmt: skip
    for number, name in enumerate(name for name in allowed if name not in by_network):
        acl = SubElement(unbound, "acls")
        put(acl, aclid=number, aclname=name, aclaction="allow")
        address, _slash, prefix = name.partition("/")
        put(SubElement(acl, "row"), acl_network=address, mask=prefix or "32")
    for zone in dns["zones"]:
        for record in zone["records"]:
            put(
                SubElement(unbound, "hosts"), host="" if record["name"] == "@" else record["name"], domain=zone["name"],
                ip=record["value"], descr="labctl",
            )  # fmt: skip


def add_dhcp(root: Element, ports: Sequence[Port], dhcp: Parameters) -> None:
    """Add the ranges of Kea."""
    keys = {port.planned.name: port.key for port in ports}
    put(root, dhcpbackend="kea")
    parent = SubElement(root, "dhcpd")
    for subnet in dhcp["subnets"]:
        card = SubElement(parent, keys[subnet["interface"]])
        put(
            card, enable="", gateway=subnet.get("gateway") or "none", domain=subnet.get("domain") or None,
            defaultleasetime=subnet.get("lease_seconds", 3600),
        )  # fmt: skip
        put(SubElement(card, "range"), **{"from": subnet["first"], "to": subnet["last"]})
        for server in subnet.get("nameservers", ()):
            put(card, dnsserver=server)
