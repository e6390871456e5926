import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pycdlib
import pytest
from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.plan.model import PlannedNode
from labctl.plan.observed import Observed
from labctl.render import opnsense
from labctl.render.firewall import Credentials, GatewaySecrets
from labctl.render.medium import LABEL, render_medium
from labctl.render.opnsense import render_config
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from labctl.topology.tree import read_tree
from tests.worlds import catalogue, plan

SHARED = GatewaySecrets("PRIVATE TUNNEL KEY", {"fw": "KEY OF FW", "gw": "KEY OF GW"}, "shared-password")
OWN = Credentials("$2b$hash", "api-key", "$2b$secret", "CERTIFICATE\n", "PRIVATE KEY\n", SHARED)
TABLE = Path(opnsense.__file__).parent / "elements" / "opnsense.yml"

ALL = """
name: everything
version: "1.0"
title: {en: All, fr: Tout}
description: {en: All, fr: Tout}
competencies: [B2.2.1]
networks:
  internet: {kind: internet}
  lan: {kind: segment, cidr: 172.16.10.0/24}
  dmz: {kind: segment, cidr: 192.168.50.0/24}
nodes:
  fw:
    image: opnsense-25
    memory: 1024
    search: cimes.example
    nameservers: [172.16.10.254]
    interfaces:
      wan: {network: internet, address: dhcp}
      dmz: {network: dmz, address: 192.168.50.254, gateway: 192.168.50.1}
      lan: {network: lan, address: 172.16.10.254}
    routes:
      - {to: 10.0.0.0/8, via: 172.16.10.1}
    services:
      router_firewall:
        outside: wan
        ping_from: [lan]
        local:
          - {description: "Noms <&>", from: lan, protocol: tcp_udp, ports: [53]}
        flows:
          - {description: Site, from: lan, to: dmz, destination: 192.168.50.80, protocol: tcp, ports: [80, 443]}
          - {description: Ping, from: lan, to: dmz, protocol: icmp}
          - {description: Agence, from: lan, to: wg0, protocol: tcp, ports: [22]}
          - {description: Web, from: lan, to: wan, source: 172.16.10.10, protocol: tcp, ports: [443]}
        publications:
          - {description: Site, port: 8443, to: 192.168.50.80, to_port: 443}
      dns:
        zones:
          - {name: cimes.example, records: [{name: www, value: 192.168.50.80}]}
        allow_query: [lan]
      dhcp:
        subnets:
          - {interface: lan, first: 172.16.10.100, last: 172.16.10.199, gateway: 172.16.10.254,
             nameservers: [172.16.10.254], domain: cimes.example}
      vpn_gateway:
        address: 10.255.0.1/30
        peers: [{node: gw, address: 10.255.0.2, endpoint: 192.168.50.1, networks: [172.16.20.0/24]}]
      virtual_address:
        addresses: [{interface: lan, address: 172.16.10.253, id: 10, priority: 200}]
  gw:
    image: debian-13
    interfaces:
      lan: {network: lan, address: 172.16.10.1}
      dmz: {network: dmz, address: 192.168.50.1}
    services:
      router_firewall: {}
      vpn_gateway:
        address: 10.255.0.2/30
        peers: [{node: fw, address: 10.255.0.1, networks: [172.16.10.0/24]}]
"""


@pytest.fixture
def node(tmp_path: Path) -> PlannedNode:
    path = tmp_path / "all.yml"
    path.write_text(ALL, encoding="utf-8")
    return plan(Observed(), topology=load_topology(path, catalogue())).node("fw")


@pytest.fixture
def config(node: PlannedNode) -> ElementTree.Element:
    return ElementTree.fromstring(render_config(node, OWN))


def known() -> dict[str, str]:
    tree = read_tree(TABLE)
    tree.settle()
    assert isinstance(tree.data, dict)
    return {path: str(source) for path, source in tree.data.items()}


def paths(element: ElementTree.Element, way: str = "") -> Iterator[str]:
    here = f"{way}/{element.tag}".lstrip("/")
    if here.startswith("opnsense/interfaces/") and here.count("/") == 2:
        here = "opnsense/interfaces/*"
    if not len(element):
        yield here
    for child in element:
        yield from paths(child, here)


def test_every_element_is_one_that_opnsense_reads(config: ElementTree.Element) -> None:
    written = set(paths(config))
    assert written - known().keys() == set()
    assert known().keys() - written == set(), "the table names what nothing writes"


def test_the_table_says_where_each_element_is_read() -> None:
    assert all(source.startswith("src/") for source in known().values())


def rules(config: ElementTree.Element) -> list[tuple[str, ...]]:
    found = []
    for rule in config.iterfind("filter/rule"):
        ends = [rule.find(name) for name in ("source", "destination")]
        words = [" ".join(child.text or "" for child in end) for end in ends if end is not None]
        texts = (rule.findtext(key, "-") for key in ("interface", "type", "protocol"))
        found.append((*texts, *words))
    return found


def test_the_rules_are_those_of_the_flows_in_pf_s_order(config: ElementTree.Element) -> None:
    assert rules(config) == [
        ("opt2", "pass", "tcp", "1", "(self) 22"),
        ("opt2", "pass", "tcp", "1", "(self) 443"),
        ("opt2", "block", "-", "1", "1"),
        ("opt1", "pass", "icmp", "1", "(self)"),
        ("opt1", "pass", "tcp/udp", "1", "(self) 53"),
        ("opt1", "pass", "tcp", "1", "192.168.50.80 80"),
        ("opt1", "pass", "tcp", "1", "192.168.50.80 443"),
        ("opt1", "pass", "icmp", "1", "lan"),
        ("opt1", "pass", "tcp", "1", "opt3 22"),
        ("opt1", "pass", "tcp", "1", "172.16.20.0/24 22"),
        ("opt1", "block", "-", "1", "(self)"),
        ("opt1", "block", "-", "1", "lan"),
        ("opt1", "block", "-", "1", "opt3"),
        ("opt1", "block", "-", "1", "172.16.20.0/24"),
        ("opt1", "pass", "tcp", "172.16.10.10", "1 443"),
    ]


def test_cards_are_named_by_their_slots_and_management_has_its_link_local_address_only(
    node: PlannedNode, config: ElementTree.Element
) -> None:
    cards = {card.tag: (card.findtext("if"), card.findtext("descr")) for card in config.iterfind("interfaces/*")}
    assert cards == {
        "opt2": ("vtnet0", "mgmt"), "wan": ("vtnet1", "wan"), "lan": ("vtnet2", "dmz"), "opt1": ("vtnet3", "lan"),
        "opt3": ("wg0", "wg0"),
    }  # fmt: skip
    management = config.find("interfaces/opt2")
    assert management is not None
    assert management.find("ipaddr") is None
    assert node.address.startswith(f"{management.findtext('ipaddrv6')}%")


def test_what_is_published_leads_inside(config: ElementTree.Element) -> None:
    rule = config.find("nat/rule")
    assert rule is not None
    assert (rule.findtext("target"), rule.findtext("local-port"), rule.findtext("destination/port")) == (
        "192.168.50.80", "443", "8443",
    )  # fmt: skip
    assert config.findtext("nat/outbound/mode") == "automatic"


def test_offloads_are_off_and_no_secret_stands_in_clear(config: ElementTree.Element) -> None:
    for name in ("checksum", "segmentation", "largereceive"):
        assert config.findtext(f"system/disable{name}offloading") == "1"
    assert config.findtext("system/user/password") == "$2b$hash"
    assert config.findtext("system/user/apikeys/item/secret") == "$2b$secret"


def test_the_tunnel_has_its_key_and_its_peer(config: ElementTree.Element) -> None:
    (server,), (client,) = (
        list(config.iterfind(f"OPNsense/wireguard/{way}")) for way in ("*/servers/*", "*/clients/*")
    )
    assert (server.findtext("privkey"), server.findtext("instance")) == ("PRIVATE TUNNEL KEY", "0")
    assert server.findtext("peers") == client.get("uuid")
    assert client.findtext("pubkey") == "KEY OF GW"
    assert client.findtext("tunneladdress") == "10.255.0.2/32,172.16.20.0/24"
    assert (client.findtext("serveraddress"), client.findtext("serverport")) == ("192.168.50.1", "51820")
    assert config.find("interfaces/opt3/ipaddr") is None
    assert len(config.findall("OPNsense")) == 1


def test_the_greatest_priority_waits_the_least(config: ElementTree.Element) -> None:
    vip = config.find("virtualip/vip")
    assert vip is not None
    assert (vip.findtext("mode"), vip.findtext("vhid"), vip.findtext("advskew")) == ("carp", "10", "54")
    assert (vip.findtext("interface"), vip.findtext("subnet"), vip.findtext("subnet_bits")) == (
        "opt1", "172.16.10.253", "24",
    )  # fmt: skip
    assert vip.findtext("password") == "shared-password"


def test_words_of_the_author_cannot_leave_their_element(config: ElementTree.Element) -> None:
    assert "Noms <&>" in [rule.findtext("descr") for rule in config.iterfind("filter/rule")]


def test_what_cannot_be_written_is_refused_by_name(node: PlannedNode) -> None:
    dns, dhcp = node.services["dns"], node.services["dhcp"]
    zone: JsonValue = {"name": "cimes.example", "records": [{"name": "@", "type": "MX", "value": "10 www"}]}
    subnet: JsonValue = {"interface": "lan", "reservations": [{"node": "gw"}]}
    asked: Mapping[str, Mapping[str, JsonValue]] = {
        "dns": {**dns, "zones": [zone], "forwarders": ["9.9.9.9"]},
        "dhcp": {**dhcp, "subnets": [subnet]},
    }
    with pytest.raises(LabctlError) as caught:
        render_config(replace(node, services=asked), OWN)
    assert "@.cimes.example MX, forwarders, reservations" in caught.value.message


def test_the_same_plan_gives_the_same_text(node: PlannedNode) -> None:
    assert render_config(node, OWN) == render_config(node, OWN)


def test_the_medium_is_read_back_with_its_label(node: PlannedNode) -> None:
    text = render_config(node, OWN)
    disc = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(render_medium({"config.xml": text})))
    assert disc.pvd.volume_identifier.decode().strip() == LABEL
    for way in ({"rr_path": "/config.xml"}, {"joliet_path": "/config.xml"}):
        out = io.BytesIO()
        disc.get_file_from_iso_fp(out, **way)
        assert out.getvalue().decode() == text
    disc.close()


def test_the_shipped_firewall_topology_is_rendered() -> None:
    topology = load_topology(shipped_folder("topologies") / "dmz-opnsense.yml", catalogue())
    root = ElementTree.fromstring(render_config(plan(Observed(), topology=topology).node("fw"), OWN))
    assert set(paths(root)) <= known().keys()
    assert root.find("OPNsense/wireguard") is None
    assert root.find("virtualip") is None
    assert {host.findtext("hostname") for host in root.iterfind("OPNsense/unboundplus/hosts/host")} >= {"fw", "www"}
