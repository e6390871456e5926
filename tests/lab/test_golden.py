"""Golden labs and clones: built once, frozen only when every check passes, cloned, reset, and never false."""

import os
import shutil
from dataclasses import replace as replace_fields
from pathlib import Path

import pytest

from labctl.classroom.labs import bring_up_labs, plan_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.errors import LabctlError, Refused
from labctl.golden import Freshness, Verdict, find_golden, find_unused, find_users, judge, list_golden, remove_golden
from labctl.lab.status import read_status
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.model import ActionKind
from labctl.plan.observed import DomainState
from labctl.topology.load import load_topology
from tests.lab.doubles import Configurator, Crash, Fault, World, make_place
from tests.worlds import catalogue

SMALL = Path(__file__).with_name("small.yml")


def bring(
    place: Workplace, *owners: str, reset: tuple[str, ...] = (), source: Path = SMALL, replace: bool = False
) -> list[LabResult]:
    wish = ClassWish(load_topology(source, catalogue()), source, owners, replace=replace, reset=reset)
    return bring_up_labs(place, wish, lambda _image: Pace("tcg", 1.0), Silent(), Stop())


def write_overlay_header(disk: Path, base: Path) -> None:
    """Make a file look like an overlay: the stand-ins' disks are text."""
    name = os.fsencode(base)
    numbers = (3).to_bytes(4, "big") + (32).to_bytes(8, "big") + len(name).to_bytes(4, "big") + bytes(12)
    disk.write_bytes(b"QFI\xfb" + numbers + name)


def labs(world: World) -> set[str]:
    return {domain.tag.lab for domain in world.domains.values() if domain.tag}


def test_a_class_is_built_once_and_cloned(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    results = bring(place, "alice", "bob", "chloe")
    assert all(result.ready for result in results)
    assert isinstance(place.configurator, Configurator)
    assert place.configurator.runs == [("server", "desk")]  # once, for the golden lab
    assert labs(world) == {"small-alice", "small-bob", "small-chloe"}
    assert world.personal == set(world.domains)
    (golden,) = list_golden(place)
    assert {golden.state(node).stat().st_mode & 0o777 for node in ("server", "desk")} == {0o400}
    assert all(lab.state == "ready" for lab in read_status(place, lambda _lab: False))


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    world = World()
    bring(make_place(tmp_path, world), "alice")
    before = dict(world.domains)
    (result,) = bring(make_place(tmp_path, world), "alice")
    assert (result.ready, result.plan and result.plan.actions, world.domains) == (True, (), before)


def test_a_golden_lab_whose_checks_fail_is_not_frozen_and_stays_up(tmp_path: Path) -> None:
    world = World()
    world.closed = True
    place = make_place(tmp_path, world)
    with pytest.raises(LabctlError, match="reach"):
        bring(place, "alice")
    assert list_golden(place) == ()
    (lab,) = labs(world)
    assert lab.startswith("small-golden-")
    world.closed = False
    assert bring(place, "alice")[0].ready
    assert labs(world) == {"small-alice"}


def test_reset_makes_one_node_anew_and_leaves_the_other_alone(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice", "bob")
    before = dict(world.domains)
    world.personal.clear()
    (result,) = bring(place, "alice", reset=("desk",))
    assert result.ready
    assert world.personal == {"small-alice.desk"}
    assert {name for name in before if world.domains[name] is not before[name]} == {"small-alice.desk"}


def calls_of(act: str, home: Path) -> int:
    fault = Fault()
    world = World()
    bring(make_place(home, world), "warm")
    bring(make_place(home, world, fault), "alice" if act == "up" else "warm", reset=("desk",) if act == "reset" else ())
    return fault.calls


@pytest.mark.slow
@pytest.mark.parametrize("act", ["up", "reset"])
def test_a_crash_at_any_outside_call_is_finished_by_the_next_run(act: str, tmp_path: Path) -> None:  # F-01, F-03
    total = calls_of(act, tmp_path / "count")
    assert total > 10
    world, home = World(), tmp_path / "home"
    bring(make_place(home, world), "warm")
    for number in range(1, total + 1):
        owner = f"s{number}" if act == "up" else "warm"
        with pytest.raises(Crash):
            bring(make_place(home, world, Fault(number)), owner, reset=("desk",) if act == "reset" else ())
        (result,) = bring(make_place(home, world), owner)
        assert result.ready, number
        for node in ("server", "desk"):
            domain = world.domains[f"small-{owner}.{node}"]
            assert domain.state is DomainState.RUNNING, number
            assert domain.tag is not None
            assert domain.tag.configured, number
            assert domain.name in world.personal, number


@pytest.mark.slow
def test_a_crash_while_the_golden_lab_is_made_is_finished_by_the_next_run(tmp_path: Path) -> None:  # F-01
    fault = Fault()
    bring(make_place(tmp_path / "count", World(), fault), "alice")
    for number in range(1, fault.calls + 1):
        world, home = World(), tmp_path / f"home{number}"
        with pytest.raises(Crash):
            bring(make_place(home, world, Fault(number)), "alice")
        (result,) = bring(make_place(home, world), "alice")
        assert result.ready, number
        assert labs(world) == {"small-alice"}, number


def test_a_memory_that_does_not_fit_becomes_a_cold_boot(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    world.cold = True
    (result,) = bring(place, "bob")
    assert result.ready
    assert {"small-bob.desk", "small-bob.server"} <= world.personal


def test_a_changed_golden_file_is_named_and_not_started(tmp_path: Path) -> None:  # F-23
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    (golden,) = list_golden(place)
    golden.disk("desk").chmod(0o600)
    golden.disk("desk").write_text("changed")
    with pytest.raises(LabctlError, match=r"desk\.qcow2"):
        bring(place, "bob")
    assert labs(world) == {"small-alice"}


def test_one_owner_whose_lab_fails_blocks_nobody(tmp_path: Path) -> None:  # F-28
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    world.silent.add("small-bob.desk")
    results = bring(place, "bob", "chloe")
    assert [result.ready for result in results] == [False, True]


def test_changed_playbooks_or_topology_give_another_golden_lab(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice")
    topology = load_topology(SMALL, catalogue())
    assert find_golden(place, topology) is not None
    other = topology.model_copy(update={"version": "2.0"})
    assert find_golden(place, other) is None
    (plan,) = plan_labs(place, other, ["bob"])
    assert [action.kind for action in plan.actions].count(ActionKind.CLONE_MACHINE) == 2


def test_a_golden_lab_goes_when_nothing_stands_on_it(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice")
    (golden,) = list_golden(place)
    remove_golden(place, golden)
    assert list_golden(place) == ()
    assert not golden.folder.exists()


def test_reset_of_an_unknown_golden_lab_needs_no_consent_for_others(tmp_path: Path) -> None:
    """A machine whose hardware changed is refused, a reset of another one is not."""
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    bigger = tmp_path / "bigger.yml"
    bigger.write_text(SMALL.read_text().replace("image: debian-13", "image: debian-13\n    memory: 600", 1))
    (result,) = bring(place, "alice", source=bigger)
    assert isinstance(result.error, Refused)
    (result,) = bring(place, "alice", source=bigger, replace=True)
    assert result.ready


def test_a_part_of_a_lab_comes_from_the_golden_lab_of_the_rest(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    (old,) = list_golden(place)
    newer = tmp_path / "newer.yml"
    newer.write_text(SMALL.read_text().replace('version: "1.0"', 'version: "1.1"'))
    (result,) = bring(place, "alice", source=newer, reset=("desk",))
    assert result.ready
    tags = {name: domain.tag.golden for name, domain in world.domains.items() if domain.tag}
    assert set(tags.values()) == {old.id}
    assert list_golden(place) == (old,)
    (result,) = bring(place, "alice", source=newer, reset=("desk", "server"))
    assert result.ready
    (new,) = {domain.tag.golden for domain in world.domains.values() if domain.tag}
    assert new != old.id


def test_a_part_whose_golden_lab_is_gone_is_refused_with_the_cure(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    remove_golden(place, list_golden(place)[0])
    newer = tmp_path / "newer.yml"
    newer.write_text(SMALL.read_text().replace('version: "1.0"', 'version: "1.1"'))
    before = dict(world.domains)
    (result,) = bring(place, "alice", source=newer, reset=("desk",))
    assert isinstance(result.error, Refused)
    assert result.error.hint == "labctl reset small-alice"
    assert world.domains == before


def test_clones_have_the_authority_of_their_golden_lab_and_keys_of_their_own(tmp_path: Path) -> None:
    bring(make_place(tmp_path, World()), "alice", "bob")
    folders = [tmp_path / "labs" / f"small-{owner}" / "secrets" for owner in ("alice", "bob")]
    assert len({(folder / "ca.key").read_bytes() for folder in folders}) == 1
    assert len({(folder / "login_ed25519").read_bytes() for folder in folders}) == 2
    assert {(folder / "ca.key").stat().st_mode & 0o777 for folder in folders} == {0o600}


def test_a_clone_that_does_not_come_up_is_made_once_more(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    world.once_silent.add("small-bob.desk")
    (result,) = bring(place, "bob")
    assert result.ready
    assert [event.detail for event in place.store.events("small-bob") if event.what == "clone again"] == ["desk"]


def test_a_clone_that_never_comes_up_is_told_with_its_last_words_and_made_anew_by_the_next_run(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    log = place.folders("small-bob").serial_log("desk")
    log.parent.mkdir(parents=True)
    log.write_text("Kernel panic - not syncing\n", encoding="ascii")
    world.silent.add("small-bob.desk")
    (result,) = bring(place, "bob")
    assert result.progress is not None
    assert "Kernel panic" in result.progress.failures["desk"].message
    (bob,) = (lab for lab in read_status(place, lambda _lab: False) if lab.owner == "bob")
    assert {node.name: str(node.state) for node in bob.nodes} == {"server": "ready", "desk": "not configured"}
    world.silent.clear()
    (plan,) = plan_labs(place, load_topology(SMALL, catalogue()), ["bob"])
    assert [(action.kind, action.target) for action in plan.actions] == [(ActionKind.CLONE_MACHINE, "desk")]
    assert bring(place, "bob")[0].ready


def test_a_machine_that_a_student_broke_is_never_cloned_again_by_up(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    before = dict(world.domains)
    world.closed = True
    (result,) = bring(place, "alice")
    assert not result.ready
    assert world.domains == before


def shipped_folder_with(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "small.yml").write_text(text)
    return folder


def test_a_golden_lab_says_whether_it_is_current_and_what_changed(tmp_path: Path) -> None:
    place = make_place(tmp_path / "home", World())
    text = SMALL.read_text().replace("after: [server]", "after: [server]\n    services: { client: {} }")
    bring(place, "alice", source=shipped_folder_with(tmp_path / "first", text) / "small.yml")
    (golden,) = list_golden(place)
    assert golden.source.read_text() == text
    shipped = shipped_folder_with(tmp_path / "shipped", text)
    assert judge(place, golden, shipped) == Verdict(Freshness.CURRENT)
    shipped_folder_with(shipped, text.replace("10.0.0.2 }", "10.0.0.3 }").replace('"1.0"', '"1.1"'))
    verdict = judge(place, golden, shipped)
    assert verdict == Verdict(Freshness.STALE, ("topology",), ("version", "nodes.desk"))
    playbooks = tmp_path / "playbooks"
    shutil.copytree(place.playbooks, playbooks)
    (playbooks / "roles" / "dhcp" / "new.yml").write_text("changed: true\n")
    shipped_folder_with(shipped, text)
    other = replace_fields(place, playbooks=playbooks)
    assert judge(other, golden, shipped) == Verdict(Freshness.CURRENT)  # a role of other labs
    (playbooks / "roles" / "client" / "new.yml").write_text("changed: true\n")
    other = replace_fields(place, playbooks=playbooks)
    assert judge(other, golden, shipped) == Verdict(Freshness.STALE, ("playbooks",))


def test_a_golden_lab_of_an_unshipped_topology_is_never_surely_current(tmp_path: Path) -> None:
    place = make_place(tmp_path / "home", World())
    bring(place, "alice")
    (golden,) = list_golden(place)
    (tmp_path / "shipped").mkdir()
    assert judge(place, golden, tmp_path / "shipped") == Verdict(Freshness.UNKNOWN)
    assert find_unused(place, tmp_path / "shipped") == ()


def test_unused_are_those_that_are_stale_and_that_nothing_stands_on(tmp_path: Path) -> None:
    place = make_place(tmp_path / "home", World())
    text = SMALL.read_text()
    newer = shipped_folder_with(tmp_path / "shipped", text.replace('"1.0"', '"1.1"')) / "small.yml"
    bring(place, "alice")
    bring(place, "bob", source=newer)
    old, new = sorted(list_golden(place), key=lambda one: one.source.read_text() != text)
    assert find_unused(place, newer.parent) == (old,)
    assert {one.id for one in find_unused(place, newer.parent, everything=True)} == {old.id, new.id}
    disk = place.folders("small-alice").disk("desk")
    write_overlay_header(disk, old.disk("desk"))
    assert find_users(place) == {old.id: ("small-alice",)}
    assert find_unused(place, newer.parent) == ()
    with pytest.raises(Refused, match="small-alice"):
        remove_golden(place, old)
    disk.unlink()
    assert find_unused(place, newer.parent) == (old,)


def test_a_machine_that_was_undefined_keeps_its_disk(tmp_path: Path) -> None:  # F-24
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    (golden,) = list_golden(place)
    disk = place.folders("small-alice").disk("desk")
    disk.write_text("a week of work")
    del world.domains["small-alice.desk"]
    (plan,) = plan_labs(place, load_topology(SMALL, catalogue()), ["alice"])
    kinds = [(action.kind, action.target) for action in plan.actions]
    assert kinds == [(ActionKind.DEFINE_MACHINE, "desk"), (ActionKind.START_MACHINE, "desk")]
    (result,) = bring(place, "alice")
    assert (result.ready, disk.read_text()) == (True, "a week of work")
    assert world.domains["small-alice.desk"].state is DomainState.RUNNING
    world.closed = True  # a gate that fails later must not make it new either
    bring(place, "alice")
    assert disk.read_text() == "a week of work"
    assert golden.disk("desk").exists()


def test_a_clone_that_could_not_be_made_is_no_machine_that_was_undefined(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice")
    fault = Fault()
    bring(make_place(tmp_path, world, fault), "count")
    for number in range(1, fault.calls + 1):
        owner = f"s{number}"
        bring(make_place(tmp_path, world, Fault(number, LabctlError)), owner)
        (result,) = bring(make_place(tmp_path, world), owner)
        assert result.ready, number
        assert {f"small-{owner}.desk", f"small-{owner}.server"} <= world.personal, number
