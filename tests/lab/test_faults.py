"""Faults at every call to the outside, killed processes, two runs at once, and objects of somebody else."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.classroom.labs import plan_labs
from labctl.errors import Busy, ExitCode, HostNotReady, LabctlError, Refused
from labctl.lab.down import take_down
from labctl.lab.status import read_status
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.names import home_mark
from labctl.plan.observed import DomainState, SeenDomain, SeenNetwork, Tag
from labctl.topology.load import load_topology
from tests.cli.conftest import Installation
from tests.lab.doubles import Fault, Halt, Kill, World, make_place
from tests.lab.test_golden import SMALL, bring
from tests.processes import start
from tests.worlds import catalogue

NODES = ("server", "desk")
OWNERS = ("alice", "bob")


def check_whole(place: Workplace, world: World, *owners: str) -> None:
    """Assert that the labs of these owners, and no other object of ours, are there: running, personal, marked."""
    labs = [f"small-{owner}" for owner in owners]
    domains = {name: seen for name, seen in world.domains.items() if seen.tag}
    assert set(domains) == {f"{lab}.{node}" for lab in labs for node in NODES}
    assert {name for name, seen in world.networks.items() if seen.tag} == {
        f"{lab}.{network}" for lab in labs for network in ("lan", "mgmt")
    }
    assert {seen.state for seen in domains.values()} <= {DomainState.RUNNING}
    assert all(seen.tag and seen.tag.configured for seen in domains.values())
    assert set(domains) <= set(world.personal)
    assert sorted(path.name for path in (place.home / "labs").iterdir()) == sorted(labs)
    for lab in labs:
        assert place.store.open_intents(lab) == ()
        assert {path.stem for path in place.folders(lab).disk("x").parent.glob("*.qcow2")} >= set(NODES)
    assert [plan.actions for plan in plan_labs(place, load_topology(SMALL, catalogue()), owners)] == [()] * len(owners)


def go_up(place: Workplace) -> list[str]:
    return [result.owner for result in bring(place, *OWNERS) if not result.ready]


def go_reset(place: Workplace) -> list[str]:
    return [result.owner for result in bring(place, *OWNERS, reset=("desk",)) if not result.ready]


def go_down(place: Workplace) -> list[str]:
    for owner in OWNERS:
        take_down(place, f"small-{owner}", Silent())
    return []


Verb = Callable[[Workplace], list[str]]
VERBS: tuple[Verb, ...] = (go_up, go_reset, go_down)
ERRORS: tuple[type[LabctlError], ...] = (LabctlError, HostNotReady)


def begin(home: Path, world: World, verb: Verb) -> Workplace:
    """Make the golden lab, and the class where the verb needs one."""
    place = make_place(home, world)
    bring(place, *OWNERS)
    if verb is go_up:
        go_down(place)
    return place


def calls_of(verb: Verb, home: Path) -> int:
    world, fault = World(), Fault()
    begin(home, world, verb)
    assert verb(make_place(home, world, fault)) == []
    return fault.calls


def finish(verb: Verb, home: Path, world: World) -> None:
    """Give the same command again, and see that it reaches the goal; go back to where the verb begins."""
    place = make_place(home, world)
    if verb is go_down:
        go_down(place)
        check_whole(place, world)
        assert go_up(place) == []
        return
    assert go_up(place) == []
    check_whole(place, world, *OWNERS)
    if verb is go_up:
        go_down(place)
        check_whole(place, world)


# F-01, F-02, F-03, F-10, F-28
@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_an_error_at_any_outside_call_stays_with_its_lab_and_the_next_run_ends(verb: Verb, tmp_path: Path) -> None:
    total = calls_of(verb, tmp_path / "count")
    assert total >= 16
    world, home = World(), tmp_path / "home"
    begin(home, world, verb)
    for number in range(1, total + 1):
        # labctl does the same after both; the two take turns, and change places from one verb to the next.
        error = ERRORS[(number + VERBS.index(verb)) % len(ERRORS)]
        fault = Fault(number, error)
        place = make_place(home, world, fault)
        if verb is go_down:
            with pytest.raises(error):
                verb(place)
        else:
            assert len(verb(place)) <= 1, number  # made good at once, or one lab failed and the other did not
        assert fault.calls >= number
        finish(verb, home, world)


def run_and_die(verb: Verb, home: Path, world: Path, number: int) -> None:
    verb(make_place(home, World(world), Kill(number)))


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# F-01, F-02, F-03, F-05, F-20, F-21
@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_process_killed_at_any_outside_call_is_followed_by_one_that_ends(verb: Verb, tmp_path: Path) -> None:
    total = calls_of(verb, tmp_path / "count")
    home, folder = tmp_path / "home", tmp_path / "world"
    world = World(folder)
    begin(home, world, verb)
    for number in range(1, total + 1):
        process = start(run_and_die, verb, home, folder, number)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, number
        check_disks(make_place(home, world), world)
        assert read_status(make_place(home, world), lambda _lab: False) is not None  # it can be looked at
        finish(verb, home, world)


def check_disks(place: Workplace, world: World) -> None:
    """Assert that no machine is without its disk, the old one or the new one."""
    for seen in world.domains.values():
        assert seen.tag is not None
        assert place.folders(seen.tag.lab).disk(seen.tag.member).exists(), seen.name


def run_and_halt(verb: Verb, home: Path, world: Path, sign: Path) -> None:
    verb(make_place(home, World(world), Halt(3, sign)))


@pytest.fixture
def halted(tmp_path: Path) -> Iterator[tuple[Workplace, World, int]]:
    """Give an installation in which another process is in the middle of `up`."""
    home, folder, sign = tmp_path / "labctl", tmp_path / "world", tmp_path / "sign"
    world = World(folder)
    place = begin(home, world, go_up)
    process = start(run_and_halt, go_up, home, folder, sign)
    try:
        wait_for(sign.exists)
        assert process.pid is not None
        yield place, world, process.pid
    finally:
        sign.unlink(missing_ok=True)
        process.join(120)
    assert process.exitcode in {0, -signal.SIGKILL}


def held(place: Workplace) -> str:
    """Return which of the two labs the other process holds; it may not have reached the second one."""
    names = [f"small-{owner}" for owner in OWNERS]
    wait_for(lambda: any(place.store.open_intents(name) for name in names))
    return next(name for name in names if place.store.open_intents(name))


def test_a_second_run_on_a_lab_is_told_who_works_there(halted: tuple[Workplace, World, int]) -> None:  # F-07
    place, world, pid = halted
    lab, before = held(place), dict(world.domains)
    with pytest.raises(Busy, match=rf'"{lab}": "up" by \w+ since \d{{4}}-.* \(pid {pid}\)') as caught:
        take_down(place, lab, Silent())
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.BUSY, f"labctl status {lab}")
    result = next(one for one in bring(place, *OWNERS) if one.owner == lab.partition("-")[2])
    assert isinstance(result.error, Busy)
    assert f"(pid {pid})" in result.error.message
    assert set(before) <= set(world.domains)


def test_the_command_line_ends_with_the_code_for_busy(halted: tuple[Workplace, World, int]) -> None:  # F-07
    place, _world, pid = halted
    lab = held(place)
    done = Installation(place.home.parent).run("down", lab, "--yes")
    assert done.returncode == ExitCode.BUSY, done.stderr
    assert f"(pid {pid})" in done.stderr
    assert "Try: labctl status" in done.stderr


def test_the_lock_dies_with_its_process(halted: tuple[Workplace, World, int]) -> None:  # F-05, F-07
    place, world, pid = halted
    held(place)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}/exe").exists())
    assert go_up(make_place(place.home, world)) == []
    check_whole(place, world, *OWNERS)


OTHER_HOME = Tag("small-alice", "small", "alice", "desk", "spec", "done", home="of another")


def add_foreign(world: World, place: Workplace, kind: str, tag: Tag | None) -> None:
    """Put something of somebody else where the lab of alice wants its own."""
    planned = plan_labs(place, load_topology(SMALL, catalogue()), ["alice"])[0]
    network = next(one for one in planned.networks if one.member == "lan")
    world.domains.pop("small-alice.desk", None)
    world.networks.pop(network.name, None)
    if kind == "domain":
        world.domains["small-alice.desk"] = SeenDomain("small-alice.desk", "u", DomainState.RUNNING, tag=tag)
    elif kind == "network":
        world.networks[network.name] = SeenNetwork(network.name, "u", "virbr7", active=True, tag=tag)
    else:
        world.links.add(network.bridge)


FOREIGN = [("domain", None), ("domain", OTHER_HOME), ("network", None), ("network", OTHER_HOME), ("bridge", None)]
FOREIGN_IDS = ["domain", "domain of another home", "network", "network of another home", "bridge"]


def seen_of_alice(world: World) -> list[tuple[str, SeenDomain | SeenNetwork]]:
    everything: dict[str, SeenDomain | SeenNetwork] = {**world.domains, **world.networks}
    return [(name, seen) for name, seen in everything.items() if "alice" in name]


@pytest.mark.parametrize("verb", ["up", "reset"])
@pytest.mark.parametrize(("kind", "tag"), FOREIGN, ids=FOREIGN_IDS)
def test_what_is_not_ours_stops_its_lab_and_no_other(kind: str, tag: Tag | None, verb: str, tmp_path: Path) -> None:
    # F-25, F-28
    world = World()
    place = begin(tmp_path / "home", world, go_reset)
    if verb == "up":
        take_down(place, "small-bob", Silent())
    add_foreign(world, place, kind, tag)
    before = seen_of_alice(world)
    alice, bob = bring(place, *OWNERS, reset=("desk",) if verb == "reset" else ())
    assert isinstance(alice.error, Refused), alice
    assert alice.error.exit_code == ExitCode.REFUSED
    assert "left untouched" in alice.error.message
    assert bob.ready
    assert seen_of_alice(world) == before
    assert len(world.links) == (kind == "bridge")


@pytest.mark.parametrize(("kind", "tag"), FOREIGN, ids=FOREIGN_IDS)
def test_down_removes_around_what_is_not_ours(kind: str, tag: Tag | None, tmp_path: Path) -> None:  # F-25
    world = World()
    place = begin(tmp_path / "home", world, go_reset)
    add_foreign(world, place, kind, tag)
    ours = {"small-alice.desk", "small-alice.server", "small-alice.lan", "small-alice.mgmt"}
    foreign = [one for one in seen_of_alice(world) if place_sees_foreign(place, one)]
    links = set(world.links)
    removal = take_down(place, "small-alice", Silent())
    assert set(removal.domains) | set(removal.networks) < ours
    assert (seen_of_alice(world), world.links) == (foreign, links)
    assert {f"small-bob.{node}" for node in NODES} <= set(world.domains)


def place_sees_foreign(place: Workplace, named: tuple[str, SeenDomain | SeenNetwork]) -> bool:
    """Return whether an object is somebody else's for this installation."""
    home = home_mark(str(place.home))
    return named[1].tag is None or named[1].tag.home != home


def test_a_lab_destroyed_behind_our_back_comes_back_and_the_others_stay(tmp_path: Path) -> None:  # F-13, F-22, F-24
    world = World()
    home = tmp_path / "home"
    place = begin(home, world, go_reset)
    world.domains["small-alice.desk"] = replace(world.domains["small-alice.desk"], state=DomainState.CRASHED)
    del world.domains["small-alice.server"]
    del world.networks["small-alice.lan"]
    place.folders("small-alice").disk("server").unlink()
    bob = {name: seen for name, seen in world.domains.items() if "bob" in name}
    shutil.rmtree(place.folders("small-alice").identity("x").parent)
    assert go_up(make_place(home, world)) == []
    check_whole(place, world, *OWNERS)
    assert {name: seen for name, seen in world.domains.items() if "bob" in name} == bob
