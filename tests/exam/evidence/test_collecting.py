"""A session's candidates are collected, copied and logged; who is not frozen is refused, and nothing is done twice."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import Refused
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Became, Conduct
from labctl.exam.evidence.collecting import Collecting
from labctl.exam.evidence.verify import verify
from labctl.exam.proofs import LabProofs, SessionPapers
from labctl.exam.session import Session
from labctl.golden import golden_folder
from labctl.monitor import Silent
from tests.exam.doubles import FakeConsoles, FakeLabs
from tests.exam.doubles import World as Labs
from tests.exam.evidence.test_collect import Screen
from tests.exam.papers import GOOD, SCENARIO
from tests.exam.sessions import HandClock, make_session
from tests.images.disks import make_disk, make_overlay, make_tree
from tests.lab.doubles import World, make_place
from tests.topology.known import known


def freeze(session: Session, number: str) -> None:
    with session.writing() as log:
        log.add(Act.PREPARE, Step.DONE, number, result="ready")
        log.add(Act.START, Step.DONE, number, phase="practical")
        log.add(Act.FREEZE, Step.BEGUN, number, copy="freeze-1", left="suspended", reason="deadline")
        log.add(Act.FREEZE, Step.DONE, number, copy="freeze-1", folder=f"frozen/{number}/freeze-1", left="suspended")


@pytest.fixture
def collecting(tmp_path: Path) -> Collecting:
    """Return what collects a session of three candidates, of whom two are frozen and one never began."""
    clock = HandClock()
    place = replace(make_place(tmp_path, World()), catalogue=known())
    session = make_session(tmp_path, clock, 3)
    for source, name in ((GOOD, "exam.yml"), (SCENARIO, SCENARIO.name)):
        shutil.copy(source, session.papers / name)
    values = {f"c{number:03}": {"page": "plan", "asked": "x"} for number in (1, 2)}
    values = {owner: {"page": one["page"]} for owner, one in values.items()}
    (session.papers / "variants.json").write_text(json.dumps(values))
    golden = golden_folder(place) / "small-1" / "disks"
    golden.mkdir(parents=True)
    tree = make_tree(tmp_path / "tree", {"etc/hosts": b"localhost\n"})
    make_disk(tree, golden / "client.qcow2")
    labs = Labs(clock)
    papers = SessionPapers(session, place.catalogue, tmp_path)
    for number in ("001", "002"):
        freeze(session, number)
        labs.add(f"small-c{number}")
        disks = session.folder / "frozen" / number / "freeze-1" / "disks"
        disks.mkdir(parents=True)
        for node in papers.paper(number).topology.nodes:
            make_overlay(golden / "client.qcow2", disks / f"{node}.qcow2", {"/etc/hosts": number.encode()})
    conduct = Conduct(session, FakeLabs(labs), FakeConsoles(labs))
    return Collecting(place, conduct, LabProofs(place, session, papers, Silent()), Screen(), Silent())


def test_who_is_frozen_is_collected_checked_and_logged(collecting: Collecting) -> None:
    session = collecting.conduct.session
    results = collecting.collect([], None, recette=True)
    assert {number: one.became for number, one in results.items()} == {"001": Became.DONE, "002": Became.DONE}
    found = verify(session.folder)
    assert found.ok, [one.text() for one in found.findings]
    standing = session.read()
    told = standing.candidates["001"].last[Act.COLLECT].facts
    assert told["folder"] == "c001"
    assert Act.RECETTE in standing.candidates["001"].last
    folder = session.folder / "evidence/c001"
    assert json.loads((folder / "recette/end.json").read_text())["checks"]
    assert json.loads((folder / "variant.json").read_text())["values"] == {"page": "plan"}
    assert b'"act":"freeze"' in (folder / "logs/session.jsonl").read_bytes()
    assert b'"002"' not in (folder / "logs/session.jsonl").read_bytes()
    labs = collecting.conduct.labs
    assert isinstance(labs, FakeLabs)
    assert labs.world.state("small-c001") == {"paused"}  # as it was before
    assert labs.world.links["small-c001"] is False


def test_collecting_again_does_nothing(collecting: Collecting) -> None:
    collecting.collect([], None, recette=False)
    head = collecting.conduct.session.read().head
    results = collecting.collect([], None, recette=True)
    assert {one.became for one in results.values()} == {Became.ALREADY}
    assert collecting.conduct.session.read().head == head


def test_what_a_crash_left_unfinished_is_finished(collecting: Collecting) -> None:
    session = collecting.conduct.session
    collecting.collect(["001"], None, recette=False)
    with session.writing() as log:
        log.add(Act.COLLECT, Step.BEGUN, "001")  # a second run was killed before it ended
    assert collecting.collect(["001"], None, recette=False)["001"].became is Became.DONE
    assert not session.read().candidates["001"].unfinished
    assert verify(session.folder).ok


def test_who_is_not_frozen_is_refused_by_name(collecting: Collecting) -> None:
    results = collecting.collect(["001", "003"], None, recette=False)
    assert results["003"].became is Became.REFUSED
    assert "003" in results["003"].reason
    assert results["001"].became is Became.DONE
    assert collecting.recettes(["003"])["003"].became is Became.REFUSED


def test_a_second_copy_is_a_whole_session_to_verify(collecting: Collecting, tmp_path: Path) -> None:
    collecting.collect([], tmp_path / "usb", recette=False)
    found = verify(tmp_path / "usb" / "e6")
    assert found.ok, [one.text() for one in found.findings]
    assert found.candidates == ("001", "002")
    assert not (tmp_path / "usb/e6/key.pem").exists()
    assert not (tmp_path / "usb/e6/papers").exists()
    results = collecting.collect([], tmp_path / "usb", recette=False)
    assert {one.became for one in results.values()} == {Became.ALREADY}
    assert verify(tmp_path / "usb" / "e6").ok


def test_something_in_the_way_of_one_holds_back_no_other(collecting: Collecting) -> None:
    session = collecting.conduct.session
    (session.folder / "evidence/c001").mkdir()
    (session.folder / "evidence/c001/notes").write_text("mine")
    results = collecting.collect([], None, recette=False)
    assert results["001"].became is Became.REFUSED
    assert results["002"].became is Became.DONE
    assert (session.folder / "evidence/c001/notes").read_text() == "mine"


def test_too_small_a_disk_is_refused_before_anything_is_done(collecting: Collecting) -> None:
    head = collecting.conduct.session.read().head
    with pytest.raises(Refused):
        replace(collecting, room=lambda _folder: 1 << 20).collect([], None, recette=True)
    assert collecting.conduct.session.read().head == head
    assert list((collecting.conduct.session.folder / "evidence").iterdir()) == []


def test_a_disk_that_stands_on_something_else_is_refused(collecting: Collecting, tmp_path: Path) -> None:
    disks = collecting.conduct.session.folder / "frozen/001/freeze-1/disks"
    tree = make_tree(tmp_path / "other", {"etc/hosts": b""})
    other = make_disk(tree, tmp_path / "other.qcow2")
    disk = next(disks.iterdir())
    disk.unlink()
    make_overlay(other, disk, {})
    results = collecting.collect(["001"], None, recette=False)
    assert results["001"].became is Became.REFUSED
    assert "other.qcow2" in results["001"].reason


def test_work_that_went_on_is_collected_beside_what_was_collected(collecting: Collecting) -> None:
    session = collecting.conduct.session
    collecting.collect(["001"], None, recette=True)
    first = session.folder / "frozen/001/freeze-1"
    shutil.copytree(first, first.with_name("freeze-2"))
    with session.writing() as log:
        log.add(Act.FREEZE, Step.BEGUN, "001", copy="freeze-2", left="suspended", reason="deadline")
        log.add(Act.FREEZE, Step.DONE, "001", copy="freeze-2", folder="frozen/001/freeze-2", left="suspended")
    results = collecting.collect(["001"], None, recette=True)
    assert results["001"].became is Became.DONE
    assert sorted(path.name for path in (session.folder / "evidence").iterdir()) == ["c001", "c001.freeze-2"]
    assert len(session.read().candidates["001"].entries(Act.RECETTE)) == 4  # the old results are of other work
    found = verify(session.folder)
    assert found.ok, [one.text() for one in found.findings]
    assert collecting.collect(["001"], None, recette=True)["001"].became is Became.ALREADY


def test_machines_that_do_not_run_again_are_collected_without_results(collecting: Collecting) -> None:
    labs = collecting.conduct.labs
    assert isinstance(labs, FakeLabs)
    labs.world.refusing.add("small-c001")
    assert collecting.collect(["001"], None, recette=True)["001"].became is Became.DONE
    folder = collecting.conduct.session.folder / "evidence/c001"
    assert not (folder / "recette/end.json").exists()
    assert "recette" in " ".join(json.loads((folder / "MANIFEST.json").read_text())["facts"]["missing"])


def test_a_frozen_disk_that_is_a_link_is_not_taken(collecting: Collecting) -> None:
    session = collecting.conduct.session
    for disk in (session.folder / "frozen/002/freeze-1/disks").iterdir():
        away = disk.rename(disk.with_suffix(".away"))
        disk.symlink_to(away)
    results = collecting.collect([], None, recette=False)
    assert results["001"].became is Became.DONE
    assert results["002"].became is Became.FAILED
    assert session.read().candidates["002"].history[-1].step is Step.FAILED
    assert not session.evidence("c002").exists()
