"""A machine with several disks under QEMU: frozen, cloned, reset and booted, on a daemon of the tests' own.

Its system is a boot sector that keeps a byte on the second disk and tells it when it is asked.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from labctl.golden import freeze
from labctl.hypervisor.delivery import Delivery
from labctl.images.overlay import chain
from labctl.images.store import ImageStore
from labctl.lab.frozen import Frozen
from labctl.lab.thaw import Mould
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.lab import Setting, plan_lab
from labctl.plan.model import Plan
from labctl.plan.observed import Observed
from labctl.program import run
from labctl.render.identity import Keys
from labctl.render.xml import render_domain
from labctl.topology.hardware import DiskBus, Hardware, System
from tests.hypervisor.boot_sector import write_keeper_disk
from tests.hypervisor.daemon import PrivateDaemon, running_daemon
from tests.lab.doubles import World, make_place
from tests.lab.windows.private import LabDoor
from tests.worlds import catalogue, dmz

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(600)]

MEMBER = "client"
DISKS = {"data": 1, "spare": 1}
PATIENCE = 120.0  # seconds for one answer of an emulated machine on a busy host
NO_KEYS = Keys("", "", "", "")


class BootOrderDoor(LabDoor):
    """A door that puts all disks into the boot order: SeaBIOS gives its guest no others."""

    def define_domain(self, xml: str, *, validated: bool = False) -> None:
        root = ElementTree.fromstring(xml)
        for boot in root.findall("./os/boot"):
            root.find("./os").remove(boot)  # type: ignore[union-attr]  # found a line before
        for number, disk in enumerate(root.iterfind("./devices/disk"), start=1):
            if disk.find("boot") is None:
                ElementTree.SubElement(disk, "boot", order=str(number))
        super().define_domain(ElementTree.tostring(root, encoding="unicode"), validated=validated)


@dataclass(frozen=True)
class School:
    """An installation on the tests' own daemon, in which one machine at a time runs."""

    door: LabDoor
    place: Workplace
    bus: DiskBus

    def plan(self, owner: str, golden: str = "") -> Plan:
        setting = Setting(self.place.home, "lctest-")
        plan = plan_lab(dmz(), f"{owner}-{self.bus}", catalogue(), Observed(), setting, golden=golden)
        node = replace(
            plan.node(MEMBER), memory=32, disk=1, disks=DISKS, system=System.IMPORT,
            hardware=Hardware(disk_bus=self.bus),
        )  # fmt: skip
        folders = plan.folders
        for path in (folders.disk("x"), folders.identity("x"), folders.serial_log("x")):
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            os.chown(path.parent, *self.door.qemu_owner())
        folders.secrets.mkdir(mode=0o700, exist_ok=True)
        folders.topology.write_text("name: dmz\n", encoding="utf-8")
        return replace(plan, nodes=(node,))

    def cast(self, golden: Frozen, plan: Plan, delivery: Delivery | None) -> bool:
        networks = {network.member: network for network in plan.networks}
        mould = Mould(self.place, golden, networks, plan.folders, "tcg", delivery)
        loaded = mould.cast(plan.nodes[0], NO_KEYS)
        self.start(plan)
        return loaded

    def ask(self, plan: Plan, keys: bytes, answer: bytes) -> None:
        """Type something on the serial console, and wait for the answer; what is typed early waits for the system."""
        with self.door.open_console(plan.nodes[0].name, plan.seat, force=True) as console:
            console.write(keys)
            said, end = b"", time.monotonic() + PATIENCE
            while answer not in said:
                assert time.monotonic() < end, said
                said += console.read()

    def start(self, plan: Plan) -> None:
        self.door.start_domain(plan.nodes[0].name, plan.seat)

    def remove(self, plan: Plan) -> None:
        self.door.remove_domain(plan.nodes[0].name, plan.seat)


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        yield private


@pytest.fixture(scope="module", params=list(DiskBus))
def school(daemon: PrivateDaemon, request: pytest.FixtureRequest) -> Iterator[School]:
    home = daemon.folder / f"home-{request.param}"
    with BootOrderDoor(daemon) as door:
        place = replace(make_place(home, World()), machines=door, freezer=door, images=ImageStore(home))
        home.chmod(0o755)
        yield School(door, place, request.param)


class Golden(NamedTuple):
    """A frozen lab of one machine, which kept "A" on its second disk, and the hashes of its disks."""

    frozen: Frozen
    digests: list[str]


def digests(frozen: Frozen) -> list[str]:
    return [sha256(path.read_bytes()).hexdigest() for path in frozen.all_disks]


@pytest.fixture(scope="module")
def golden(school: School, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Boot a machine with empty disks, let it keep something, and freeze it as a golden lab is."""
    plan = school.plan("golden")
    (node,) = plan.nodes
    system, *others = plan.folders.disks(node)
    raw = write_keeper_disk(tmp_path_factory.mktemp("keeper") / "keeper.raw")
    run(["qemu-img", "convert", "-q", "-O", "qcow2", raw, system])
    for disk in others:
        school.place.images.create_disk(None, disk, 1)
    for disk in (system, *others):
        school.place.give_to_qemu(disk)
    networks = {network.member: network for network in plan.networks}
    school.door.define_domain(render_domain(node, networks, plan.folders, "tcg"))
    school.start(plan)
    school.ask(plan, b"?", b"\0")
    school.ask(plan, b"A", b"=")
    school.ask(plan, b"?", b"A")
    frozen = Frozen("dmz-0123456789ab", "dmz", school.place.home / "golden" / "dmz-0123456789ab")
    freeze(school.place, plan, frozen, Silent())
    school.remove(plan)
    return Golden(frozen, digests(frozen))


@pytest.fixture
def clone(school: School, golden: Golden) -> Iterator[Plan]:
    plan = school.plan("clone", golden.frozen.id)
    yield plan
    school.remove(plan)


def test_all_disks_are_frozen(golden: Golden) -> None:
    golden.frozen.check()
    assert [path.name for path in golden.frozen.all_disks] == [
        "client+data.qcow2", "client+spare.qcow2", "client.qcow2",
    ]  # fmt: skip
    assert golden.frozen.nodes == (MEMBER,)


def test_a_clone_goes_on_with_overlays_of_all_disks_and_a_reset_brings_them_back(
    school: School, golden: Golden, clone: Plan
) -> None:
    (node,) = clone.nodes
    for _time in range(2):  # a reset is the same act
        assert school.cast(golden.frozen, clone, Delivery.FIFO)
        for disk, frozen in zip(clone.folders.disks(node), golden.frozen.disks(node), strict=True):
            assert chain(disk) == (disk, frozen)
        school.ask(clone, b"?", b"A")
        school.ask(clone, b"B", b"=")
        school.ask(clone, b"?", b"B")
    school.door.destroy_domain(node.name, clone.seat)
    school.start(clone)
    school.ask(clone, b"?", b"B")  # its own disk has it for good
    assert digests(golden.frozen) == golden.digests


def test_linux_would_know_disks_by_their_names(school: School, golden: Golden, clone: Plan) -> None:
    assert school.cast(golden.frozen, clone, Delivery.FIFO)
    live = ElementTree.fromstring(school.door.describe_domain(clone.nodes[0].name, clone.seat))
    disks = live.findall("./devices/disk")
    assert [disk.findtext("serial") for disk in disks] == [None, *DISKS]
    assert {target.get("bus") for target in live.iterfind("./devices/disk/target")} == {str(school.bus)}


@pytest.mark.parametrize("later", [{}, {"third": 1}], ids=["cold", "other disks"])
def test_a_clone_that_boots_has_all_disks_too(
    school: School, golden: Golden, clone: Plan, later: dict[str, int]
) -> None:
    node = replace(clone.nodes[0], disks={**DISKS, **later})
    clone = replace(clone, nodes=(node,))
    assert not school.cast(golden.frozen, clone, Delivery.FIFO if later else None)
    school.ask(clone, b"?", b"A")
    assert len(list(clone.folders.disk("x").parent.glob("*.qcow2"))) == 3 + len(later)
