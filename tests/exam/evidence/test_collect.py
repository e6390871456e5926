"""The evidence of one candidate: every part is there, what could not be had is said, and nothing is overwritten."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import ExitCode, LabctlError, Refused
from labctl.exam.evidence.collect import Collector, summary, told_missing
from labctl.exam.evidence.manifest import Manifest, find_names
from labctl.exam.evidence.material import KeptDisk, Machine, Material, estimate
from labctl.exam.evidence.store import Partial
from labctl.exam.evidence.tree import dump_tree, read_tree
from labctl.exam.evidence.verify import verify
from labctl.exam.session import Session
from labctl.images.overlay import create_overlay
from labctl.lab.frozen import taken
from labctl.monitor import Silent
from labctl.topology.hardware import System
from tests.exam.evidence.folders import manifest_of
from tests.exam.sessions import HandClock, make_session
from tests.images.disks import make_disk, make_overlay, make_tree
from tests.small_disk import mount_small_disk

PICTURE = b"P6\n2 1\n255\n" + bytes(6)
MIB = 1 << 20
FILES: dict[str, bytes | str] = {
    "etc/hosts": b"127.0.0.1 localhost\n", "etc/hostname": b"golden\n", "root/.bash_history": b"ls\n",
}  # fmt: skip


class Screen:
    """A hypervisor whose machine `dead` is switched off."""

    def describe_domain(self, name: str, lab: str) -> str:
        return f"<domain><name>{name}</name><lab>{lab}</lab></domain>"

    def take_picture(self, name: str, lab: str) -> bytes:  # noqa: ARG002
        if "dead" in name:
            raise LabctlError(f"{name} is switched off: it has no screen")
        return PICTURE


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path, HandClock(), 1)


@pytest.fixture
def material(tmp_path: Path, session: Session) -> Material:
    """Return what there is of a candidate with two machines, one of which is switched off."""
    base = make_disk(make_tree(tmp_path / "tree", FILES), tmp_path / "base.qcow2")
    start = make_overlay(base, tmp_path / "start.qcow2", {"/etc/hostname": b"own\n"})
    frozen = session.folder / "frozen/001/freeze-1/disks"
    frozen.mkdir(parents=True)
    make_overlay(
        base, frozen / "web.qcow2",
        {"/etc/hostname": b"own\n", "/etc/hosts": b"10.0.0.1 www\n", "/root/.bash_history": b"nano /etc/hosts\n"},
    )  # fmt: skip
    (tmp_path / "web.log").write_bytes(b"Debian GNU/Linux web login:\n")
    kept = tmp_path / "web.json.gz"
    kept.write_bytes(gzip.compress(json.dumps(dump_tree(read_tree([start, base], []))).encode()))
    results = tmp_path / "end.json"
    results.write_text('{"checks": []}')
    flows = tmp_path / "flows.json"
    flows.write_text('{"flows": []}')
    disks, none = (KeptDisk(frozen / "web.qcow2", (base,)),), (KeptDisk(frozen / "dead.qcow2"),)
    web = Machine("web", "small-c001.web", "small-c001", disks, tmp_path / "web.log")
    dead = Machine("dead", "small-c001.dead", "small-c001", none, tmp_path / "dead.log")
    return Material(
        number="001", folder="c001", lab="small-c001", golden="small-0123456789ab", machines=(web, dead),
        copy="freeze-1", history=({"what": "reset"},), log=b"{}\n", values={"page": "plan", "port": 7080},
        results={"end": results, "start": tmp_path / "nothing.json"}, start={"web": kept}, flows={"outside": flows},
    )  # fmt: skip


@pytest.fixture
def collector(session: Session) -> Collector:
    return Collector(session.folder, Screen(), Silent())


def signed(session: Session) -> Callable[[], Manifest]:
    return lambda: manifest_of(session, "001")


def test_every_part_is_there_and_what_is_not_is_said(
    collector: Collector, material: Material, session: Session
) -> None:
    whole = collector.collect(material, signed(session))
    folder = session.folder / "evidence/c001"
    assert whole is not None
    assert set(find_names(folder)) == {
        "disks/web.qcow2", "disks/golden.json", "machines/web.xml", "machines/web.png", "machines/dead.xml",
        "variant.json", "recette/end.json", "logs/web.console.log", "logs/web.root.history", "logs/lab.json",
        "logs/session.jsonl", "logs/flows-outside.json", "configuration/web.diff", "configuration/web.json",
        "integrity.json",
        "README.txt", "SHA256SUMS", "KEY.pem", "MANIFEST.json", "MANIFEST.sig",
    }  # fmt: skip
    missing = " ".join(told_missing(whole))
    for words in ("dead", "no screen", "start"):
        assert words in missing
    assert verify(folder).ok
    assert (folder / "logs/web.root.history").read_bytes() == b"nano /etc/hosts\n"
    text = (folder / "configuration/web.diff").read_text()
    assert text.index("+10.0.0.1 www") < text.index("/etc/hostname")  # the work first, then what labctl did
    assert json.loads((folder / "variant.json").read_text())["values"] == {"page": "plan", "port": 7080}
    golden = json.loads((folder / "disks/golden.json").read_text())
    assert golden["golden"] == "small-0123456789ab"
    assert len(golden["disks"]["web"][0]["sha256"]) == 64
    assert (folder / "machines/web.png").read_bytes().startswith(b"\x89PNG")
    said = summary(folder, whole)
    assert said["folder"] == "c001"
    assert said["files"] == 18


def test_each_disk_of_a_machine_is_kept_with_the_hashes_of_what_it_stands_on(
    collector: Collector, material: Material, session: Session, tmp_path: Path
) -> None:
    frozen, empty = material.machines[0].root.file.parent, tmp_path / "golden+data.qcow2"
    create_overlay(None, empty, 1)
    create_overlay(empty, frozen / "web+data.qcow2", 1)
    create_overlay(None, frozen / "web+new.qcow2", 1)
    others = (KeptDisk(frozen / "web+data.qcow2", (empty,)), KeptDisk(frozen / "web+new.qcow2"))
    lost = KeptDisk(frozen / "web+lost.qcow2")
    web = replace(material.machines[0], disks=(*material.machines[0].disks, *others, lost))
    asked = replace(material, machines=(web,))
    fewer = replace(asked, machines=(material.machines[0],))
    others_take = sum(taken(disk.file) for disk in others)
    assert estimate(asked, linked=False).all - estimate(fewer, linked=False).all == others_take > 0
    whole = collector.collect(asked, signed(session))
    folder = session.folder / "evidence/c001"
    assert whole is not None
    assert {name for name in find_names(folder) if name.startswith("disks/")} == {
        "disks/web.qcow2", "disks/web+data.qcow2", "disks/web+new.qcow2", "disks/golden.json",
    }  # fmt: skip
    assert "web+lost" in " ".join(told_missing(whole))
    golden = json.loads((folder / "disks/golden.json").read_text())["disks"]
    assert {name: len(layers) for name, layers in golden.items()} == {
        "web": 1, "web+data": 1, "web+new": 0, "web+lost": 0,
    }  # fmt: skip
    assert golden["web+data"][0]["name"] == "golden+data.qcow2"
    assert verify(folder).ok


def test_evidence_takes_little_more_than_what_changed(
    collector: Collector, material: Material, session: Session
) -> None:
    disk = material.machines[0].root.file
    collector.collect(material, signed(session))
    folder = session.folder / "evidence/c001"
    assert (folder / "disks/web.qcow2").stat().st_ino == disk.stat().st_ino  # no second copy on the same disk
    rest = sum(taken(path) for path in folder.rglob("*") if path.is_file()) - taken(disk)
    assert rest < estimate(material, linked=True).fresh


def test_collecting_twice_changes_nothing(collector: Collector, material: Material, session: Session) -> None:
    collector.collect(material, signed(session))
    folder = session.folder / "evidence/c001"
    before = {name: (folder / name).stat().st_mtime_ns for name in find_names(folder)}
    assert collector.collect(material, signed(session)) is None
    assert {name: (folder / name).stat().st_mtime_ns for name in find_names(folder)} == before


def test_what_is_not_wanted_is_neither_taken_nor_missed(
    collector: Collector, material: Material, session: Session
) -> None:
    web = material.machines[0]
    both = dict.fromkeys(("start", "end"), material.results["end"])
    plain = replace(material, machines=(web,), results=both, flows={}, screenshots=False)
    whole = collector.collect(plain, signed(session))
    assert whole is not None
    assert list(told_missing(whole)) == []
    assert "machines/web.png" not in whole.files
    unseen = replace(plain, folder="c001b", flows={"outside": Path("/nothing")})
    (said,) = told_missing(collector.collect(unseen, signed(session)) or whole)
    assert "outside" in said


def test_of_a_machine_that_is_no_debian_disk_and_board_are_kept_and_the_rest_is_told(
    collector: Collector, material: Material, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "vars.fd").write_bytes(b"variables")
    board = {"web.nvram.fd": tmp_path / "vars.fd"}
    windows = replace(material.machines[0], system=System.WINDOWS, board=board)
    whole = collector.collect(replace(material, machines=(windows,)), signed(session))
    assert whole is not None
    assert {"disks/web.qcow2", "disks/web.nvram.fd", "machines/web.xml", "logs/web.console.log"} <= whole.files.keys()
    assert not [name for name in whole.files if name.startswith("configuration/") or name.endswith(".history")]
    assert "web: labctl reads configuration and typed commands from disks of Debian machines alone" in " ".join(
        told_missing(whole)
    )
    assert verify(session.folder / "evidence/c001").ok


def test_a_hostile_disk_is_kept_and_told(collector: Collector, material: Material, session: Session) -> None:
    web = material.machines[0]
    data = bytearray(web.root.file.read_bytes())
    for at in range(len(data) // 2, len(data)):
        data[at] = 0xFF
    web.root.file.write_bytes(data)
    whole = collector.collect(material, signed(session))
    assert whole is not None
    assert "web" in " ".join(told_missing(whole))
    assert (session.folder / "evidence/c001/disks/web.qcow2").read_bytes() == data


def test_names_from_a_disk_lead_nowhere(
    collector: Collector, material: Material, session: Session, tmp_path: Path
) -> None:
    base = material.machines[0].root.base[0]
    tree = make_tree(tmp_path / "evil", {"etc/x": b"", "home/..%2f\x1b[2J/.bash_history": b"evil\n"})
    disk = make_disk(tree, tmp_path / "evil.qcow2")
    evil = replace(material.machines[0], disks=(KeptDisk(disk),))
    assert base.exists()
    whole = collector.collect(replace(material, machines=(evil,)), signed(session))
    assert whole is not None
    assert [name for name in whole.files if name.endswith(".history")] == ["logs/web.home-___2f__2J.history"]


def test_too_small_a_disk_is_refused_before_anything_is_written(material: Material, session: Session) -> None:
    collector = Collector(session.folder, Screen(), Silent(), room=lambda _folder: 100 * MIB)
    with pytest.raises(Refused, match="100 MiB") as told:
        collector.refuse_full([material], None)
    assert told.value.exit_code is ExitCode.REFUSED
    assert list((session.folder / "evidence").iterdir()) == []
    Collector(session.folder, Screen(), Silent(), room=lambda _folder: 400 * MIB).refuse_full([material], None)


def test_two_copies_on_one_disk_need_room_for_both(material: Material, session: Session, tmp_path: Path) -> None:
    free = 256 * MIB + estimate(material, linked=True).fresh + MIB
    collector = Collector(session.folder, Screen(), Silent(), room=lambda _folder: free)
    collector.refuse_full([material], None)
    with pytest.raises(Refused):
        collector.refuse_full([material], tmp_path / "copy" / "e6")


def test_a_full_disk_in_the_middle_keeps_what_is_there(material: Material, tmp_path: Path) -> None:
    """The session lies on a small disk, the frozen copy on another one, so that it must be copied."""
    with mount_small_disk(tmp_path / "small", "24m") as small:
        session = make_session(small.folder, HandClock(), 1)
        big = tmp_path / "big.qcow2"
        big.write_bytes(material.machines[0].root.file.read_bytes() + os.urandom(6 * MIB))
        first = replace(material.machines[0], node="first")
        second = replace(first, node="second", disks=(KeptDisk(big, first.root.base),))
        wanted = replace(material, machines=(first, second), results={})
        collector = Collector(session.folder, Screen(), Silent())
        (session.folder / "evidence/c000").mkdir()
        (session.folder / "evidence/c000/earlier").write_bytes(b"earlier")
        small.fill(left=3 * MIB)
        with pytest.raises(Partial):
            collector.collect(wanted, signed(session))
        assert (session.folder / "evidence/c000/earlier").read_bytes() == b"earlier"
        assert "partial" in {str(one.trouble) for one in verify(session.folder / "evidence/c001.partial").findings}
        small.grow("64m")
        assert collector.collect(wanted, signed(session))
        assert verify(session.folder / "evidence/c001").ok
