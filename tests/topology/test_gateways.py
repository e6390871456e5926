"""Tunnels and shared addresses: what is wrong with them is told at its place, and one router's address is enough."""

from pathlib import Path

import pytest

from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from labctl.topology.problems import ProblemsFound
from tests.worlds import catalogue

LIAISON = shipped_folder("topologies") / "liaison.yml"


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- node: r3\n", "- node: r4\n", 'peers[0].node: expected another node with the service "vpn_gateway"'),
        ("- node: r3\n", "- node: r1\n", '(r3), found "r1"'),
        ("- node: r3\n", "- node: r2\n", '(r3), found "r2"'),
        ("address: 10.255.0.1/30", "address: 10.255.0.1", "an address with its prefix length, such as 10.255.0.1/30"),
        ("address: 10.255.0.2\n", "address: 10.255.1.2\n", "another address of the tunnel (10.255.0.0/30)"),
        ("address: 10.255.0.2\n", "address: 10.255.0.1\n", "another address of the tunnel (10.255.0.0/30)"),
        ("endpoint: 203.0.113.1", "endpoint: siege", 'peers[0].endpoint: expected an IPv4 address, found "siege"'),
        ("networks: [172.16.20.0/24]", "networks: [172.16.20.1/24]", "networks[0]: expected an IPv4 network such as"),
        ("networks: [172.16.20.0/24]", "networks: [172.16.20.0]", "networks[0]: expected an IPv4 network such as"),
        ("vpn_gateway:\n", "vpn_gateway:\n        interface: lan\n", "a name such as wg0, which no card has"),
        ("vpn_gateway:\n", "vpn_gateway:\n        port: 70000\n", "a whole number from 1 to 65535, found 70000"),
        ("id: 10, priority: 200", "id: 256, priority: 200", "a whole number from 1 to 255, found 256"),
        ("id: 10, priority: 200", "id: 10, priority: 255", "a whole number from 1 to 254, found 255"),
        ("interface: lan, address: 172.16.10.254", "interface: lna, address: 172.16.10.254", 'did you mean "lan"'),
        ("lan, address: 172.16.10.254", "lan, address: 172.16.11.254", 'an address of the network "siege"'),
        ("lan, address: 172.16.10.254", "lan, address: 172.16.10.255", 'an address of the network "siege"'),
        ("lan, address: 172.16.10.254", "lan, address: 172.16.10.80", "which nodes.serveur.interfaces.lan has"),
        ("gateway: 172.16.10.254", "gateway: 172.16.10.253", 'an address that a node holds on "siege"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = LIAISON.read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "liaison.yml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ProblemsFound) as caught:
        load_topology(file, catalogue())
    assert said in caught.value.message


def test_a_gateway_that_does_not_route_is_told(tmp_path: Path) -> None:
    text = LIAISON.read_text(encoding="utf-8")
    start = text.index("    services:\n", text.index("  r3:\n"))
    file = tmp_path / "liaison.yml"
    file.write_text(
        text[:start] + "    services:\n" + text[text.index("      vpn_gateway:\n", start) :], encoding="utf-8"
    )
    with pytest.raises(ProblemsFound, match=r'services\.vpn_gateway: expected the service "router_firewall" beside it'):
        load_topology(file, catalogue())
