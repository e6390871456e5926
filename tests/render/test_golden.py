"""Rendered documents, whole: one folder of tests/golden per topology; `--update-golden` writes what is seen."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from labctl.plan.model import Plan
from labctl.plan.observed import Observed
from labctl.render.identity import Keys, render_identity
from labctl.render.inventory import Access, render_inventory, render_plays
from labctl.render.xml import render_domain, render_network
from labctl.shipped import shipped_folder
from labctl.topology.hardware import DiskBus, Hardware, System
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.worlds import catalogue, plan

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
SCHEMAS = Path("/usr/share/libvirt/schemas")
KEYS = Keys(
    "PRIVATE HOST KEY\n",
    "ssh-ed25519 AAAAhost root@node\n",
    "PRIVATE MANAGEMENT KEY\n",
    "ssh-ed25519 AAAAlogin labctl@lab\n",
)


def test_there_are_cases() -> None:
    assert len(CASES) >= 2


def load_case(case: str) -> tuple[Topology, Plan]:
    own = GOLDEN / case / "topology.yml"
    path = own if own.exists() else shipped_folder("topologies") / f"{case}.yml"
    topology = load_topology(path, catalogue())
    return topology, plan(Observed(), topology=topology)


def render_case(case: str) -> Iterator[tuple[str, str]]:
    topology, planned = load_case(case)
    yield "plan.json", json.dumps(json.loads(planned.to_json()), indent=1, ensure_ascii=False) + "\n"
    networks = {network.member: network for network in planned.networks}
    for network in planned.networks:
        yield f"network-{network.member}.xml", render_network(network)
    for node in planned.nodes:
        for accelerator in ("tcg", "kvm"):
            xml = render_domain(node, networks, planned.folders, accelerator)
            yield f"domain-{node.member}-{accelerator}.xml", xml
        if node.system is System.DEBIAN:
            yield f"identity-{node.member}.conf", render_identity(node, KEYS)
    access = Access(Path("/k/login"), Path("/k/known_hosts"), Path("/k/ca.pem"), Path("/k/ca.key"))
    yield "inventory.json", json.dumps(render_inventory(planned, topology, access), indent=1) + "\n"
    yield "plays.json", json.dumps(render_plays(node.wave for node in planned.nodes), indent=1) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_rendered_documents_are_the_golden_ones(case: str, update_golden: bool) -> None:
    seen = dict(render_case(case))
    folder = GOLDEN / case
    if update_golden:
        for name, text in seen.items():
            (folder / name).write_text(text, encoding="utf-8")
    expected = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name != "topology.yml"}
    assert seen == expected


@pytest.mark.parametrize(("bus", "system"), [(DiskBus.VIRTIO, "sda"), (DiskBus.SATA, "sdd")])
def test_disks_are_all_on_the_bus_of_the_image_and_a_disc_comes_behind_them(bus: DiskBus, system: str) -> None:
    _topology, planned = load_case("disks")
    networks = {network.member: network for network in planned.networks}
    disks = {"data": 20, "spare": 5}
    node = replace(planned.node("fw"), hardware=Hardware(disk_bus=bus), disks=disks)
    root = etree.fromstring(render_domain(node, networks, planned.folders, "kvm"))
    etree.RelaxNG(etree.parse(SCHEMAS / "domain.rng")).assertValid(root)
    found = [(disk.get("device"), disk.find("target").attrib, disk.findtext("serial")) for disk in root.iter("disk")]
    prefix = "vd" if bus is DiskBus.VIRTIO else "sd"
    named = zip("abc", (None, *disks), strict=True)
    expected = [("disk", {"dev": f"{prefix}{letter}", "bus": str(bus)}, name) for letter, name in named]
    assert found == [*expected, ("cdrom", {"dev": system, "bus": "sata"}, None)]


def golden_xml(kind: str) -> list[Path]:
    return sorted(GOLDEN.glob(f"*/{kind}-*.xml"))


@pytest.mark.parametrize("path", [*golden_xml("domain"), *golden_xml("network")], ids=lambda path: path.stem)
def test_golden_xml_is_what_libvirt_documents(path: Path) -> None:
    schema = etree.RelaxNG(etree.parse(SCHEMAS / f"{path.stem.partition('-')[0]}.rng"))
    schema.assertValid(etree.parse(path))


@pytest.mark.parametrize("path", golden_xml("network"), ids=lambda path: path.stem)
def test_libvirt_defines_the_networks(path: Path) -> None:
    connection = libvirt.open("test:///default")
    connection.networkDefineXML(path.read_text(encoding="utf-8"))
    connection.close()


@pytest.mark.parametrize("path", golden_xml("domain"), ids=lambda path: path.stem)
def test_libvirt_defines_the_machines(path: Path) -> None:
    # The test driver knows only its own type of virtualisation; everything else is QEMU's document.
    text = path.read_text(encoding="utf-8")
    for kind in ("kvm", "qemu"):
        text = text.replace(f"<domain type='{kind}'>", "<domain type='test'>")
    connection = libvirt.open("test:///default")
    connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    connection.close()
