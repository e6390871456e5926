"""The saved machine of a real golden node, kept as libvirt 9.0 wrote it, to a clone's."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from lxml import etree

from labctl.errors import LabctlError
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.observed import Tag
from labctl.render.clone import OtherDisks, clone_domain
from labctl.render.tag import parse_tag
from tests.worlds import plan

SAVED = (Path(__file__).parent / "saved-fw.xml").read_text(encoding="utf-8")
SCHEMA = etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/domain.rng"))
# What other versions write, and what `virsh dumpxml` of a running machine has
LIVE = (
    ("<domain type='qemu'>", "<domain type='qemu' id='7'>"),
    (
        "      <target dev='vda' bus='virtio'/>",
        (
            "<backingStore type='file' index='2'><format type='qcow2'/><source file='/srv/labctl/images/d.qcow2'/>"
            "<backingStore/></backingStore><target dev='vda' bus='virtio'/>"
        ),
    ),
    (
        "<source network='lctest-dmz-golden.lan'/>",
        (
            "<source network='lctest-dmz-golden.lan' portid='11111111-2222-4333-8444-555555555555' bridge='lcgold'/>"
            "<target dev='vnet3'/>"
        ),
    ),
    (
        "<channel type='unix'>",
        "<channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/7-lctest-dmz-golden/agent'/>",
    ),
    ("<console type='pty'>", "<console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/>"),
    (
        "</devices>",
        "</devices><seclabel type='dynamic' model='dac' relabel='yes'><label>+64055:+107</label></seclabel>",
    ),
)


def live() -> str:
    text = SAVED
    for old, new in LIVE:
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.fixture
def alice() -> Plan:
    return plan(owner="alice")


def cloned(planned: Plan, saved: str = SAVED, node: PlannedNode | None = None) -> str:
    networks = {network.member: network for network in planned.networks}
    return clone_domain(saved, node or planned.node("fw"), networks, planned.folders)


@pytest.mark.parametrize("saved", [SAVED, live()], ids=["saved", "live"])
def test_nothing_of_the_golden_machine_is_left(alice: Plan, saved: str) -> None:
    seen = cloned(alice, saved)
    for trace in ("dmz-golden", "lctest", "d472d416-e260-4a16-bccc-67938ccae940", "44c1ae9c", "backingStore", "lcgold",
                  "/dev/pts", "vnet", "dynamic", "/run/libvirt"):  # fmt: skip
        assert trace not in seen
    SCHEMA.assertValid(etree.fromstring(seen))


def test_everything_that_names_a_thing_of_the_host_is_the_clones(alice: Plan) -> None:
    root = ElementTree.fromstring(cloned(alice))
    node = alice.node("fw")
    assert root.findtext("name") == "dmz-alice.fw"
    assert root.findtext("uuid") == node.uuid
    assert root.findtext("genid") not in {None, "", node.uuid}
    sources = [source.attrib for source in root.iterfind("./devices/interface/source")]
    assert sources == [{"network": f"dmz-alice.{name}"} for name in ("mgmt", "internet", "dmz", "lan")]
    assert {source.get("file") for source in root.iterfind("./devices/disk/source")} == {
        "/srv/labctl/labs/dmz-alice/disks/fw.qcow2"
    }
    assert [log.get("file") for log in root.iter("log")] == ["/srv/labctl/labs/dmz-alice/logs/fw.log"] * 2
    entry = root.find("./sysinfo/entry")
    assert entry is not None
    assert entry.get("file") == "/srv/labctl/labs/dmz-alice/identity/fw"


def test_the_tag_is_the_clones_with_what_was_configured(alice: Plan) -> None:
    node = replace(alice.node("fw"), tag=replace(alice.node("fw").tag, configured='c"<1'))
    tag = parse_tag(cloned(alice, node=node))
    assert tag == node.tag
    assert isinstance(tag, Tag)
    assert tag.owner == "alice"


def test_what_the_memory_knows_stays(alice: Plan) -> None:
    def hardware(document: str) -> list[str]:
        root = ElementTree.fromstring(document)
        kept = [*root.iter("mac"), *root.iter("address"), *root.iter("alias"), *root.iter("cpu"), *root.iter("memory")]
        kept += [*root.iterfind("./os/type"), *root.iterfind("./devices/disk/driver"), *root.iter("controller")]
        return [ElementTree.tostring(element, encoding="unicode").strip() for element in kept]

    assert hardware(cloned(alice)) == hardware(SAVED)
    disk = ElementTree.fromstring(cloned(alice)).find("./devices/disk")
    assert disk is not None
    label = disk.find("source/seclabel")
    assert label is not None
    assert label.attrib == {"model": "dac", "relabel": "no"}


def test_a_clone_of_a_clone_and_of_itself_is_the_same(alice: Plan) -> None:
    once = cloned(alice)
    assert cloned(alice, once) == once
    assert cloned(alice, cloned(plan(owner="bob"))) == once
    assert cloned(alice) == once


DATA = (
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/golden/fw+{name}.qcow2'/>"
    "<target dev='{device}' bus='virtio'/><serial>{name}</serial></disk>"
)


def test_every_disk_of_a_clone_is_its_own_by_its_serial_number(alice: Plan) -> None:
    node = replace(alice.node("fw"), disks={"data": 20, "spare": 5})
    others = DATA.format(name="spare", device="vdc") + DATA.format(name="data", device="vdb")
    seen = cloned(alice, SAVED.replace("</devices>", f"{others}</devices>"), node)
    disks = ElementTree.fromstring(seen).findall("./devices/disk")
    assert {disk.findtext("serial", ""): (disk.find("source") or disk[1]).get("file") for disk in disks} == {
        name: str(path) for name, path in zip(("", "data", "spare"), alice.folders.disks(node), strict=True)
    }
    SCHEMA.assertValid(etree.fromstring(seen))
    assert "/golden/" not in seen


@pytest.mark.parametrize("disks", [{}, {"data": 20, "spare": 5}, {"log": 20}])
def test_a_machine_that_was_saved_with_other_disks_is_told(alice: Plan, disks: dict[str, int]) -> None:
    saved = SAVED.replace("</devices>", DATA.format(name="data", device="vdb") + "</devices>")
    with pytest.raises(OtherDisks, match=r"its disks are fw.qcow2, fw\+data.qcow2; planned are fw.qcow2"):
        cloned(alice, saved, replace(alice.node("fw"), disks=disks))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("52:54:00:e8:e9:2d", "52:54:00:00:00:01", "network card 52:54:00:00:00:01"),
        ("ua-wan", "ua-lan", "network card 52:54:00:e8:e9:2d"),
        ("<source network='lctest-dmz-golden.dmz'/>", "", "on no network"),
        ("<boot dev='hd'/>", "<kernel>/var/lib/libvirt/lctest-dmz-golden.fw.fd</kernel>", "left in its <kernel>"),
        ("labctl:object", "labctl:other", "it has 0 of <metadata/"),
        ("</devices>", "<disk device='disk'><source file='/x'/></disk></devices>", "its disks are fw.qcow2, fw.qcow2;"),
    ],
)
def test_another_machine_is_refused(alice: Plan, old: str, new: str, reason: str) -> None:
    assert old in SAVED
    with pytest.raises(LabctlError, match=reason) as caught:
        cloned(alice, SAVED.replace(old, new))
    assert "dmz-alice.fw" in caught.value.message
