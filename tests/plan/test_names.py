"""Every name and number follows from names, fits its limits and never meets another."""

from ipaddress import IPv4Network, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from labctl.plan import names
from labctl.plan.observed import Observed, SeenNetwork
from tests.worlds import plan

LABS = st.from_regex(r"[a-z][a-z0-9-]{0,30}-[a-z0-9-]{1,30}\.[a-z]{1,31}", fullmatch=True)


@given(LABS)
def test_bridge_names_fit_linux(network: str) -> None:
    name = names.bridge_name(network)
    assert len(name) <= 15
    assert name.isalnum()


def test_bridges_of_a_thousand_labs_differ() -> None:
    bridges = {names.bridge_name(f"dmz-s{number}.lan") for number in range(1000)}
    assert len(bridges) == 1000


def test_macs_differ_inside_a_topology_even_when_hashes_meet() -> None:
    pairs = [(f"n{node}", f"eth{card}") for node in range(64) for card in range(12)]
    macs = names.mac_addresses("big", pairs)
    assert len(set(macs.values())) == len(pairs)
    assert all(mac.startswith("52:54:00:") for mac in macs.values())


def test_macs_are_the_same_in_every_lab_of_a_topology() -> None:
    alice, bob = plan(owner="alice"), plan(owner="bob")
    assert [node.interfaces for node in alice.nodes] == [node.interfaces for node in bob.nodes]
    assert {node.uuid for node in alice.nodes}.isdisjoint(node.uuid for node in bob.nodes)
    assert {net.bridge for net in alice.networks}.isdisjoint(net.bridge for net in bob.networks)


def test_link_local_address_is_the_modified_eui_64() -> None:
    # RFC 4291, appendix A: ff:fe in the middle, the universal bit turned.
    assert IPv6Address(names.link_local("52:54:00:12:34:56")) == IPv6Address("fe80::5054:ff:fe12:3456")


@given(st.sets(st.integers(0, names.INTERNET_SUBNETS - 1), max_size=50), LABS)
def test_internet_subnets_are_free(taken: set[int], network: str) -> None:
    first = int(names.INTERNET_POOL.network_address)
    used = [IPv4Network((first + number * 32, 27)) for number in taken]
    subnet = names.internet_subnet(network, used)
    assert subnet is not None
    assert subnet.subnet_of(names.INTERNET_POOL)
    assert not any(subnet.overlaps(other) for other in used)


def test_a_full_pool_has_no_subnet() -> None:
    assert names.internet_subnet("dmz-x.internet", [names.INTERNET_POOL]) is None


def test_two_labs_never_share_a_subnet_nor_take_a_routed_one() -> None:  # F-08
    alice = plan(owner="alice").networks[0]
    seen = SeenNetwork("other", "u", "virbr9", active=True, subnet=IPv4Network(alice.subnet))
    moved = plan(Observed(networks=(seen,)), owner="alice").networks[0]
    assert not IPv4Network(moved.subnet).overlaps(IPv4Network(alice.subnet))
    routed = plan(Observed(routes=(IPv4Network(alice.subnet), IPv4Network("0.0.0.0/0"))), owner="alice").networks[0]
    assert routed.subnet == moved.subnet
