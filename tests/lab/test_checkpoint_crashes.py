"""Checkpoints that a crash or an error cuts short, at every call to the outside: no lab and no work is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.images.copying import copy_disk
from labctl.lab.checkpoint import checkpoints_of
from labctl.lab.keeping import Keeper, remove_checkpoint, save_checkpoint
from labctl.lab.rewind import Restored, restore_checkpoint
from labctl.lab.status import read_status
from labctl.plan.observed import DomainState
from tests.lab.doubles import Crash, Fault, World, make_place
from tests.lab.test_checkpoint import LAB, NODES, begin, disk, disks, keeper, memories, states, step, work
from tests.lab.test_golden import bring


def failing(home: Path, world: World, fault: Fault) -> Keeper:
    """Return a keeper whose calls to the outside are counted, the copies of disks too, and fail at one of them."""

    def copy(source: Path, target: Path) -> None:
        fault.count()
        copy_disk(source, target)
        fault.count()

    return keeper(make_place(home, world, fault), copy=copy)


pytestmark = pytest.mark.slow  # each test is a whole lab for each call to the outside


def calls_of(act: Callable[[Keeper], object], home: Path) -> int:
    world, place = begin(home)
    save_checkpoint(keeper(place), "old")
    fault = Fault()
    act(failing(home, world, fault))
    return fault.calls


def save_new(one: Keeper) -> object:
    return save_checkpoint(one, "new")


def save_again(one: Keeper) -> object:
    return save_checkpoint(one, "old", replace=True)


def restore_old(one: Keeper) -> Restored:
    return restore_checkpoint(one, "old")


@pytest.mark.parametrize("error", [Crash, LabctlError])
@pytest.mark.parametrize("act", [save_new, save_again])
def test_a_save_that_ends_at_any_outside_call_loses_no_work(
    act: Callable[[Keeper], object], error: type[BaseException], tmp_path: Path
) -> None:  # F-01, F-04
    total = calls_of(act, tmp_path / "count")
    assert total > 10
    home = tmp_path / "home"
    world, place = begin(home)
    save_checkpoint(keeper(place), "old")
    ended = 0
    for number in range(1, total + 1):
        work(place, world, f"step {number}")
        try:
            act(failing(home, world, Fault(number, error)))
        except error:
            ended += 1
        if error is LabctlError:
            assert DomainState.STOPPED not in states(world), number
            bring(make_place(home, world), "alice")  # where one could not be resumed
        # Whichever verb comes next: the memory is still there, or the machine was off and boots from its whole disk.
        assert disks(place) == step(f"step {number}"), number
        save_checkpoint(keeper(make_place(home, world)), "next", replace=True)
        assert (states(world), memories(world)) == ({DomainState.RUNNING}, step(f"step {number}")), number
        assert disks(place) == step(f"step {number}"), number
        restore_checkpoint(keeper(place), "old" if act is save_new else "next")
        assert {path.name for path in (place.folders(LAB).top / "checkpoints").iterdir()} <= {"old", "new", "next"}
        for one in checkpoints_of(place, LAB):
            one.check()
            if one.id == "new":
                remove_checkpoint(keeper(place), "new")
    assert ended >= 10  # an agent that does not answer is no failure


@pytest.mark.parametrize("act", [save_new, restore_old])
def test_after_a_crash_up_makes_the_lab_run_from_whole_disks(
    act: Callable[[Keeper], object], tmp_path: Path
) -> None:  # F-03
    total = calls_of(act, tmp_path / "count")
    assert total > 10
    home = tmp_path / "home"
    world, place = begin(home)
    save_checkpoint(keeper(place), "old")
    for number in range(1, total + 1):
        work(place, world, "newer")
        with pytest.raises(Crash):
            act(failing(home, world, Fault(number)))
        (result,) = bring(make_place(home, world), "alice")
        assert result.ready, number
        assert states(world) == {DomainState.RUNNING}
        if act is save_new:
            assert memories(world) == step("newer"), number  # what ran goes on
        assert set(disks(place)) <= {*step("step 1"), *step("newer")}, number  # never a fresh clone
        (shown,) = read_status(place, lambda _lab: False, LAB)
        assert shown.state == "ready"
        restore_old(keeper(make_place(home, world)))
        assert (memories(world), disks(place)) == (step("step 1"), step("step 1")), number
        for one in checkpoints_of(place, LAB):
            if one.id == "new":
                remove_checkpoint(keeper(place), "new")


def test_saved_memory_is_never_put_on_a_disk_that_went_on_without_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    world, place = begin(home)
    total = calls_of(save_new, tmp_path / "count")
    for number in range(1, total + 1):
        work(place, world, f"step {number}")
        with pytest.raises(Crash):
            save_new(failing(home, world, Fault(number)))
        off = [node for node in NODES if world.domains[f"{LAB}.{node}"].state is DomainState.STOPPED]
        for node in off:  # somebody else, with virsh: `up` would bring the memory back first
            make_place(home, world).machines.start_domain(f"{LAB}.{node}", LAB)
            disk(place, node).write_text("booted")
        save_checkpoint(keeper(make_place(home, world)), "next", replace=True)
        for node in off:
            assert world.memory.get(f"{LAB}.{node}", "") == "", number
            assert disk(place, node).read_text() == "booted", number
        if any(one.id == "new" for one in checkpoints_of(place, LAB)):
            remove_checkpoint(keeper(place), "new")
