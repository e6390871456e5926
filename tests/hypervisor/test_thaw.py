"""Machines saved and made again under other names, on the system's own libvirt and on a private one."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest

from labctl.errors import LabctlError, Refused
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.pool import start_event_loop
from labctl.hypervisor.saved_state import StateDamaged, StateNotUsable, load_saved_state, write_header
from labctl.hypervisor.trial import self_test_restore
from labctl.images.overlay import create_overlay
from labctl.plan.lab import Setting, plan_lab
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.observed import DomainState, Observed, SeenDomain
from labctl.program import run
from labctl.render.clone import clone_domain
from labctl.render.xml import render_domain, render_network
from labctl.topology.model import Topology
from tests.hypervisor.boot_sector import write_echo_disk
from tests.worlds import catalogue, dmz

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

OWNERS = ("ada", "bob", "eve")
MEMBER = "client"


@dataclass(frozen=True)
class World:
    """A saved golden node in a folder of its own, on the system's libvirt."""

    door: Hypervisor
    folder: Path
    saved: Path

    def plan(self, owner: str) -> Plan:
        topology: Topology = dmz()
        setting = Setting(self.folder, "lctest-")
        return plan_lab(topology, f"thaw-{owner}", catalogue(), Observed(), setting)

    def node(self, owner: str) -> PlannedNode:
        return replace(self.plan(owner).node(MEMBER), memory=32)

    def prepare(self, owner: str) -> None:
        """Make folders, networks and disk of a lab; the base disk is the golden lab's frozen one."""
        plan = self.plan(owner)
        folders = plan.folders
        for path in (folders.disk("x"), folders.identity("x"), folders.serial_log("x")):
            path.parent.mkdir(parents=True)
        folders.identity(MEMBER).write_text("x")
        folders.identity(MEMBER).chmod(0o644)
        create_overlay(self.folder / "frozen.qcow2", folders.disk(MEMBER), 1)
        for network in plan.networks:
            if network.kind != "internet":
                self.door.create_network(render_network(network))

    def clone_xml(self, owner: str) -> str:
        plan = self.plan(owner)
        networks = {network.member: network for network in plan.networks}
        return clone_domain(load_saved_state(self.saved).xml, self.node(owner), networks, plan.folders)

    def restore(self, owner: str, *, running: bool = False, delivery: Delivery = Delivery.FIFO) -> None:
        name = self.node(owner).name
        self.door.restore_domain(self.saved, self.clone_xml(owner), name, running=running, delivery=delivery)

    def seen(self, owner: str) -> SeenDomain | None:
        name = self.node(owner).name
        return next((domain for domain in self.door.observe().domains if domain.name == name), None)

    def forget(self, owner: str) -> None:
        self.door.remove_domain(self.node(owner).name, self.plan(owner).lab)

    def close(self) -> None:
        for owner in ("gold", *OWNERS):
            self.forget(owner)
            for network in self.plan(owner).networks:
                self.door.remove_network(network.name, self.plan(owner).lab)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="lctest-", dir="/var/tmp"))
    folder.chmod(0o755)
    with Hypervisor() as door:
        made = World(door, folder, folder / "golden.save")
        try:
            freeze(made)
            for owner in OWNERS:
                made.prepare(owner)
            yield made
        finally:
            made.close()


def freeze(world: World) -> None:
    """Boot the golden node, wait for its greeting, and save it as it runs."""
    disk = world.folder / "frozen.qcow2"
    run(["qemu-img", "convert", "-O", "qcow2", write_echo_disk(world.folder / "echo.raw"), disk])
    disk.chmod(0o644)
    world.prepare("gold")
    plan, node = world.plan("gold"), world.node("gold")
    world.door.define_domain(
        render_domain(node, {network.member: network for network in plan.networks}, plan.folders, "tcg")
    )
    world.door.start_domain(node.name, plan.lab)
    with world.door.open_console(node.name, plan.lab) as console:
        seen = b""
        while b">" not in seen:
            seen += console.read()
    world.door.suspend_domain(node.name, plan.lab)
    world.door.suspend_domain(node.name, plan.lab)
    world.door.save_domain(node.name, plan.lab, world.saved)


@pytest.fixture
def virsh() -> Iterator[libvirt.virConnect]:
    start_event_loop()
    connection = libvirt.open("qemu:///system")
    yield connection
    connection.close()


@pytest.fixture(autouse=True)
def _clean(world: World) -> Iterator[None]:
    """Every test leaves no machine, file of ours beside the saved state, or thread of a feeder."""
    yield
    for owner in OWNERS:
        world.forget(owner)
    assert not list(world.folder.glob(".*"))
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_the_saved_file_is_whole_private_and_read_back_byte_for_byte(world: World) -> None:
    seen = world.seen("gold")
    assert seen is not None
    assert (seen.state, seen.reason) == (DomainState.STOPPED, "saved")
    assert world.saved.stat().st_mode & 0o777 == 0o600
    state = load_saved_state(world.saved)
    assert write_header(state) == world.saved.read_bytes()[: state.payload_offset]
    assert state.was_running is False  # it was paused when it was saved
    assert world.saved.read_bytes()[state.payload_offset :].startswith(b"QEVM")  # QEMU's migration stream begins


def test_three_clones_at_once_with_the_same_card(world: World, virsh: libvirt.virConnect) -> None:
    with ThreadPoolExecutor(len(OWNERS)) as threads:
        list(threads.map(world.restore, OWNERS))
    macs, bridges, genids, persistent = set(), set(), set(), []
    for owner in OWNERS:
        seen = world.seen(owner)
        assert seen is not None
        assert seen.state is DomainState.PAUSED
        assert seen.tag == world.node(owner).tag
        assert seen.disks == (str(world.plan(owner).folders.disk(MEMBER)),)
        domain = virsh.lookupByName(world.node(owner).name)
        live = ElementTree.fromstring(domain.XMLDesc())
        macs.add(tuple(element.attrib["address"] for element in live.iter("mac")))
        bridges.add(tuple(element.attrib["bridge"] for element in live.iterfind("./devices/interface/source")))
        genids.add(live.findtext("genid"))
        persistent.append((domain.isPersistent(), domain.autostart()))
    assert (len(macs), len(bridges), len(genids)) == (1, 3, 3)
    assert persistent == [(1, 0)] * 3


@pytest.mark.parametrize("delivery", list(Delivery))
def test_a_clone_goes_on_where_the_golden_node_was_frozen(world: World, delivery: Delivery) -> None:
    try:
        world.restore("ada", running=True, delivery=delivery)
    except LabctlError as exc:
        if delivery is not Delivery.REFLINK:
            raise
        assert "cannot be prepared" in exc.message  # noqa: PT017  the file system shares no blocks
        assert world.seen("ada") is None
        return
    node, lab = world.node("ada"), world.plan("ada").lab
    with world.door.open_console(node.name, lab) as console:
        console.write(b"bonjour")
        seen = b""
        while b"bonjour" not in seen:
            seen += console.read()
        assert b">" not in seen  # greeted once, before it was frozen


def test_paused_until_resumed_and_there_after_a_stop(world: World) -> None:
    world.restore("ada")
    lab, name = world.plan("ada").lab, world.node("ada").name
    world.door.start_domain(name, lab)
    seen = world.seen("ada")
    assert seen is not None
    assert seen.state is DomainState.RUNNING
    world.door.destroy_domain(name, lab)
    seen = world.seen("ada")
    assert seen is not None
    assert (seen.state, seen.tag) == (DomainState.STOPPED, world.node("ada").tag)
    world.door.start_domain(name, lab)  # the stored description boots as well
    world.door.destroy_domain(name, lab)
    world.restore("ada", running=True)
    seen = world.seen("ada")
    assert seen is not None
    assert seen.state is DomainState.RUNNING


def test_what_runs_is_refused_and_runs_on(world: World, virsh: libvirt.virConnect) -> None:
    world.restore("ada", running=True)
    before = virsh.lookupByName(world.node("ada").name).ID()
    with pytest.raises(Refused, match="runs"):
        world.restore("ada", running=True)
    assert virsh.lookupByName(world.node("ada").name).ID() == before


def test_a_foreign_machine_of_that_name_is_untouched(world: World, virsh: libvirt.virConnect) -> None:  # F-25
    name = world.node("ada").name
    foreign = virsh.defineXML(
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )
    before = foreign.XMLDesc()
    try:
        with pytest.raises(Refused, match="not made by labctl"):
            world.restore("ada")
        with pytest.raises(Refused, match="not made by labctl"):
            world.door.save_domain(name, "dmz-ada", world.folder / "never")
        assert virsh.lookupByName(name).XMLDesc() == before
        assert not (world.folder / "never").exists()
    finally:
        foreign.undefine()


def test_an_older_memory_kept_by_hand_is_not_loaded_on_the_new_disk(world: World, virsh: libvirt.virConnect) -> None:
    world.restore("ada", running=True)
    virsh.lookupByName(world.node("ada").name).managedSave()
    world.restore("ada")
    assert not virsh.lookupByName(world.node("ada").name).hasManagedSaveImage()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lctest-dmz-thaw-ada.lan", "lctest-no-such-network"),
        ("/disks/client.qcow2", "/disks/nothing.qcow2"),
        ('bus="virtio"', 'bus="nonsense"'),
    ],
)
@pytest.mark.parametrize("delivery", [Delivery.FIFO, Delivery.COPY])
def test_a_failed_restore_leaves_nothing(world: World, delivery: Delivery, old: str, new: str) -> None:
    xml, name = world.clone_xml("ada"), world.node("ada").name
    assert old in xml
    with pytest.raises(LabctlError, match=name) as caught:
        world.door.restore_domain(world.saved, xml.replace(old, new), name, running=True, delivery=delivery)
    assert not isinstance(caught.value, StateNotUsable)
    assert world.seen("ada") is None


def test_a_failed_restore_keeps_what_was_there(world: World) -> None:
    world.restore("ada")
    name = world.node("ada").name
    world.door.destroy_domain(name, world.plan("ada").lab)
    xml = world.clone_xml("ada").replace("lctest-dmz-thaw-ada.lan", "lctest-no-such-network")
    with pytest.raises(LabctlError):
        world.door.restore_domain(world.saved, xml, name, running=True)
    seen = world.seen("ada")
    assert seen is not None
    assert seen.state is DomainState.STOPPED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('machine="pc-q35-7.2"', 'machine="pc-q35-6.0"'),  # another machine's memory
        ('machine="pc-q35-7.2"', 'machine="pc-q35-99.0"'),  # an emulator that is not here
        (">32768<", ">65536<"),
    ],
)
def test_a_state_that_does_not_fit_is_told_from_other_failures(world: World, old: str, new: str) -> None:
    xml, name = world.clone_xml("ada"), world.node("ada").name
    assert old in xml
    with pytest.raises(StateNotUsable, match="cannot load the saved state"):
        world.door.restore_domain(world.saved, xml.replace(old, new), name, running=True)
    assert world.seen("ada") is None


def test_a_truncated_memory_is_told(world: World) -> None:
    broken = world.folder / "broken.save"
    whole = world.saved.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])  # the last kilobytes are a description that QEMU does not miss
    try:
        with pytest.raises(StateNotUsable):
            world.door.restore_domain(broken, world.clone_xml("ada"), world.node("ada").name, running=True)
        broken.write_bytes(whole[:2000])
        with pytest.raises(StateDamaged, match="ends too early"):
            world.door.restore_domain(broken, world.clone_xml("ada"), world.node("ada").name, running=True)
    finally:
        broken.unlink()
    assert world.seen("ada") is None


def test_a_save_that_fails_leaves_the_machine_running_and_no_file(world: World) -> None:  # F-15
    world.restore("ada", running=True)
    name, lab = world.node("ada").name, world.plan("ada").lab
    with pytest.raises(LabctlError):
        world.door.save_domain(name, lab, world.folder / "no" / "such.save")
    seen = world.seen("ada")
    assert seen is not None
    assert seen.state is DomainState.RUNNING
    world.door.destroy_domain(name, lab)
    with pytest.raises(LabctlError, match="cannot be saved"):
        world.door.save_domain(name, lab, world.folder / "off.save")
    assert not (world.folder / "off.save").exists()


def test_this_host_knows_how_it_can_restore(world: World) -> None:
    name = "lctest-thaw-trial"
    seen = self_test_restore(world.door, world.folder, name)
    assert set(seen) == set(Delivery)
    assert (seen[Delivery.FIFO], seen[Delivery.COPY]) == ("", "")
    assert seen[Delivery.REFLINK] == "" or "cannot be prepared" in seen[Delivery.REFLINK]
    assert name not in {domain.name for domain in world.door.observe().domains}
    assert self_test_restore(world.door, world.folder / "none", name)[Delivery.COPY] != ""
