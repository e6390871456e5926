"""Bringing a lab up: all of it, again, after a crash at any point, with nodes that fail, against foreign objects."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import Busy, Interrupted, Refused
from labctl.lab.down import take_down
from labctl.lab.lock import hold_lab
from labctl.lab.status import NodeState, read_status
from labctl.lab.up import bring_up
from labctl.lab.wish import Pace, Progressed, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.model import Plan
from labctl.plan.observed import DomainState, SeenDomain, SeenNetwork
from labctl.topology.load import load_topology
from tests.lab.doubles import Crash, Fault, World, make_place
from tests.worlds import catalogue

SMALL = Path(__file__).with_name("small.yml")
LAB = "small-alice"


def up(place: Workplace, *, replace_changed: bool = False, source: Path = SMALL) -> tuple[Plan, Progressed]:
    topology = load_topology(source, catalogue())
    wish = Wish(topology, source, "alice", replace=replace_changed)
    return bring_up(place, wish, lambda _image: Pace("tcg", 1.0), Silent(), Stop())


def goal(world: World) -> tuple[list[str], list[str]]:
    """The whole world of one small lab, ready."""
    assert all(domain.state is DomainState.RUNNING for domain in world.domains.values())
    assert all(domain.tag and domain.tag.configured for domain in world.domains.values())
    return sorted(world.domains), sorted(world.networks)


WHOLE = ([f"{LAB}.desk", f"{LAB}.server"], [f"{LAB}.lan", f"{LAB}.mgmt"])


def test_up_makes_everything_and_a_second_one_nothing(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    plan, result = up(place)
    assert result.ready(plan) == ("server", "desk")
    assert goal(world) == WHOLE
    before = dict(world.domains)
    plan, result = up(place)
    assert (plan.actions, result.failures, world.domains) == ((), {}, before)


def calls_of_a_whole_run(home: Path) -> int:
    fault = Fault()
    up(make_place(home, World(), fault))
    return fault.calls


def test_a_crash_at_any_outside_call_is_finished_by_the_next_run(tmp_path: Path) -> None:  # F-01
    total = calls_of_a_whole_run(tmp_path / "count")
    assert total > 20
    for number in range(1, total + 1):
        world, home = World(), tmp_path / f"home{number}"
        with pytest.raises(Crash):
            up(make_place(home, world, Fault(number)))
        _plan, result = up(make_place(home, world))
        assert not result.failures, number
        assert goal(world) == WHOLE, number
        assert make_place(home, world).store.open_intents(LAB) == ()


def test_down_after_a_crash_at_any_call_leaves_nothing_of_ours(tmp_path: Path) -> None:  # F-02
    foreign = SeenDomain("small-alice.other", "u", DomainState.RUNNING)
    foreign_network = SeenNetwork("default", "u", "virbr0", active=True)
    for number in range(1, 9):
        world, home = World(), tmp_path / f"home{number}"
        up(make_place(home, world))
        world.domains[foreign.name], world.networks[foreign_network.name] = foreign, foreign_network
        with pytest.raises(Crash):
            take_down(make_place(home, world, Fault(number)), LAB, Silent())
        take_down(make_place(home, world), LAB, Silent())
        assert list(world.domains.values()) == [foreign]
        assert list(world.networks.values()) == [foreign_network]
        assert not (home / "labs" / LAB).exists()


def test_down_works_when_the_folder_is_lost(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    up(place)
    shutil.rmtree(tmp_path / "labs" / LAB)
    removal = take_down(place, LAB, Silent())
    assert (len(removal.domains), world.domains, world.networks) == (2, {}, {})


def test_another_installation_on_the_same_libvirt_is_foreign(tmp_path: Path) -> None:  # F-25
    world = World()
    up(make_place(tmp_path / "first", world))
    before = dict(world.domains)
    other = make_place(tmp_path / "second", world)
    with pytest.raises(Refused):
        up(other)
    assert take_down(other, LAB, Silent()).empty
    assert read_status(other, lambda _lab: False) == ()
    assert world.domains == before


def test_down_of_nothing_is_empty(tmp_path: Path) -> None:
    assert take_down(make_place(tmp_path, World()), "no-lab", Silent()).empty


def test_a_node_that_never_answers_does_not_hold_back_the_others(tmp_path: Path) -> None:  # F-27, F-28
    world = World()
    world.silent.add(f"{LAB}.desk")
    place = make_place(tmp_path, world)
    plan, result = up(place)
    assert result.ready(plan) == ("server",)
    assert "desk" in result.failures["desk"].message
    world.silent.clear()
    plan, result = up(place)
    assert result.ready(plan) == ("server", "desk")
    assert goal(world) == WHOLE


def test_a_node_whose_play_fails_is_not_ready_and_is_configured_again(tmp_path: Path) -> None:  # F-30
    world = World()
    plan, result = up(make_place(tmp_path, world, broken=frozenset({"server"})))
    assert result.ready(plan) == ("desk",)
    assert "it broke" in result.failures["server"].message
    place = make_place(tmp_path, world)
    plan, result = up(place)
    assert [action.target for action in plan.actions] == ["server"]
    assert goal(world) == WHOLE


def test_ready_is_not_said_while_a_ready_check_fails(tmp_path: Path) -> None:
    world = World()
    world.closed = True
    plan, result = up(make_place(tmp_path, world))
    assert "desk" not in result.ready(plan)
    assert "reach" in result.failures["desk"].message


def test_a_changed_topology_needs_consent_before_disks_are_lost(tmp_path: Path) -> None:  # F-44
    world = World()
    place = make_place(tmp_path, world)
    up(place)
    bigger = tmp_path / "bigger.yml"
    bigger.write_text(SMALL.read_text().replace("image: debian-13", "image: debian-13\n    memory: 600", 1))
    before = dict(world.domains)
    with pytest.raises(Refused, match="server"):
        up(place, source=bigger)
    assert world.domains == before
    up(place, source=bigger, replace_changed=True)
    assert world.domains[f"{LAB}.server"] != before[f"{LAB}.server"]
    assert world.domains[f"{LAB}.desk"] == before[f"{LAB}.desk"]


def test_a_foreign_machine_stops_up_before_anything_is_made(tmp_path: Path) -> None:  # F-25
    world = World()
    foreign = SeenDomain(f"{LAB}.desk", "u", DomainState.RUNNING)
    world.domains[foreign.name] = foreign
    with pytest.raises(Refused, match=r"small-alice\.desk"):
        up(make_place(tmp_path, world))
    assert list(world.domains.values()) == [foreign]
    assert not world.networks
    assert not (tmp_path / "labs" / LAB).exists()


def test_a_lab_that_is_worked_on_is_busy_and_says_by_whom(tmp_path: Path) -> None:  # F-07
    place = make_place(tmp_path, World())
    with hold_lab(tmp_path, LAB, "up"), pytest.raises(Busy, match=r"pid \d+") as caught:
        up(place)
    assert '"up"' in caught.value.message
    up(place)  # the lock went with its holder


def test_a_polite_stop_ends_between_two_steps_and_the_next_run_goes_on(tmp_path: Path) -> None:  # F-06
    world = World()
    stop = Stop()
    stop.ask()
    topology = load_topology(SMALL, catalogue())
    place = make_place(tmp_path, world)
    with pytest.raises(Interrupted):
        bring_up(place, Wish(topology, SMALL, "alice"), lambda _image: Pace("tcg", 1.0), Silent(), stop)
    up(place)
    assert goal(world) == WHOLE


def test_secrets_are_for_their_owner_alone_and_differ_between_labs(tmp_path: Path) -> None:  # SEC-15, SEC-16
    up(make_place(tmp_path, World()))
    secrets = tmp_path / "labs" / LAB / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
    other = tmp_path / "other"
    up(make_place(other, World()))
    for name in ("login_ed25519", "host_desk_ed25519", "ca.key"):
        assert (secrets / name).read_bytes() != (other / "labs" / LAB / "secrets" / name).read_bytes()


def test_status_tells_a_machine_that_stopped_or_left(tmp_path: Path) -> None:  # F-13, F-24
    world = World()
    place = make_place(tmp_path, world)
    up(place)
    (lab,) = read_status(place, lambda _lab: False)
    assert (lab.state, [node.state for node in lab.nodes]) == ("ready", [NodeState.READY, NodeState.READY])
    world.domains[f"{LAB}.desk"] = replace(world.domains[f"{LAB}.desk"], state=DomainState.CRASHED, reason="crashed")
    del world.domains[f"{LAB}.server"]
    (lab,) = read_status(place, lambda _lab: False)
    assert (lab.state, [node.state for node in lab.nodes]) == ("failed", [NodeState.MISSING, NodeState.CRASHED])
    assert json.dumps(lab.to_dict())


def test_down_never_takes_the_disk_of_a_machine_that_is_not_ours(tmp_path: Path) -> None:  # SEC-11
    world = World()
    place = make_place(tmp_path, world)
    up(place)
    disk = tmp_path / "labs" / LAB / "disks" / "desk.qcow2"
    foreign = SeenDomain("somebody", "u", DomainState.RUNNING, disks=(str(disk),))
    world.domains[foreign.name] = foreign
    with pytest.raises(Refused, match="somebody"):
        take_down(place, LAB, Silent())
    assert disk.exists()
