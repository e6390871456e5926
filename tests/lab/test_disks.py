"""Disks beside the system's, through the life of a lab: frozen, cloned, reset, kept, brought back, removed."""

from pathlib import Path

import pytest

from labctl.classroom.capacity import DISK_BYTES, read_needs
from labctl.cli.golden import sizes
from labctl.errors import LabctlError, Refused
from labctl.exam.evidence.material import KeptDisk
from labctl.golden import find_users, list_golden
from labctl.lab.checkpoint import checkpoints_of
from labctl.lab.down import take_down
from labctl.lab.frozen import Frozen, taken
from labctl.lab.keeping import save_checkpoint
from labctl.lab.leftovers import lab_rests
from labctl.lab.rewind import restore_checkpoint
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.observed import DomainState, Observed
from labctl.topology.load import load_topology
from tests.exam.test_machines import labs
from tests.lab.doubles import EMPTY, FRESH, PERSONAL, Crash, Fault, World, make_place
from tests.lab.test_checkpoint import LAB, keeper, states
from tests.lab.test_golden import SMALL, bring, write_overlay_header
from tests.worlds import catalogue

NAMES = ("server", "server+data", "server+spare", "desk")


def write_source(folder: Path, disks: str = "{data: 2, spare: 1}") -> Path:
    """Write the small lab whose server has some disks."""
    text = SMALL.read_text(encoding="utf-8")
    source = folder / f"small-{len(disks)}.yml"
    source.write_text(text.replace("  server:\n", f"  server:\n    disks: {disks}\n"), encoding="utf-8")
    return source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path)


def begin(home: Path, source: Path) -> tuple[World, Workplace]:
    world = World()
    place = make_place(home, world)
    assert bring(place, "alice", source=source)[0].ready
    return world, place


def folder_of(place: Workplace) -> Path:
    return place.folders(LAB).disk("x").parent


def contents(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.glob("*.qcow2")}


def work(place: Workplace, step: str) -> dict[str, str]:
    """Write to every disk of the lab, and return what is on them."""
    for name in NAMES:
        (folder_of(place) / f"{name}.qcow2").write_text(f"{step} of {name}")
    return {name: f"{step} of {name}" for name in NAMES}


def test_a_golden_lab_has_all_disks_and_clones_stand_on_them(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    (golden,) = list_golden(place)
    assert contents(golden.folder / "disks") == dict.fromkeys(NAMES, "overlay") | dict.fromkeys(NAMES[1:3], EMPTY)
    assert {disk.stat().st_mode & 0o777 for disk in golden.all_disks} == {0o444}
    assert golden.nodes == ("desk", "server")
    assert sizes(golden, "server")[0] == sum(taken(disk) for disk in golden.all_disks[1:])
    golden.check()
    golden.all_disks[1].chmod(0o644)
    golden.all_disks[1].write_text("changed")
    with pytest.raises(LabctlError, match=r"server\+data.qcow2"):
        golden.check()
    assert contents(folder_of(place)) == dict.fromkeys(NAMES, FRESH) | {"server": PERSONAL, "desk": PERSONAL}


def test_a_lab_is_a_user_of_its_golden_lab_by_any_disk(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    (golden,) = list_golden(place)
    assert find_users(place) == {}  # the stand-ins' disks are text
    write_overlay_header(folder_of(place) / "server+data.qcow2", golden.all_disks[1])
    assert find_users(place) == {golden.id: (LAB,)}


def test_other_disks_are_another_golden_lab(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    assert bring(place, "bob", source=write_source(tmp_path, "{data: 4}"))[0].ready
    assert len(list_golden(place)) == 2


@pytest.mark.parametrize(
    ("disks", "made"),
    [
        ("{data: 2}", {"server+data": FRESH}),  # nothing is left of `spare`
        ("{data: 2, spare: 1, third: 1}", {"server+data": FRESH, "server+spare": FRESH, "server+third": EMPTY}),
    ],
)
def test_a_machine_with_other_disks_is_made_anew_where_it_is_accepted_and_the_others_stay(
    tmp_path: Path, source: Path, disks: str, made: dict[str, str]
) -> None:
    """Its disk is still of the golden lab that the others trust; its memory, which knows other disks, is not used."""
    world, place = begin(tmp_path / "home", source)
    before, other = work(place, "work"), write_source(tmp_path, disks)
    (refused,) = bring(place, "alice", source=other)
    assert isinstance(refused.error, Refused)
    assert "server" in refused.error.message
    assert contents(folder_of(place)) == before
    assert bring(place, "alice", source=other, replace=True)[0].ready
    assert len(list_golden(place)) == 1
    assert contents(folder_of(place)) == {"server": PERSONAL, "desk": before["desk"], **made}
    assert states(world) == {DomainState.RUNNING}
    assert bring(place, "alice", source=other)[0].plan.actions == ()  # type: ignore[union-attr]  # it is ready


def test_reset_makes_all_disks_of_the_node_anew_and_no_other(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    before = work(place, "work")
    assert bring(place, "alice", source=source, reset=("server",))[0].ready
    assert contents(folder_of(place)) == {
        "server": PERSONAL, "server+data": FRESH, "server+spare": FRESH, "desk": before["desk"],
    }  # fmt: skip


def test_a_lost_disk_is_told_before_the_others_go(tmp_path: Path, source: Path) -> None:  # F-24
    _world, place = begin(tmp_path / "home", source)
    before = work(place, "work")
    (folder_of(place) / "server+spare.qcow2").unlink()
    (refused,) = bring(place, "alice", source=source)
    assert isinstance(refused.error, Refused)
    del before["server+spare"]
    assert contents(folder_of(place)) == before
    assert bring(place, "alice", source=source, reset=("server",))[0].ready
    assert set(contents(folder_of(place))) == set(NAMES)


def test_a_checkpoint_has_all_disks_of_one_moment(tmp_path: Path, source: Path) -> None:
    world, place = begin(tmp_path / "home", source)
    first = work(place, "step 1")
    made = save_checkpoint(keeper(place), "one").checkpoint
    assert contents(made.folder / "disks") == first
    assert (made.nodes, states(world)) == (("desk", "server"), {DomainState.RUNNING})
    made.check()
    work(place, "step 2")
    restored = restore_checkpoint(keeper(place), "one")
    assert (restored.failures, restored.checkpoint.nodes) == ({}, ("desk", "server"))
    assert contents(folder_of(place)) == first
    assert bring(place, "alice", source=source)[0].plan.actions == ()  # type: ignore[union-attr]  # it is ready


def test_a_memory_is_not_loaded_where_any_disk_went_on_without_it(tmp_path: Path, source: Path) -> None:
    world, place = begin(tmp_path / "home", source)
    work(place, "step 1")
    world.memory[f"{LAB}.server"], world.memory[f"{LAB}.desk"] = "of the server", "of the desk"
    fault = Fault(error=LabctlError)

    def copy(source: Path, target: Path) -> None:
        target.write_text(source.read_text())
        if source.stem == "server+data":  # written to after the memory was saved, then the save fails
            source.write_text("later")
            raise LabctlError("no room")

    with pytest.raises(LabctlError, match="no room"):
        save_checkpoint(keeper(place, copy=copy), "one")
    assert fault.calls == 0
    assert checkpoints_of(place, LAB) == ()
    assert states(world) == {DomainState.RUNNING}
    assert world.memory.get(f"{LAB}.server", "") == ""  # it booted
    assert world.memory.get(f"{LAB}.desk", "") == "of the desk"


def test_a_lab_with_other_disks_is_not_mixed_with_a_checkpoint(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    save_checkpoint(keeper(place), "one")
    other = write_source(tmp_path, "{data: 2}")
    assert bring(place, "alice", source=other, replace=True)[0].ready
    before = contents(folder_of(place))
    with pytest.raises(Refused, match=r"changed since.*server\+spare"):
        restore_checkpoint(keeper(place), "one")
    assert contents(folder_of(place)) == before


def test_a_going_back_that_fails_leaves_no_copies(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    save_checkpoint(keeper(place), "one")
    before = work(place, "step 2")

    def copy(source: Path, target: Path) -> None:
        if source.stem == "server+spare":
            raise LabctlError("no room")
        target.write_text(source.read_text())

    with pytest.raises(LabctlError, match="no room"):
        restore_checkpoint(keeper(place, copy=copy), "one")
    assert contents(folder_of(place)) == before


@pytest.mark.slow
def test_a_crash_at_any_call_of_a_clone_is_finished_by_the_next_run(tmp_path: Path, source: Path) -> None:  # F-01
    world, place = begin(tmp_path / "home", source)
    fault = Fault()
    assert bring(make_place(place.home, world, fault), "bob", source=source)[0].ready
    for number in range(1, fault.calls + 1):
        owner = f"s{number}"
        with pytest.raises(Crash):
            bring(make_place(place.home, world, Fault(number)), owner, source=source)
        assert bring(make_place(place.home, world), owner, source=source)[0].ready, number
        assert set(contents(place.folders(f"small-{owner}").disk("x").parent)) == set(NAMES), number


def test_an_interrupted_replacement_of_a_data_disk_is_a_leftover(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    left = folder_of(place) / "server+data.new.qcow2"
    left.write_text("half")
    assert list(lab_rests(place.folders(LAB).top, Observed())) == [left]
    assert bring(place, "alice", source=source, reset=("server",))[0].ready
    assert not left.exists()


def test_down_removes_all_disks(tmp_path: Path, source: Path) -> None:
    world, place = begin(tmp_path / "home", source)
    take_down(place, LAB, Silent())
    assert not place.folders(LAB).top.exists()
    assert world.domains == {}


def test_each_disk_counts_in_what_a_class_takes(tmp_path: Path, source: Path) -> None:
    _world, place = begin(tmp_path / "home", source)
    (golden,) = list_golden(place)
    needs = read_needs(place, load_topology(source, catalogue()), golden)
    assert (needs.machines, needs.disk) == (2, len(NAMES) * DISK_BYTES)


def test_the_copy_of_an_exam_has_all_disks(tmp_path: Path, source: Path) -> None:
    world, place = begin(tmp_path / "home", source)
    written = work(place, "exam")
    one = labs(place)
    one.suspend(LAB)
    copied = one.copy(LAB, "001/freeze-1")
    assert copied.off == ()
    folder = place.home / "exams" / "e6" / copied.folder
    assert contents(folder / "disks") == written
    assert states(world) == {DomainState.PAUSED}
    node = one.layout(LAB).node("server")
    kept = [KeptDisk(file).file.name for file in Frozen("", "", folder).disks(node)]
    assert kept == ["server.qcow2", "server+data.qcow2", "server+spare.qcow2"]
    with pytest.raises(Refused, match="MiB left"):
        labs(place, room=1 << 20).copy(LAB, "001/freeze-2")
