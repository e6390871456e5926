"""A UEFI machine with a TPM, frozen with its memory, cloned and reset, under QEMU with OVMF and swtpm.

Its stand-in for a system answers on the serial console with three counts that live in three places: its memory, the
variables of its firmware, and its TPM.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

import pytest

from labctl.golden import freeze
from labctl.hypervisor.delivery import Delivery
from labctl.images.store import ImageStore
from labctl.lab.board import clear_board
from labctl.lab.frozen import Frozen
from labctl.lab.thaw import Mould
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.lab import Setting, plan_lab
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.observed import Observed
from labctl.program import run
from labctl.render.identity import Keys
from labctl.render.xml import render_domain
from labctl.topology.hardware import Firmware, Hardware, System
from tests.hypervisor.daemon import PrivateDaemon
from tests.lab.doubles import World, make_place
from tests.lab.windows.firmware import COUNTER, build_application, make_fat
from tests.lab.windows.private import LabDoor
from tests.worlds import catalogue, dmz

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(1800)]

MEMBER = "client"
MEMORY = 192  # MiB
HARDWARE = Hardware(firmware=Firmware.UEFI, tpm=True)
PATIENCE = 300.0  # seconds for one line of an emulated firmware on a busy host
NO_KEYS = Keys("", "", "", "")


class Counts(NamedTuple):
    """What the machine answers: how often it was asked, how often it was started, how often its TPM was reset."""

    asked: int
    starts: int
    resets: int


@dataclass(frozen=True)
class School:
    """An installation on the tests' own daemon, in which one machine at a time runs."""

    door: LabDoor
    place: Workplace

    def plan(self, owner: str, golden: str = "") -> Plan:
        setting = Setting(self.place.home, "lctest-")
        plan = plan_lab(dmz(), owner, catalogue(), Observed(), setting, golden=golden)
        node = replace(plan.node(MEMBER), memory=MEMORY, disk=1, system=System.IMPORT, hardware=HARDWARE)
        return replace(plan, nodes=(node,))

    def lay_out(self, plan: Plan) -> PlannedNode:
        """Make the folders of a lab, where the daemon's user may write what a daemon that is root would."""
        (node,), folders = plan.nodes, plan.folders
        clear_board(folders, node)
        for path in (folders.disk("x"), folders.identity("x"), folders.serial_log("x"), folders.nvram("x")):
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            os.chown(path.parent, *self.door.qemu_owner())
        folders.secrets.mkdir(mode=0o700)
        folders.topology.write_text("name: dmz\n", encoding="utf-8")
        return node

    def mould(self, golden: Frozen, plan: Plan, delivery: Delivery | None) -> Mould:
        networks = {network.member: network for network in plan.networks}
        return Mould(self.place, golden, networks, plan.folders, "tcg", delivery)

    def ask(self, plan: Plan, keys: bytes) -> Counts:
        """Type something on the serial console, and return the next answer."""
        with self.door.open_console(plan.nodes[0].name, plan.seat, force=True) as console:
            console.write(keys)
            said, end = b"", time.monotonic() + PATIENCE
            while not (found := re.search(rb"asked (\d+) starts (\d+) resets (\d+)\r\n", said)):
                assert time.monotonic() < end, said[-500:]
                said += console.read()
            return Counts(*map(int, found.groups()))

    def start(self, plan: Plan) -> None:
        self.door.start_domain(plan.nodes[0].name, plan.seat)

    def remove(self, plan: Plan) -> None:
        self.door.remove_domain(plan.nodes[0].name, plan.seat)


@pytest.fixture(scope="module")
def school(daemon: PrivateDaemon) -> Iterator[School]:
    home = daemon.folder / "home"
    with LabDoor(daemon) as door:
        place = replace(make_place(home, World()), machines=door, freezer=door, images=ImageStore(home))
        home.chmod(0o755)
        yield School(door, place)


class Golden(NamedTuple):
    """A frozen lab of one machine, and what it had answered last."""

    frozen: Frozen
    said: Counts


@pytest.fixture(scope="module")
def golden(school: School, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Boot a machine twice, ask it twice, and freeze it as a golden lab is."""
    plan, folder = school.plan("golden"), tmp_path_factory.mktemp("counter")
    node = school.lay_out(plan)
    (folder / "disk.raw").write_bytes(make_fat(build_application(folder, COUNTER)))
    disk = plan.folders.disk(MEMBER)
    run(["qemu-img", "convert", "-q", "-O", "qcow2", folder / "disk.raw", disk])
    school.place.give_to_qemu(disk)
    networks = {network.member: network for network in plan.networks}
    school.door.define_domain(render_domain(node, networks, plan.folders, "tcg"))
    school.start(plan)
    first = school.ask(plan, b"")  # what it says of itself when it has started
    again = school.ask(plan, b"r")
    assert again == Counts(0, first.starts + 1, first.resets + 1)
    said = [school.ask(plan, b"\r") for _time in range(2)]
    assert said == [again._replace(asked=number) for number in (1, 2)]
    frozen = Frozen("dmz-0123456789ab", "dmz", school.place.home / "golden" / "dmz-0123456789ab")
    freeze(school.place, plan, frozen, Silent())
    school.remove(plan)
    return Golden(frozen, said[-1])


def digests(golden: Frozen) -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in golden.folder.rglob("*") if path.is_file()}


def test_the_board_is_frozen_with_the_disk_and_the_memory(golden: Golden) -> None:
    golden.frozen.check()
    board = (golden.frozen.nvram(MEMBER), golden.frozen.tpm(MEMBER))
    assert all(path.stat().st_size > 1000 for path in board)
    assert [path.stat().st_mode & 0o777 for path in board] == [0o400, 0o400]


@pytest.fixture
def clone(school: School, golden: Golden, request: pytest.FixtureRequest) -> Iterator[Plan]:
    plan = school.plan(f"clone{len(request.node.name)}", golden.frozen.id)
    school.lay_out(plan)
    yield plan
    school.remove(plan)


def test_a_clone_goes_on_where_the_golden_machine_was_and_a_reset_brings_it_back(
    school: School, golden: Golden, clone: Plan
) -> None:
    """Its board is its own: what it writes there changes neither the golden lab nor the next clone."""
    before, (node,) = digests(golden.frozen), clone.nodes
    for _time in range(2):  # a reset is the same act
        assert school.mould(golden.frozen, clone, Delivery.FIFO).cast(node, NO_KEYS)
        school.start(clone)
        assert school.ask(clone, b"\r") == golden.said._replace(asked=golden.said.asked + 1)
        restarted = Counts(0, golden.said.starts + 1, golden.said.resets + 1)
        assert school.ask(clone, b"r") == restarted
        assert school.ask(clone, b"\r") == restarted._replace(asked=1)
    assert digests(golden.frozen) == before


def test_a_clone_that_was_switched_off_starts_from_its_own_board(school: School, golden: Golden, clone: Plan) -> None:
    (node,) = clone.nodes
    assert school.mould(golden.frozen, clone, Delivery.FIFO).cast(node, NO_KEYS)
    school.start(clone)
    assert school.ask(clone, b"\r").asked == golden.said.asked + 1
    school.door.destroy_domain(node.name, clone.seat)
    school.start(clone)
    assert school.ask(clone, b"") == Counts(0, golden.said.starts + 1, golden.said.resets + 1)


def test_where_memory_cannot_be_loaded_a_clone_boots_from_the_frozen_board(
    school: School, golden: Golden, clone: Plan
) -> None:
    (node,) = clone.nodes
    assert not school.mould(golden.frozen, clone, None).cast(node, NO_KEYS)
    school.start(clone)
    assert school.ask(clone, b"") == Counts(0, golden.said.starts + 1, golden.said.resets + 1)
