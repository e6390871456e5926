"""Meaning across the parts: what golden texts cannot count out."""

from dataclasses import replace
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.topology.addresses import overlaps
from labctl.topology.hardware import Hardware
from labctl.topology.load import load_topology
from labctl.topology.problems import ProblemsFound
from labctl.topology.semantics import find_cycle
from tests.topology.known import GOOD, known

NETWORKS = st.builds(
    lambda number, length: IPv4Network((number & ~((1 << (32 - length)) - 1), length)),
    st.integers(0x0A000000, 0x0A0000FF),
    st.integers(22, 30),
)


@given(st.lists(NETWORKS, max_size=12))
def test_overlaps_names_every_network_that_overlaps_and_no_other(networks: list[IPv4Network]) -> None:
    known_networks = {f"n{position}": network for position, network in enumerate(networks)}
    found = set(overlaps(known_networks))
    assert all(known_networks[one].overlaps(known_networks[other]) for one, other in found)
    pairs = combinations(known_networks, 2)
    expected = {name for pair in pairs if known_networks[pair[0]].overlaps(known_networks[pair[1]]) for name in pair}
    assert {name for pair in found for name in pair} == expected


def test_a_circle_is_named_from_its_first_name_on_and_closed() -> None:
    assert find_cycle({"c": ["a"], "a": ["b"], "b": ["c"], "d": ["a"]}) == ["a", "b", "c", "a"]
    assert find_cycle({"a": ["b"], "b": []}) == []


def load_with(tmp_path: Path, *changes: tuple[str, str]) -> list[str]:
    text = GOOD.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "lab.yml"
    file.write_text(text)
    try:
        load_topology(file, known())
    except ProblemsFound as problems:
        return [problem.where for problem in problems.problems]
    return []


def test_every_circle_is_named_once(tmp_path: Path) -> None:
    extra = "".join(
        f"  {name}: {{image: debian-13, after: [{other}], interfaces: {{lan: {{network: lan, address: none}}}}}}\n"
        for name, other in (("a", "b"), ("b", "c"), ("c", "a"), ("x", "y"), ("y", "x"), ("z", "x"))
    )
    found = load_with(tmp_path, ("checks:\n", extra + "checks:\n"))
    assert found == ["nodes.a.after[0]", "nodes.x.after[0]"]


def test_a_part_with_problems_makes_no_reference_to_it_unknown(tmp_path: Path) -> None:
    assert load_with(tmp_path, ("address: 10.0.0.254", "address: 10.0.0.254x")) == ["nodes.fw.interfaces.lan.address"]
    assert load_with(tmp_path, ("cidr: 10.0.0.0/24", "cidr: 10.0.0.0/99")) == ["networks.lan.cidr"]
    assert load_with(tmp_path, ("  fw:\n    image: debian-13", "  fw:\n    image: 13")) == ["nodes.fw.image"]


def test_the_meaning_of_parts_is_checked_beside_those_that_are_ill_formed(tmp_path: Path) -> None:
    found = load_with(
        tmp_path, ("name: small", "nmae: small"), ("image: debian-13", "image: debian-31"), ("from: web", "from: wbe")
    )
    assert found == ["name", "nmae", "nodes.fw.image", "checks[0].from"]


def test_disks_of_a_node_and_of_its_image_are_counted_together(tmp_path: Path) -> None:
    nas = replace(known().images["debian-13"], hardware=Hardware(disks={f"data{number}": 20 for number in range(4)}))
    catalogue = replace(known(), images={**known().images, "debian-13": nas})
    for own, problems in (("{data0: 40, a: 1, b: 1, c: 1, d: 1}", 0), ("{a: 1, b: 1, c: 1, d: 1, e: 1}", 1)):
        file = tmp_path / "lab.yml"
        file.write_text(GOOD.read_text().replace("  fw:\n", f"  fw:\n    disks: {own}\n", 1))
        if not problems:
            assert load_topology(file, catalogue).nodes["fw"].disks["data0"] == 40
            continue
        with pytest.raises(ProblemsFound) as found:
            load_topology(file, catalogue)
        said = (
            'nodes.fw.disks: expected at most 8 disks, with those of the image "debian-13" (data0, data1, data2, data3)'
        )
        assert f"11:12: {said}, found 9" in found.value.message


@pytest.mark.parametrize("address", ["dhcp", "none"])
def test_a_segment_may_have_cards_without_a_fixed_address(tmp_path: Path, address: str) -> None:
    assert load_with(tmp_path, ("address: 10.0.0.1, gateway: 10.0.0.254", f"address: {address}")) == []


def test_a_default_route_may_stand_among_the_routes(tmp_path: Path) -> None:
    route = "    routes: [{to: 0.0.0.0/0, via: 10.0.0.254}]\n    services:"
    assert load_with(tmp_path, (", gateway: 10.0.0.254", ""), ("    services:", route)) == []
