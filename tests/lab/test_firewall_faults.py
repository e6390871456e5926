"""Faults that are rules of an OPNsense, brought about and cured through the API of a local server that plays it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.appliances.api import OPNsense
from labctl.errors import LabctlError
from labctl.faults import FaultState, find_faults
from labctl.lab.firewall import Firewall, find_firewalls
from labctl.lab.sabotage import Sabotage
from labctl.shipped import shipped_folder
from labctl.topology.faults import Fault
from labctl.topology.load import load_topology
from tests.appliances.local_firewall import KEY, SECRET, make_pair, running_firewall
from tests.appliances.local_firewall import Firewall as Server
from tests.lab.doubles import World, make_place
from tests.lab.test_sabotage import LAB, TEXT, inject, site, states, work
from tests.worlds import catalogue

__all__ = ["work"]  # the fixture of a lab with scripted faults, to which those of a firewall are added
WEB = {"description": "Maintenance", "action": "block", "interface": "lan", "protocol": "tcp", "port": 443}


def ruled(name: str, fixed: list[str], rule: Mapping[str, object]) -> Fault:
    return Fault.model_validate(
        {"id": name, "title": TEXT, "node": "desk", "competencies": ["B2.3.4"], "ticket": TEXT, "fixed": fixed,
         "rules": [rule]},
        strict=False,
    )  # fmt: skip


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, OPNsense]]:
    monkeypatch.setenv("LABCTL_LANG", "en")
    certificate, pair = make_pair(tmp_path)
    with running_firewall(pair) as server:
        yield server, OPNsense("127.0.0.1", KEY, SECRET, certificate, server.server_port, 10.0)


@pytest.fixture
def both(work: Sabotage, server: tuple[Server, OPNsense]) -> tuple[Sabotage, Server]:
    """Give a lab whose machine `desk` is behind a firewall: the site is there where no rule blocks it."""
    folder = work.place.home.parent / "site"

    def force(rules: Collection[Mapping[str, str]]) -> None:
        blocked = any(rule["action"] == "block" and rule["enabled"] == "1" for rule in rules)
        (folder / "web").unlink(missing_ok=True) if blocked else (folder / "web").touch()

    server[0].force = force
    faults = (*work.topology.faults, ruled("blocked", ["web"], WEB), ruled("idle", ["web"], {**WEB, "action": "pass"}))
    topology = work.topology.model_copy(update={"faults": faults})
    firewall = Firewall(LAB, server[1], {"lan": "opt1"})
    return replace(work, topology=topology, firewalls={"desk": firewall}), server[0]


def test_a_fault_of_rules_is_injected_repaired_by_hand_and_cleared(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    inject(work, "blocked")
    (rule,) = server.rules.values()
    assert (rule["interface"], rule["protocol"], rule["destination_port"]) == ("opt1", "TCP", "443")
    assert "labctl" not in str(rule)
    assert states(work) == {"blocked": FaultState.PRESENT}
    (work.place.home.parent / "site" / "web").touch()
    assert states(work) == {"blocked": FaultState.AROUND}
    rule["enabled"] = "0"  # a student switches it off in the web interface
    assert states(work) == {"blocked": FaultState.REPAIRED}
    (cleared,) = work.clear(find_faults(work.topology, ["blocked"]))
    assert cleared.state is FaultState.REPAIRED
    assert server.rules == {}
    assert states(work) == {}


def test_a_rule_that_a_student_has_removed_is_repaired_and_can_be_cleared(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    inject(work, "blocked")
    server.rules.clear()
    server.force([])
    assert states(work) == {"blocked": FaultState.REPAIRED}
    (cleared,) = work.clear(find_faults(work.topology, ["blocked"]))
    assert cleared.state is FaultState.REPAIRED


def test_a_firewall_that_does_not_answer_is_told_and_nothing_is_changed(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    server.odd["diagnostics/system/system_information"] = (503, b"")
    before = site(work)
    with pytest.raises(LabctlError, match='"blocked" could not be injected: the firewall') as caught:
        inject(work, "no-dns", "blocked")
    assert "nothing was changed" in caught.value.message
    assert caught.value.hint == f"labctl status {LAB}"
    assert (site(work), server.rules, work.present()) == (before, {}, {})


def test_rules_that_the_firewall_refuses_are_taken_back(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    work = replace(work, firewalls={"desk": replace(work.firewalls["desk"], cards={"lan": ""})})
    with pytest.raises(LabctlError, match=r"was taken back: .*rule\.interface: A value is required"):
        inject(work, "blocked")
    assert server.rules == {}
    assert work.present() == {}


def test_a_firewall_that_is_lost_half_way_leaves_a_fault_that_is_known(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    server.odd["firewall/filter/apply/1583.12"] = (503, b"")
    with pytest.raises(LabctlError, match="desk: the rules of the fault could not be set") as caught:
        inject(work, "blocked")
    assert caught.value.hint == f"labctl fault clear {LAB} blocked"
    assert set(work.present()) == {"blocked"}
    server.odd.clear()
    work.clear(find_faults(work.topology, ["blocked"]))
    assert server.rules == {}
    assert work.present() == {}


def test_rules_that_change_nothing_are_taken_back(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    with pytest.raises(LabctlError, match='"idle" did not show on desk and was taken back: its checks still pass'):
        inject(work, "idle")
    assert server.rules == {}


def test_faults_of_scripts_and_of_rules_are_injected_together(both: tuple[Sabotage, Server]) -> None:
    work, _server = both
    inject(work, "no-dns", "blocked")
    assert states(work) == {"no-dns": FaultState.PRESENT, "blocked": FaultState.PRESENT}


def test_a_firewall_that_says_nothing_leaves_its_fault_unknown(both: tuple[Sabotage, Server]) -> None:
    work, server = both
    inject(work, "blocked")
    (work.place.home.parent / "site" / "web").touch()
    (name,) = server.rules
    server.odd[f"firewall/filter/get_rule/{name}"] = (500, b"{}")
    assert states(work) == {"blocked": FaultState.UNKNOWN}


def test_the_shipped_firewall_is_found_with_its_cards(tmp_path: Path) -> None:
    topology = load_topology(shipped_folder("topologies") / "dmz-opnsense.yml", catalogue())
    place = make_place(tmp_path, World())
    found = find_firewalls(replace(place, catalogue=catalogue()), "dmz-opnsense-alice", topology)
    assert {*found} == {"fw"}
    cards = found["fw"].cards
    assert {*cards} == {"mgmt", "wan", "dmz", "lan"}
    for fault in topology.faults:
        for place_of, rule in enumerate(fault.rules):
            fields = found["fw"].fields(rule)
            assert fields["interface"] == cards[rule.interface]
            assert found["fw"].name(fault, place_of)[14] == "4"
    names = [found["fw"].name(fault, at) for fault in topology.faults for at in range(len(fault.rules))]
    assert len({*names}) == len(names) > 8
