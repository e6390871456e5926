"""What a repair brings back, clears and leaves: the database, topologies, leftovers, foreign objects, busy labs."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.appliances.prepare import remove_killed
from labctl.errors import LabctlError
from labctl.images.folder import hold
from labctl.images.store import BUILD_LOCK
from labctl.lab.leftovers import dead_deliveries
from labctl.lab.lock import hold_lab
from labctl.lab.repair import Deed, Finding, Repair
from labctl.lab.status import read_status
from labctl.lab.workplace import Workplace
from labctl.plan.names import home_mark
from labctl.plan.observed import DomainState, SeenDomain, SeenNetwork
from labctl.render.windows.machine import InstallMachine
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from tests.lab.doubles import Crash, Fault, World, make_place
from tests.lab.test_up import SMALL, WHOLE, up
from tests.worlds import catalogue

LAB = "small-alice"
NEW_OVERLAY = "disks/desk.new.qcow2"


def repair(place: Workplace, *, dry: bool = False, shipped: Path | None = None) -> list[Finding]:
    return list(Repair(place, shipped or shipped_folder("topologies"), dry=dry).run())


def deeds(found: list[Finding]) -> list[tuple[str, Deed]]:
    return [(one.kind, one.deed) for one in found]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def place(tmp_path: Path, world: World) -> Workplace:
    found = make_place(tmp_path / "home", world)
    up(found)
    return found


def files(home: Path) -> dict[str, bytes]:
    """Everything but the database's own files, whose log comes and goes."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def test_there_is_nothing_to_repair(place: Workplace, world: World) -> None:
    before, domains = files(place.home), dict(world.domains)
    assert repair(place) == []
    assert repair(place, dry=True) == []
    after = files(place.home)
    assert {name for name in before if before[name] != after[name]} <= {f"locks/{LAB}.lock", "labctl.sqlite3"}
    assert world.domains == domains


def test_a_damaged_database_is_set_aside_and_labs_are_known_again(place: Workplace) -> None:  # F-19
    place.store.path.write_bytes(b"no database\n" * 1000)
    with pytest.raises(LabctlError) as caught:
        read_status(place, lambda _lab: False)
    assert caught.value.hint == "labctl repair"
    before = files(place.home)
    dry = repair(place, dry=True)
    assert deeds(dry) == [("database", Deed.FOUND), ("lab", Deed.FOUND)]
    assert files(place.home) == before
    done = repair(place)
    assert deeds(done) == [("database", Deed.MENDED), ("lab", Deed.MENDED)]
    assert [(one.kind, one.text) for one in dry] == [(one.kind, one.text) for one in done]
    (aside,) = place.home.glob("labctl.sqlite3.broken-*")
    assert aside.read_bytes() == b"no database\n" * 1000
    known = place.store.labs()[LAB]
    assert known.boot == place.boot_id
    assert known.made <= known.up
    (lab,) = read_status(place, lambda _lab: False)
    assert lab.state == "ready"
    assert repair(place) == []


def test_a_deleted_database_is_rebuilt_from_libvirt(place: Workplace, world: World) -> None:
    """A lab whose machines are all off says nothing about the boot it was last up in."""
    for path in place.home.glob("labctl.sqlite3*"):
        path.unlink()
    for name, domain in world.domains.items():
        world.domains[name] = replace(domain, state=DomainState.STOPPED)
    assert deeds(repair(place)) == [("lab", Deed.MENDED)]
    assert place.store.labs()[LAB].boot == ""
    assert repair(place) == []


def other_topology(home: Path) -> None:
    folder = home / "labs" / "small-bob"
    folder.mkdir()
    text = SMALL.read_text(encoding="utf-8").replace("10.0.0.1", "10.0.0.7")
    (folder / "topology.yml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("nodes: [", encoding="utf-8")])
def test_a_lost_topology_comes_back_from_where_the_machines_are_the_same(
    place: Workplace, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    other_topology(place.home)  # of the same name, with other machines
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    shutil.copy(SMALL, shipped / "first.yml")
    path = place.folders(LAB).topology
    harm(path)
    found = [one for one in repair(place, shipped=shipped) if one.subject == LAB]
    assert deeds(found) == [("topology", Deed.MENDED)]
    assert str(shipped / "first.yml") in found[0].text
    assert path.read_bytes() == SMALL.read_bytes()
    assert up(place)[0].actions == ()
    assert [one for one in repair(place, shipped=shipped) if one.subject == LAB] == []


def test_a_topology_that_would_make_other_machines_is_not_taken(place: Workplace) -> None:
    other_topology(place.home)
    place.folders(LAB).topology.unlink()
    found = [one for one in repair(place) if one.subject == LAB]
    assert deeds(found) == [("topology", Deed.LEFT)]
    assert not place.folders(LAB).topology.exists()


def test_a_lost_folder_comes_back_with_its_topology(place: Workplace, tmp_path: Path) -> None:
    shutil.rmtree(place.home / "labs" / LAB)
    shutil.copy(SMALL, tmp_path / "small.yml")
    assert deeds(repair(place, shipped=tmp_path)) == [("topology", Deed.MENDED)]
    assert not up(place)[1].failures


def leave(place: Workplace, name: str) -> Path:
    path = place.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")
    return path


def test_what_crashes_left_is_removed(place: Workplace) -> None:  # F-01, F-15, F-50
    left = [
        leave(place, f"labs/{LAB}/disks/.desk.qcow2.123.tmp"),
        leave(place, f"labs/{LAB}/{NEW_OVERLAY}"),
        leave(place, f"labs/{LAB}/identity/.desk.new"),
        leave(place, f"labs/{LAB}/secrets/.ca.key.new"),
        leave(place, "golden/small-0123456789ab/states/.restore-999999999-7"),
        leave(place, ".labctl.schema-1.sqlite3.99.tmp"),
    ]
    rest = leave(place, "golden/small-0123456789ab/disks/desk.qcow2").parents[1]
    empty = place.home / "labs" / "small-nobody"
    (empty / "disks").mkdir(parents=True)
    dry = repair(place, dry=True)
    assert all(path.exists() for path in (*left, rest, empty))
    done = repair(place)
    assert {one.deed for one in dry} == {Deed.FOUND}
    assert {one.deed for one in done} == {Deed.MENDED}
    assert [one.subject for one in dry] == [one.subject for one in done]
    assert {one.subject for one in done} == {str(path) for path in (*left, rest, empty)}
    assert not any(path.exists() for path in (*left, rest, empty))
    assert repair(place) == []
    assert up(place)[0].actions == ()


def overlay(path: Path, base: Path) -> None:
    path.unlink(missing_ok=True)
    words = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(path), "1M"]
    subprocess.run(words, check=True)


def test_what_is_in_use_or_somebody_s_stays(place: Workplace, world: World) -> None:  # F-24
    kept = [
        leave(place, f"labs/{LAB}/{NEW_OVERLAY}"),
        leave(place, "golden/small-0123456789ab/disks/desk.qcow2"),
        leave(place, "golden/notes/readme.txt"),
        leave(place, "golden/small-ba9876543210/manifest.json"),
        leave(place, f"golden/small-ba9876543210/states/.restore-{os.getpid()}-7"),
        leave(place, "labs/small-gone/disks/desk.qcow2"),
        leave(place, f"labs/{LAB}/checkpoints/one.new/states/.desk.save.9.tmp"),
    ]
    overlay(place.folders(LAB).disk("desk"), kept[1])
    name = f"{LAB}.desk"
    world.domains[name] = replace(world.domains[name], disks=(str(kept[0]),))
    found = repair(place)
    assert {one.deed for one in found} == {Deed.LEFT}
    assert {one.kind for one in found} == {"golden", "remains", "checkpoint"}
    assert all(path.exists() for path in kept)


def test_a_new_disk_below_another_stays(place: Workplace) -> None:
    below = leave(place, f"labs/{LAB}/{NEW_OVERLAY}")
    overlay(place.folders(LAB).disk("desk"), below)
    assert repair(place) == []
    assert below.exists()


def test_a_delivery_of_a_living_process_stays(tmp_path: Path) -> None:
    states = tmp_path / "golden" / "small-0123456789ab" / "states"
    states.mkdir(parents=True)
    for name in (f".restore-{os.getpid()}-1", ".restore-999999999-1", ".restore-mine", "desk.save"):
        os.mkfifo(states / name)
    assert [path.name for path in dead_deliveries(tmp_path)] == [".restore-999999999-1"]


def test_foreign_objects_are_named_and_not_touched(place: Workplace, world: World) -> None:  # F-25
    disk = str(place.home / "labs" / LAB / "disks" / "stolen.qcow2")
    world.domains[f"{LAB}.other"] = SeenDomain(f"{LAB}.other", "u1", DomainState.RUNNING)
    world.domains["elsewhere"] = SeenDomain("elsewhere", "u2", DomainState.RUNNING, disks=(disk,))
    world.domains["windows"] = SeenDomain("windows", "u3", DomainState.RUNNING)
    world.networks[f"{LAB}.dmz"] = SeenNetwork(f"{LAB}.dmz", "u4", "virbr9", active=True)
    before = (dict(world.domains), dict(world.networks))
    found = repair(place)
    assert {one.subject for one in found} == {f"{LAB}.other", "elsewhere", f"{LAB}.dmz"}
    assert {one.deed for one in found} == {Deed.LEFT}
    assert (world.domains, world.networks) == before


def test_the_machine_of_a_killed_image_build_goes_that_of_a_living_one_stays(place: Workplace, world: World) -> None:
    mark = home_mark(str(place.home))
    ours = InstallMachine("image-windows-2022", place.home, (place.home,) * 3, 4096, home=mark)
    other = replace(ours, name="image-windows-11", home="another")
    for machine in (ours, other):
        world.domains[machine.name] = SeenDomain(machine.name, "u", DomainState.RUNNING, tag=machine.tag)
    (place.home / "images").mkdir(exist_ok=True)
    with hold(place.home / "images" / BUILD_LOCK):
        assert deeds(repair(place)) == [("busy", Deed.BUSY)]
    assert deeds(repair(place, dry=True)) == [("workbench", Deed.FOUND)]
    assert ours.name in world.domains
    (found,) = repair(place)
    assert (found.kind, found.subject, found.deed) == ("workbench", ours.name, Deed.MENDED)
    assert world.domains.keys() == {*WHOLE[0], other.name}


def test_an_image_build_removes_what_another_one_left_when_it_was_killed(place: Workplace, world: World) -> None:
    left = InstallMachine("image-windows-11", place.home, (place.home,) * 3, 4096, home=home_mark(str(place.home)))
    world.domains[left.name] = SeenDomain(left.name, "u", DomainState.RUNNING, tag=left.tag)
    remove_killed(place.machines, home_mark("elsewhere"), "")
    assert left.name in world.domains
    remove_killed(place.machines, home_mark(str(place.home)), "")
    assert sorted(world.domains) == WHOLE[0]


def test_the_labs_of_another_installation_are_not_ours(tmp_path: Path, world: World) -> None:
    up(make_place(tmp_path / "home", world))
    other = make_place(tmp_path / "other", world)
    assert repair(other) == []
    assert other.store.labs() == {}


def test_a_lab_that_a_run_works_on_is_skipped(place: Workplace) -> None:  # F-07
    left = leave(place, f"labs/{LAB}/{NEW_OVERLAY}")
    with hold_lab(place.home, LAB, "up"):
        lock = (place.home / "locks" / f"{LAB}.lock").read_text(encoding="utf-8")
        assert deeds(repair(place)) == deeds(repair(place, dry=True)) == [("busy", Deed.BUSY)]
        assert (place.home / "locks" / f"{LAB}.lock").read_text(encoding="utf-8") == lock
    assert left.exists()
    assert deeds(repair(place)) == [("leftover", Deed.MENDED)]


def test_interrupted_work_is_forgotten_once_the_lab_is_whole(place: Workplace, world: World) -> None:
    def crash() -> None:
        with place.store.intent(LAB, "create machine", "desk"):
            raise Crash

    with pytest.raises(Crash):
        crash()
    name = f"{LAB}.desk"
    whole = world.domains[name]
    world.domains[name] = replace(whole, state=DomainState.CRASHED)
    assert deeds(repair(place)) == [("intent", Deed.LEFT)]
    world.domains[name] = whole
    assert deeds(repair(place)) == [("intent", Deed.MENDED)]
    assert repair(place) == []


def test_what_is_kept_of_a_lab_that_is_gone_is_forgotten(place: Workplace) -> None:
    place.store.save_outcomes("small-gone", [("reach", "passed", {})], whole=True)
    assert deeds(repair(place)) == [("forgotten", Deed.MENDED)]
    assert "small-gone" not in place.store.outcomes()


def test_a_dead_process_gives_up_its_place_in_the_queue(place: Workplace) -> None:  # F-05
    place.store.add_job(LAB, "reset", [], "alice")
    with place.store.transaction() as connection:
        connection.execute("UPDATE job SET pid_started = 'before'")
    assert deeds(repair(place)) == [("job", Deed.MENDED)]
    assert repair(place) == []


def test_a_repair_after_a_crash_anywhere_loses_nothing(tmp_path: Path) -> None:  # F-01
    """Whatever a killed `up` left: a repair breaks nothing, a second one finds nothing, and `up` ends."""
    count = Fault()
    up(make_place(tmp_path / "count", World(), count))
    for number in range(1, count.calls + 1, 3):
        world, home = World(), tmp_path / f"home{number}"
        with pytest.raises(Crash):
            up(make_place(home, world, Fault(number)))
        place = make_place(home, world)
        repair(place)
        assert {one.deed for one in repair(place)} <= {Deed.LEFT}, number
        assert not up(place)[1].failures, number
        assert repair(place) == [], number


def test_the_shipped_topologies_are_candidates() -> None:
    names = [load_topology(path, catalogue()).name for path in shipped_folder("topologies").glob("*.yml")]
    assert "dmz" in names
