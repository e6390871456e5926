from ipaddress import IPv4Network
from pathlib import Path

from labctl.hypervisor.host_network import read_links, read_routes

TABLE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
virbr0\t007AA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
short\tline
"""


def test_routes_are_read_without_the_default_one(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(TABLE)
    assert read_routes(tmp_path / "route") == (IPv4Network("172.17.0.0/16"), IPv4Network("192.168.122.0/24"))


def test_a_host_without_tables_has_neither_links_nor_routes(tmp_path: Path) -> None:
    assert read_routes(tmp_path / "none") == ()
    assert read_links(tmp_path / "none") == frozenset()


def test_this_host_has_a_loopback() -> None:
    assert "lo" in read_links()
