"""Drawn values: inside their bounds, never prohibited, the same each time, different for others, equally difficult."""

import re
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from labctl.errors import ExitCode, Refused
from labctl.topology.load import load_topology, read_template
from labctl.topology.model import Topology
from labctl.topology.parts import whole_parts
from labctl.topology.spaces import SYSTEM_ACCOUNTS, space_of
from labctl.topology.variants import AnyVariant, Variant
from labctl.variants import Lot, drawn_faults, fingerprint, largest_class
from tests.worlds import catalogue

VARIED = Path(__file__).parent / "lab" / "varied.yml"
SECRET = bytes(range(32))
TITLE = {"en": "It", "fr": "Ça"}
VARIANT: TypeAdapter[AnyVariant] = TypeAdapter(Variant)
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
owners = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)


@cache
def varied() -> Topology:
    return load_topology(VARIED, catalogue())


def make(**variants: Mapping[str, object]) -> Topology:
    """Return the varied topology with other variants."""
    read = {name: VARIANT.validate_python({"title": TITLE, **one}) for name, one in variants.items()}
    return varied().model_copy(update={"variants": read})


def draw(topology: Topology, owner: str = "alice", session: str = "s", secret: bytes = SECRET) -> Mapping[str, object]:
    return Lot(topology, session, secret).draw([owner], {})[owner].values


@FEW
@given(owners, st.integers(1024, 60000), st.integers(2, 3000), st.sets(st.integers(1024, 65535), max_size=40))
def test_a_port_is_in_its_range_and_never_prohibited(owner: str, least: int, width: int, never: set[int]) -> None:
    most = least + width
    prohibited = sorted(port for port in never if port not in (least, most))
    topology = make(p={"type": "port", "default": 443, "least": least, "most": most, "prohibited": prohibited})
    port = draw(topology, owner)["p"]
    assert isinstance(port, int)
    assert least <= port <= most
    assert port not in prohibited


@FEW
@given(owners, st.integers(8, 28), st.integers(0, 2**24), st.sets(st.integers(1, 14), max_size=6))
def test_an_address_is_inside_and_no_end_of_its_network(owner: str, length: int, start: int, never: set[int]) -> None:
    within = IPv4Network(((10 << 24) + start & -(1 << (32 - length)), length))
    prohibited = [within.network_address + number for number in never]
    topology = make(a={"type": "address", "default": "10.0.0.9", "within": within, "prohibited": prohibited})
    address = IPv4Address(str(draw(topology, owner)["a"]))
    assert address in within
    assert address not in {within.network_address, within.broadcast_address, *prohibited}
    assert str(address) not in {"10.0.0.1", "10.0.0.2"}, "a node has it"
    if length <= 24:
        assert int(address) % 256 not in {0, 255}


@FEW
@given(owners, st.integers(8, 22), st.integers(1, 8))
def test_networks_all_have_one_mask_and_overlap_nothing(owner: str, length: int, more: int) -> None:
    within = IPv4Network(((10 << 24) & -(1 << (32 - length)), length))
    never = next(within.subnets(new_prefix=length + more))
    given_ = {"type": "network", "default": "10.9.0.0/24", "within": within, "length": length + more}
    drawn = IPv4Network(str(draw(make(n={**given_, "prohibited": [never]}), owner)["n"]))
    assert drawn.prefixlen == length + more
    assert drawn.subnet_of(within)
    assert not drawn.overlaps(never)
    assert not drawn.overlaps(IPv4Network("10.0.0.0/24")), "the topology has it"


@FEW
@given(owners, st.sampled_from(["tech-??##", "u?", "ab#", "srv-?#?#?"]))
def test_a_picture_has_its_letters_and_no_vowel(owner: str, picture: str) -> None:
    name = str(draw(make(a={"type": "account", "default": "x", "pattern": picture}), owner)["a"])
    shape = re.escape(picture).replace(r"\#", "[0-9]").replace(r"\?", "[b-df-hjkmnp-tv-xz]")
    assert re.fullmatch(shape, name)


def test_accounts_of_the_system_and_names_of_nodes_are_never_drawn() -> None:
    accounts = make(a={"type": "account", "default": "x", "values": ["root", "www-data", "ines", "paul"]})
    names = make(h={"type": "host_name", "default": "x", "values": ["server", "desk", "localhost", "nas", "web"]})
    assert {draw(accounts, f"o{number}")["a"] for number in range(60)} == {"ines", "paul"}
    assert {draw(names, f"o{number}")["h"] for number in range(60)} == {"nas", "web"}
    assert "root" in SYSTEM_ACCOUNTS


@FEW
@given(owners, owners, st.text(min_size=1, max_size=20), st.binary(min_size=16, max_size=40))
def test_the_same_asked_again_gives_the_same(owner: str, other: str, session: str, secret: bytes) -> None:
    lot = Lot(varied(), session, secret)
    first = lot.draw([owner], {})[owner]
    assert lot.draw([owner, other], {})[owner] == first
    assert Lot(varied(), session, secret).values_at(owner, first.positions) == first.values


def test_each_thing_that_it_is_drawn_from_changes_it() -> None:
    wide = {"type": "network", "default": "10.9.0.0/24", "within": "10.0.0.0/8", "length": 24}
    topology = make(n=wide)
    newer = topology.model_copy(update={"version": "1.1"})
    other = topology.model_copy(update={"name": "other"})
    seen = [
        draw(topology), draw(topology, owner="bob"), draw(topology, session="t"), draw(topology, secret=b"x" * 32),
        draw(newer), draw(other), draw(make(m=wide)),
    ]  # fmt: skip
    assert len({str(next(iter(one.values()))) for one in seen}) == len(seen)


def test_parts_of_what_it_is_drawn_from_do_not_run_into_one_another() -> None:
    wide = {"type": "network", "default": "10.9.0.0/24", "within": "10.0.0.0/8", "length": 24}
    assert draw(make(n=wide), owner="b", session="a") != draw(make(n=wide), owner="", session="ab")


@FEW
@given(st.integers(2, 40), st.text(min_size=1, max_size=8))
def test_no_two_owners_of_a_class_have_the_same(count: int, session: str) -> None:
    class_list = [f"e{number}" for number in range(count)]
    few = {"type": "host_name", "default": "x", "values": [f"h{number}" for number in range(7)]}
    topology = make(a=few, b={"type": "port", "default": 9, "least": 2000, "most": 2005})
    drawn = Lot(topology, session, SECRET).draw(class_list, {})
    assert len({tuple(one.values.values()) for one in drawn.values()}) == count


@FEW
@given(st.integers(1, 30), st.text(min_size=1, max_size=8))
def test_what_is_unique_is_nobody_elses_even_when_all_is_given_out(count: int, session: str) -> None:
    names = [f"h{number}" for number in range(count + 1)]
    topology = make(a={"type": "host_name", "default": "x", "values": names, "unique": True})
    class_list = [f"e{number}" for number in range(count + 1)]
    drawn = Lot(topology, session, SECRET).draw(class_list, {})
    assert {one.values["a"] for one in drawn.values()} == set(names)


def test_what_was_drawn_stays_when_the_class_grows() -> None:
    lot = Lot(make(a={"type": "host_name", "default": "x", "values": ["a", "b", "c"], "unique": True}), "s", SECRET)
    first = lot.draw(["x", "y"], {})
    kept = {owner: one.positions for owner, one in first.items()}
    later = lot.draw(["z", "y", "x"], kept)
    assert (later["x"], later["y"]) == (first["x"], first["y"])
    assert len({one.values["a"] for one in later.values()}) == 3


def test_a_space_too_small_is_refused_with_numbers() -> None:
    lot = Lot(make(a={"type": "host_name", "default": "x", "values": ["a", "b"], "unique": True}), "s", SECRET)
    with pytest.raises(Refused, match=r"2 .* 3 ") as caught:
        lot.draw(["x", "y", "z"], {})
    assert caught.value.exit_code is ExitCode.REFUSED
    whole = make(
        a={"type": "host_name", "default": "x", "values": ["a", "b"]},
        b={"type": "port", "default": 9, "least": 2000, "most": 2001},
    )
    with pytest.raises(Refused, match=r"4 .* 5 "):
        Lot(whole, "s", SECRET).draw(list("abcde"), {})
    assert largest_class(whole, Lot(whole, "s", SECRET).spaces) == 4


def test_two_of_one_kind_differ_for_one_owner() -> None:
    one = {"type": "port", "default": 9, "least": 2000, "most": 2001}
    for number in range(20):
        values = draw(make(a=one, b=one), f"e{number}")
        assert values["a"] != values["b"]


def test_faults_are_of_one_difficulty_and_none_hides_another() -> None:
    levels = {fault.id: fault.difficulty for fault in varied().faults}
    seen = {drawn_faults(varied(), dict(draw(varied(), f"e{number}"))) for number in range(40)}  # type: ignore[arg-type]  # values are read back
    assert seen == {("stopped",), ("closed",)}
    assert len({levels[name] for (name,) in seen}) == 1
    both = {"type": "fault", "values": ["stopped", "closed"]}
    with pytest.raises(Refused):  # they make the same check fail
        draw(make(a=both, b=both))


@FEW
@given(st.integers(0, 4000))
def test_whatever_may_be_drawn_is_a_topology(number: int) -> None:
    template = read_template(VARIED)
    values = draw(varied(), f"e{number}")
    own = template.read(catalogue(), dict(values))  # type: ignore[arg-type]  # values are read back
    assert own.checks[0].failed.en == f"Port {values['door']} does not answer."
    assert own.nodes["server"].services["web_server"]["sites"] == [
        {"name": f"{values['nick']}.lan.example", "title": "Club"}
    ]
    assert own.networks == varied().networks
    assert own.nodes["server"].interfaces == varied().nodes["server"].interfaces


def test_the_secret_is_not_shown() -> None:
    lot = Lot(varied(), "s", b"very secret bytes")
    assert "very secret" not in repr(lot)
    assert b"very secret".hex() not in fingerprint(lot.secret)


def test_draws_are_spread_over_their_space() -> None:
    space = space_of(varied().variants["nick"], whole_parts(varied()))
    seen = [draw(varied(), f"e{number}")["nick"] for number in range(300)]
    assert set(seen) == set(space.values())
    assert max(map(seen.count, set(seen))) < 90  # 50 each in the mean of 300; six names
