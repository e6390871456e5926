"""Checkpoints: memory and disks of one moment, brought back as they were; a crash at any call loses no lab."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import Interrupted, LabctlError, Refused
from labctl.golden import list_golden, remove_golden
from labctl.images.copying import copy_disk
from labctl.lab.checkpoint import checkpoints_of
from labctl.lab.down import take_down
from labctl.lab.keeping import Keeper, remove_checkpoint, save_checkpoint
from labctl.lab.rewind import restore_checkpoint
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.observed import DomainState
from tests.lab.doubles import PERSONAL, World, make_place
from tests.lab.test_golden import bring, write_overlay_header

LAB = "small-alice"
NODES = ("server", "desk")


def keeper(place: Workplace, **changes: object) -> Keeper:
    made = Keeper(place, LAB, lambda _image: Pace("tcg", 1.0), Silent(), Stop())
    return replace(made, **changes)  # type: ignore[arg-type]  # test data by name


def disk(place: Workplace, node: str) -> Path:
    return place.folders(LAB).disk(node)


def work(place: Workplace, world: World, step: str) -> None:
    """Do something on every machine, in its memory and on its disk."""
    for node in NODES:
        world.memory[f"{LAB}.{node}"] = f"{step} of {node}"
        disk(place, node).write_text(f"{step} of {node}")


def memories(world: World) -> list[str]:
    return [world.memory.get(f"{LAB}.{node}", "") for node in NODES]


def disks(place: Workplace) -> list[str]:
    return [disk(place, node).read_text() for node in NODES]


def step(name: str) -> list[str]:
    return [f"{name} of {node}" for node in NODES]


def states(world: World) -> set[DomainState]:
    return {world.domains[f"{LAB}.{node}"].state for node in NODES}


def begin(home: Path) -> tuple[World, Workplace]:
    """Return a lab on which step 1 was done."""
    world = World()
    place = make_place(home, world)
    assert bring(place, "alice")[0].ready
    work(place, world, "step 1")
    return world, place


def test_a_step_is_kept_and_brought_back_with_memory_and_disk(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    tags = {name: domain.tag for name, domain in world.domains.items()}
    save_checkpoint(keeper(place), "step-1")
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, step("step 1"), step("step 1"))
    work(place, world, "step 2")
    world.personal.clear()
    restored = restore_checkpoint(keeper(place), "step-1")
    assert (restored.failures, restored.silent, restored.cold) == ({}, {}, [])
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, step("step 1"), step("step 1"))
    assert {name: domain.tag for name, domain in world.domains.items()} == tags
    assert world.personal == set(world.domains)  # clock, leases and keys
    (plan,) = [result.plan for result in bring(place, "alice")]
    assert plan is not None
    assert plan.actions == ()


def test_checkpoints_are_listed_by_date_and_do_not_depend_on_each_other(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "first")
    work(place, world, "step 2")
    save_checkpoint(keeper(place), "second")
    work(place, world, "step 3")
    assert [one.id for one in checkpoints_of(place, LAB)] == ["first", "second"]
    assert {one.nodes for one in checkpoints_of(place, LAB)} == {("desk", "server")}
    remove_checkpoint(keeper(place), "first")
    assert [one.id for one in checkpoints_of(place, LAB)] == ["second"]
    restore_checkpoint(keeper(place), "second")
    assert (memories(world), disks(place)) == (step("step 2"), step("step 2"))


def test_every_act_is_written_down_with_who_and_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    _world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    restore_checkpoint(keeper(place), "one")
    remove_checkpoint(keeper(place), "one")
    told = [(event.who, event.what, event.detail) for event in place.store.events(LAB) if "checkpoint" in event.what]
    acts = [f"checkpoint {act}{end}" for act in ("save", "restore", "rm") for end in ("", " ended")]
    assert told == [("alice", act, "one") for act in acts]
    assert all(event.at for event in place.store.events(LAB))


def test_files_of_a_checkpoint_are_for_root_alone(tmp_path: Path) -> None:
    _world, place = begin(tmp_path)
    made = save_checkpoint(keeper(place), "one").checkpoint
    modes = {path.stat().st_mode & 0o777 for path in made.folder.rglob("*") if path.is_file()}
    assert modes == {0o400, 0o600}
    assert {path.stat().st_mode & 0o077 for path in made.folder.rglob("*") if path.is_dir()} == {0}


def test_a_name_is_taken_once_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    work(place, world, "step 2")
    with pytest.raises(Refused, match="already"):
        save_checkpoint(keeper(place), "one")
    save_checkpoint(keeper(place), "one", replace=True)
    work(place, world, "step 3")
    restore_checkpoint(keeper(place), "one")
    assert disks(place) == step("step 2")
    assert [path.name for path in (place.folders(LAB).top / "checkpoints").iterdir()] == ["one"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "Step", "-a", "a.new", "x" * 32, "é"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    place = make_place(tmp_path, World())
    with pytest.raises(LabctlError, match="small letters"):
        save_checkpoint(keeper(place), name)


def test_an_unknown_checkpoint_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    _world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    for act in (restore_checkpoint, remove_checkpoint):
        with pytest.raises(LabctlError, match=r'no checkpoint "two".*one'):
            act(keeper(place), "two")


def test_a_lab_that_does_not_run_as_a_whole_is_not_kept(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    world.domains[f"{LAB}.desk"] = replace(world.domains[f"{LAB}.desk"], state=DomainState.STOPPED)
    with pytest.raises(Refused, match="desk") as caught:
        save_checkpoint(keeper(place), "one")
    assert caught.value.hint == "labctl up small --student alice"
    assert checkpoints_of(place, LAB) == ()


def test_machines_and_disks_that_are_gone_come_back(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    shutil.rmtree(disk(place, "desk").parent)
    disk(place, "desk").parent.mkdir(mode=0o711)
    for name in [name for name in world.domains if name.startswith(LAB)]:
        world.domains.pop(name)
    world.networks.clear()
    restore_checkpoint(keeper(place), "one")
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, step("step 1"), step("step 1"))
    assert {network for network in world.networks if network.startswith(LAB)} == {f"{LAB}.lan", f"{LAB}.mgmt"}


def test_a_reset_leaves_checkpoints_alone_and_down_takes_them_along(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    assert bring(place, "alice", reset=NODES)[0].ready
    assert disks(place) == [PERSONAL, PERSONAL]
    restore_checkpoint(keeper(place), "one")
    assert (memories(world), disks(place)) == (step("step 1"), step("step 1"))
    take_down(place, LAB, Silent())
    assert checkpoints_of(place, LAB) == ()
    assert not place.folders(LAB).top.exists()


def test_a_golden_lab_is_kept_while_a_checkpoint_stands_on_it(tmp_path: Path) -> None:
    _world, place = begin(tmp_path)
    (golden,) = list_golden(place)
    made = save_checkpoint(keeper(place), "one").checkpoint
    made.disk("desk").chmod(0o600)
    write_overlay_header(made.disk("desk"), golden.disk("desk"))
    with pytest.raises(Refused, match="small-alice/one") as caught:
        remove_golden(place, golden)
    assert caught.value.hint == "labctl checkpoint rm small-alice one"
    assert golden.manifest.exists()


@pytest.mark.parametrize("file", ["disks/desk.qcow2", "states/server.save", "topology.yml"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_changed_checkpoint_is_named_and_nothing_is_touched(tmp_path: Path, file: str, missing: bool) -> None:  # F-23
    world, place = begin(tmp_path)
    path = save_checkpoint(keeper(place), "one").checkpoint.folder / file
    work(place, world, "step 2")
    before = dict(world.domains)
    if missing:
        path.unlink()
    else:
        path.chmod(0o600)
        path.write_text("changed")
    with pytest.raises(LabctlError, match=path.name):
        restore_checkpoint(keeper(place), "one")
    assert (world.domains, memories(world), disks(place)) == (before, step("step 2"), step("step 2"))


def test_a_lab_with_other_machines_is_not_mixed_with_a_checkpoint(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    topology = place.folders(LAB).topology
    topology.write_text(topology.read_text().replace("desk", "bureau"))
    before = dict(world.domains)
    with pytest.raises(Refused, match="was changed since") as caught:
        restore_checkpoint(keeper(place), "one")
    assert "checkpoints/one/topology.yml --student alice --replace" in caught.value.hint
    assert world.domains == before


def test_a_memory_that_fits_no_more_boots_cold_from_the_kept_disk(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    save_checkpoint(keeper(place), "one")
    work(place, world, "step 2")
    world.cold = True
    restored = restore_checkpoint(keeper(place), "one")
    assert sorted(restored.cold) == sorted(NODES)
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, ["", ""], step("step 1"))
    assert all(domain.tag and domain.tag.configured for domain in world.domains.values())


def test_a_machine_that_was_kept_broken_is_told_and_is_no_failure(tmp_path: Path) -> None:
    world, place = begin(tmp_path)
    world.silent.add(f"{LAB}.desk")
    save_checkpoint(keeper(place), "broken")
    restored = restore_checkpoint(keeper(place), "broken")
    assert (restored.failures, set(restored.silent)) == ({}, {"desk"})
    assert memories(world) == step("step 1")


def test_too_little_room_is_refused_with_the_numbers_before_anything_is_touched(tmp_path: Path) -> None:  # F-15
    world, place = begin(tmp_path)
    before = dict(world.domains)
    with pytest.raises(Refused, match=r"1024 MiB.*100 MiB left") as caught:
        save_checkpoint(keeper(place, room=lambda _folder: 100 << 20), "one")
    assert caught.value.exit_code == 6
    save_checkpoint(keeper(place), "one")
    with pytest.raises(Refused, match="100 MiB left"):
        restore_checkpoint(keeper(place, room=lambda _folder: 100 << 20), "one")
    assert (world.domains, memories(world)) == (before, step("step 1"))


def full_disk(at: str) -> Callable[[Path, Path], None]:
    def copy(source: Path, target: Path) -> None:
        if target.name.startswith(at):
            target.write_text("half")
            raise LabctlError("no room is left")
        copy_disk(source, target)

    return copy


def test_a_disk_that_is_full_in_the_middle_keeps_nothing_and_the_lab_runs_on(tmp_path: Path) -> None:  # F-15, F-16
    world, place = begin(tmp_path)
    world.full = True
    with pytest.raises(LabctlError, match="no room for the memory"):
        save_checkpoint(keeper(place), "one")
    world.full = False
    with pytest.raises(LabctlError, match="no room is left"):
        save_checkpoint(keeper(place, copy=full_disk("desk")), "one")
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, step("step 1"), step("step 1"))
    assert list((place.folders(LAB).top / "checkpoints").iterdir()) == []
    assert place.store.open_intents(LAB) == ()
    save_checkpoint(keeper(place), "one")
    work(place, world, "step 2")
    with pytest.raises(LabctlError, match="no room is left"):
        restore_checkpoint(keeper(place, copy=full_disk("desk")), "one")
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, step("step 2"), step("step 2"))
    assert sorted(path.name for path in disk(place, "x").parent.iterdir()) == ["desk.qcow2", "server.qcow2"]


def test_a_real_full_disk(tmp_path: Path) -> None:
    """A file system of 2 MiB: `cp` itself finds no room, and leaves nothing behind."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=2m none {small}"):
        pytest.skip("a file system cannot be mounted here")
    try:
        source = tmp_path / "source"
        source.write_bytes(os.urandom(3 << 20))
        with pytest.raises(LabctlError, match="no room left"):
            copy_disk(source, small / "target")
        assert list(small.iterdir()) == []
    finally:
        os.system(f"umount {small}")


def test_a_stop_that_is_asked_for_leaves_the_lab_as_it_was(tmp_path: Path) -> None:  # F-06
    world, place = begin(tmp_path)
    stop = Stop()
    stop.ask()
    with pytest.raises(Interrupted):
        save_checkpoint(keeper(place, stop=stop), "one")
    save_checkpoint(keeper(place), "one")
    work(place, world, "step 2")
    with pytest.raises(Interrupted):
        restore_checkpoint(keeper(place, stop=stop), "one")
    assert (states(world), memories(world), disks(place)) == ({DomainState.RUNNING}, step("step 2"), step("step 2"))
