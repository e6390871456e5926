"""A disk of the host that is full: nothing half made stays, nothing that runs is lost, and the next run goes on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest

from labctl.errors import LabctlError, Refused
from labctl.golden import list_golden
from labctl.images import overlay
from labctl.images.store import Image, ImageSpec
from labctl.lab.down import take_down
from labctl.lab.status import read_status
from labctl.lab.workplace import Workplace
from labctl.monitor import Monitor, Silent
from labctl.plan.observed import DomainState
from labctl.program import run
from tests.lab.doubles import Fault, Freezer, Images, World, make_place
from tests.lab.test_faults import check_whole
from tests.lab.test_golden import bring
from tests.small_disk import MIB, SmallDisk, mount_small_disk

ENOUGH = "16g"  # what the forecast of a class and each node ask for


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"])
    return path


def test_an_overlay_that_could_never_be_filled_is_not_made(base: Path, tmp_path: Path) -> None:  # F-15
    with mount_small_disk(tmp_path / "disks", "2m") as disk:
        path = disk.folder / "web.qcow2"
        with pytest.raises(LabctlError, match=rf'no room left for the disk "{path}"') as caught:
            overlay.create_overlay(base, path, 1)
        assert caught.value.hint == f"df -h {disk.folder}"
        assert list(disk.folder.iterdir()) == []
        disk.grow(ENOUGH)
        overlay.create_overlay(base, path, 1)
        assert list(disk.folder.iterdir()) == [path]


@pytest.mark.parametrize("size", ["4k", "64k", "128k"])
def test_a_disk_that_fills_while_an_overlay_is_written(
    size: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # F-15
    monkeypatch.setattr(overlay, "ROOM", 0)  # it was there a moment ago
    with mount_small_disk(tmp_path / "disks", size) as disk:
        path = disk.folder / "web.qcow2"
        with pytest.raises(LabctlError, match="no room left"):
            overlay.create_overlay(base, path, 40)
        assert list(disk.folder.iterdir()) == []
        disk.grow("2m")
        overlay.create_overlay(base, path, 40)
        assert overlay.read_header(path) == (base, 40 << 30)


class RealDisks(Images):
    """Stand-ins for images, but real overlays on them; `before` sees the path of each clone's disk."""

    def __init__(self, folder: Path, before: Callable[[Path], object] = Path.exists) -> None:
        super().__init__(folder, Fault())
        self.before = before

    def ensure(self, spec: ImageSpec, monitor: Monitor) -> Image:
        image = super().ensure(spec, monitor)
        run(["qemu-img", "create", "-q", "-f", "qcow2", image.path, "1M"])
        return image

    def create_overlay(self, image: Image, path: Path, size_gib: int) -> None:
        overlay.create_overlay(image.path, path, size_gib)

    def create_disk(self, frozen: Path | None, path: Path, size_gib: int) -> None:
        self.before(path)
        overlay.create_overlay(frozen, path, size_gib)


class Growing(Freezer):
    """A hypervisor whose saved memories take the last byte of the disk."""

    def __init__(self, world: World, disk: SmallDisk) -> None:
        super().__init__(world, Fault())
        self.disk = disk
        self.one_by_one = Lock()
        self.saved = 0

    def save_domain(self, name: str, lab: str, path: Path) -> None:
        with self.one_by_one:
            super().save_domain(name, lab, path)
            self.saved += 1
            if self.saved == 2:
                self.disk.fill()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mount_small_disk(tmp_path / "home", ENOUGH) as small:
        yield small


def make(disk: SmallDisk, world: World) -> Workplace:
    return replace(make_place(disk.folder, world), images=RealDisks(disk.folder))


def overlays(disk: SmallDisk) -> list[str]:
    return sorted(str(path.relative_to(disk.folder / "labs")) for path in disk.folder.glob("labs/*/disks/*"))


def test_a_class_for_which_there_is_no_room_is_refused_before_it_begins(disk: SmallDisk) -> None:  # F-15, F-26
    world = World()
    bring(make(disk, world), "alice")
    before, files = dict(world.domains), overlays(disk)
    disk.fill(2 * MIB)
    with pytest.raises(Refused, match=r"1 wanted, 0 fit: each takes .* MiB of disk space, 0 MiB are free"):
        bring(make(disk, world), "alice", "bob")
    assert (dict(world.domains), overlays(disk)) == (before, files)


def test_a_class_that_fills_the_disk_in_the_middle_goes_on_when_there_is_room(disk: SmallDisk) -> None:  # F-15, F-28
    world = World()
    bring(make(disk, world), "alice")
    before, files = dict(world.domains), overlays(disk)
    images = RealDisks(disk.folder, before=lambda _path: disk.fill(2 * MIB))
    alice, bob = bring(replace(make(disk, world), images=images), "alice", "bob")
    assert alice.ready
    assert bob.progress is not None
    assert {node: error.hint for node, error in bob.progress.failures.items()} == dict.fromkeys(
        ("server", "desk"), f"df -h {disk.folder}/labs/small-bob/disks"
    )
    assert (dict(world.domains), overlays(disk)) == (before, files)
    disk.grow(ENOUGH)
    assert all(result.ready for result in bring(make(disk, world), "alice", "bob"))
    check_whole(make(disk, world), world, "alice", "bob")


def test_a_reset_without_room_leaves_the_old_machine_running(disk: SmallDisk) -> None:  # F-03, F-15
    world = World()
    bring(make(disk, world), "alice")
    before, files = dict(world.domains), overlays(disk)
    disk.fill(2 * MIB)
    (result,) = bring(make(disk, world), "alice", reset=("desk",))
    assert result.progress is not None
    assert "no room left" in result.progress.failures["desk"].message
    assert (dict(world.domains), overlays(disk)) == (before, files)
    disk.grow(ENOUGH)
    assert bring(make(disk, world), "alice", reset=("desk",))[0].ready
    check_whole(make(disk, world), world, "alice")


def test_without_room_for_the_journal_nothing_is_done_and_looking_still_works(disk: SmallDisk) -> None:  # F-17
    world = World()
    bring(make(disk, world), "alice")
    before, files = dict(world.domains), overlays(disk)
    disk.fill()
    (result,) = bring(make(disk, world), "alice", reset=("desk",))
    assert not result.ready
    assert result.error is not None
    assert "no room left" in result.error.message
    assert (dict(world.domains), overlays(disk)) == (before, files)
    with pytest.raises(LabctlError, match="no room left"):
        take_down(make(disk, world), "small-alice", Silent())
    assert dict(world.domains) == before
    (lab,) = read_status(make(disk, world), lambda _lab: False)
    assert lab.state == "ready"
    disk.grow(ENOUGH)
    assert bring(make(disk, world), "alice", reset=("desk",))[0].ready
    check_whole(make(disk, world), world, "alice")


def test_a_golden_lab_that_does_not_fit_is_none_and_is_frozen_when_there_is_room(disk: SmallDisk) -> None:  # F-15
    world = World()
    world.full = True
    with pytest.raises(LabctlError, match="no room"):
        bring(make(disk, world), "alice")
    assert list_golden(make(disk, world)) == ()
    assert not [name for name in world.domains if name.startswith("small-alice")]
    world.full = False
    assert bring(make(disk, world), "alice")[0].ready
    check_whole(make(disk, world), world, "alice")


def test_a_disk_that_fills_while_a_golden_lab_is_frozen(disk: SmallDisk) -> None:  # F-15
    world = World()
    place = replace(make(disk, world), freezer=Growing(world, disk))
    with pytest.raises(LabctlError, match=r"[Nn]o (room|space) left"):
        bring(place, "alice")
    assert list_golden(place) == ()
    disk.grow(ENOUGH)
    assert bring(make(disk, world), "alice")[0].ready
    check_whole(make(disk, world), world, "alice")


def test_a_machine_that_the_full_disk_stopped_runs_on_after_up(disk: SmallDisk) -> None:  # F-16, T12
    world = World()
    bring(make(disk, world), "alice")
    name = "small-alice.desk"
    memory = world.memory[name]
    world.domains[name] = replace(world.domains[name], state=DomainState.PAUSED, reason="ioerror")
    (lab,) = read_status(make(disk, world), lambda _lab: False)
    assert {node.name: (str(node.state), node.reason) for node in lab.nodes}["desk"] == ("paused", "ioerror")
    assert bring(make(disk, world), "alice")[0].ready
    assert world.memory[name] == memory  # the same machine, not a fresh one
    check_whole(make(disk, world), world, "alice")
