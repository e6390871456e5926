"""Ready spares: kept, given to a latecomer or for a reset, and never lost, doubled or mixed up by a crash."""

import shutil
from pathlib import Path

import pytest

from labctl.classroom.labs import bring_up_labs, count_new, plan_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.golden import find_users, list_golden
from labctl.lab.down import take_down
from labctl.lab.repair import Deed, Repair
from labctl.lab.seats import note_lab, seat_folder
from labctl.lab.standby import find_spares, kept_spares
from labctl.lab.status import read_status
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.observed import DomainState
from labctl.topology.load import load_topology
from tests.lab.doubles import Crash, Fault, World, make_place
from tests.lab.test_golden import write_overlay_header
from tests.worlds import catalogue

SMALL = Path(__file__).with_name("small.yml")
NODES = ("server", "desk")


def bring(
    place: Workplace, *owners: str, spares: int | None = None, reset: tuple[str, ...] = (), source: Path = SMALL
) -> list[LabResult]:
    wish = ClassWish(load_topology(source, catalogue()), source, owners, reset=reset, spares=spares)
    return bring_up_labs(place, wish, lambda _image: Pace("tcg", 1.0), Silent(), Stop())


def states(place: Workplace) -> dict[str, str]:
    return {lab.name: lab.state for lab in read_status(place, lambda _lab: False)}


def seats(world: World) -> set[str]:
    """Return what names of machines and of networks begin with; both must be the same."""
    machines, networks = ({name.partition(".")[0] for name in found} for found in (world.domains, world.networks))
    assert machines == networks
    return machines


def repair(place: Workplace) -> list[tuple[str, Deed]]:
    return [(one.kind, one.deed) for one in Repair(place, SMALL.parent).run()]


def assert_whole(place: Workplace, world: World, lab: str, number: object = None) -> None:
    """Assert that the machines in a lab's seat run, are marked as its own and know their disks."""
    seat = place.seat_of(lab)
    for node in NODES:
        domain = world.domains[f"{seat}.{node}"]
        assert domain.state is DomainState.RUNNING, number
        assert domain.tag is not None
        assert (domain.tag.lab, domain.tag.owner, domain.tag.seat_name) == (lab, lab.removeprefix("small-"), seat)
        assert domain.tag.configured, number
        assert domain.name in world.personal, number
        assert str(place.folders(lab).disk(node)) in world.xml[domain.name], number
        assert place.folders(lab).disk(node).exists(), number


def test_spares_are_kept_at_their_number(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    results = bring(place, spares=2)
    assert [(result.owner, result.ready) for result in results] == [("spare-1", True), ("spare-2", True)]
    assert states(place) == {"small-spare-1": "ready", "small-spare-2": "ready"}
    before = dict(world.domains)
    bring(place, "alice", spares=2)
    assert find_spares(place, "small") == ("small-spare-2", "small-spare-3")
    assert set(before) < set(world.domains)
    bring(place, spares=1)
    assert find_spares(place, "small") == ("small-spare-2",)
    assert seats(world) == {"small-spare-1", "small-spare-2"}
    assert repair(place) == []


def test_a_latecomer_has_a_spare_at_once_and_the_next_run_makes_another(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, spares=1)
    login = (place.folders("small-spare-1").secrets / "login_ed25519").read_bytes()
    machines = set(world.domains)
    (zoe, spare) = bring(place, "zoe")  # the number of spares is remembered
    assert zoe.ready
    assert zoe.progress is not None
    assert zoe.progress.spare == "small-spare-1"
    assert (spare.owner, spare.ready) == ("spare-2", True)
    assert place.seat_of("small-zoe") == "small-spare-1"
    assert (place.folders("small-zoe").secrets / "login_ed25519").read_bytes() == login
    assert_whole(place, world, "small-zoe")
    assert states(place) == {"small-spare-2": "ready", "small-zoe": "ready"}
    assert [event.what for event in place.store.events("small-zoe")][:1] == ["take spare"]
    (again, _spare) = bring(place, "zoe")
    assert again.plan is not None
    assert again.plan.actions == ()
    assert machines < set(world.domains)
    assert repair(place) == []


def test_a_reset_of_a_whole_lab_takes_a_spare_and_keeps_checkpoints(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice", spares=2)
    kept = place.folders("small-alice").top / "checkpoints" / "step"
    kept.mkdir(parents=True)
    (kept / "manifest.json").write_text("{}")
    for turn, seat in enumerate(("small-spare-1", "small-spare-2")):
        (result,) = bring(place, "alice", reset=NODES)
        assert result.ready
        assert place.seat_of("small-alice") == seat
        assert seats(world) == {"small-spare-1", "small-spare-2"} - ({"small-spare-1"} if turn else set())
        assert_whole(place, world, "small-alice")
        assert (place.folders("small-alice").top / "checkpoints" / "step" / "manifest.json").exists()
    assert [path.name for path in (tmp_path / "labs" / ".seats").iterdir()] == ["small-spare-2"]
    (result,) = bring(place, "alice", reset=NODES)  # none is left: cloned, in the seat that it has
    assert result.ready
    assert seats(world) == {"small-spare-2"}
    assert_whole(place, world, "small-alice")
    assert kept_spares(place, "small") == 2
    assert repair(place) == []


def test_one_machine_is_never_taken_from_a_spare(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice", spares=1)
    before = dict(world.domains)
    (result,) = bring(place, "alice", reset=("desk",))
    assert result.ready
    assert {name for name in before if world.domains[name] is not before[name]} == {"small-alice.desk"}
    assert find_spares(place, "small") == ("small-spare-1",)


def start_with_a_spare(home: Path, world: World, act: str) -> None:
    bring(make_place(home, world), *(["alice"] if act == "reset" else []), spares=1)


@pytest.mark.parametrize("act", ["up", "reset"])
def test_a_crash_at_any_outside_call_of_a_take_is_finished_by_the_next_run(act: str, tmp_path: Path) -> None:  # F-01
    reset = NODES if act == "reset" else ()
    count, world = Fault(), World()
    start_with_a_spare(tmp_path / "count", world, act)
    bring(make_place(tmp_path / "count", world, count), "alice", spares=None if reset else 0, reset=reset)
    assert count.calls > 4
    for number in range(1, count.calls + 1):
        world, home = World(), tmp_path / f"home{number}"
        start_with_a_spare(home, world, act)
        with pytest.raises(Crash):
            bring(make_place(home, world, Fault(number)), "alice", spares=None if reset else 0, reset=reset)
        place = make_place(home, world)
        assert "small-alice" in states(place), number
        (result, *_spares) = bring(place, "alice", spares=0)
        assert result.ready, number
        assert states(place) == {"small-alice": "ready"}, number
        assert seats(world) == {place.seat_of("small-alice")}, number
        assert_whole(place, world, "small-alice", number)
        assert repair(place) == [], number


def test_a_lab_that_had_just_left_its_folder_comes_back(tmp_path: Path) -> None:  # F-01
    """A crash between the two renames of a take: what was there is still there."""
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "alice", spares=1)
    before = dict(world.domains)
    for by_repair in (False, True):
        note_lab(tmp_path / "labs" / "small-alice", "small-alice")
        (tmp_path / "labs" / "small-alice").rename(seat_folder(place, "small-alice"))
        if by_repair:
            assert ("seat", Deed.MENDED) in repair(place)
        else:
            assert bring(place, "alice")[0].ready
        assert world.domains == before
        assert states(place) == {"small-alice": "ready", "small-spare-1": "ready"}


def test_repair_finds_whose_a_seat_is_by_libvirts_tags_alone(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, spares=1)
    bring(place, "zoe", spares=0)
    (tmp_path / "labs" / "small-zoe").unlink()
    (seat_folder(place, "small-spare-1") / "lab").unlink()
    assert repair(place) == [("seat", Deed.MENDED)]
    assert_whole(place, world, "small-zoe")
    shutil.rmtree(tmp_path / "labs")
    (tmp_path / "labs").mkdir()
    assert ("seat", Deed.MENDED) in repair(place)
    assert place.seat_of("small-zoe") == "small-spare-1"
    assert place.folders("small-zoe").topology.exists()
    take_down(place, "small-zoe", Silent())
    assert (world.domains, world.networks) == ({}, {})


def test_down_removes_the_lab_that_was_a_spare_and_no_other(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, "bob", spares=1)
    bring(place, "zoe", spares=1)
    assert take_down(place, "small-spare-1", Silent()).empty  # it is zoe's now
    assert seats(world) == {"small-bob", "small-spare-1", "small-spare-2"}
    removal = take_down(place, "small-zoe", Silent())
    assert (len(removal.domains), removal.folder) == (2, True)
    assert seats(world) == {"small-bob", "small-spare-2"}
    assert states(place) == {"small-bob": "ready", "small-spare-2": "ready"}
    take_down(place, "small-spare-2", Silent())
    assert seats(world) == {"small-bob"}
    assert list((tmp_path / "labs" / ".seats").iterdir()) == []


def test_a_lab_whose_link_was_lost_goes_by_its_tags(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, spares=1)
    bring(place, "zoe", spares=0)
    (tmp_path / "labs" / "small-zoe").unlink()
    take_down(place, "small-zoe", Silent())
    assert (world.domains, world.networks) == ({}, {})


def test_a_spare_of_an_older_golden_lab_is_not_taken_but_made_anew(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, spares=1)
    newer = tmp_path / "newer.yml"
    newer.write_text(SMALL.read_text().replace('version: "1.0"', 'version: "1.1"'))
    zoe, spare = bring(place, "zoe", source=newer)
    assert zoe.ready
    assert spare.ready
    assert place.seat_of("small-zoe") == "small-zoe"
    assert len({domain.tag.golden for domain in world.domains.values() if domain.tag}) == 1
    assert bring(place, "yan", spares=0, source=newer)[0].ready
    assert place.seat_of("small-yan") == "small-spare-1"


def test_a_spare_that_is_not_whole_is_not_taken(tmp_path: Path) -> None:
    world = World()
    place = make_place(tmp_path, world)
    bring(place, spares=2)
    del world.domains["small-spare-1.desk"]
    assert bring(place, "zoe")[0].ready
    assert place.seat_of("small-zoe") == "small-spare-2"


def test_a_spare_that_does_not_answer_is_cloned_again(tmp_path: Path) -> None:
    """A false "ready" is never said of a spare either: the gate asks it once more."""
    world = World()
    place = make_place(tmp_path, world)
    bring(place, spares=1)
    world.closed = True
    (zoe, _spare) = bring(place, "zoe")
    assert not zoe.ready
    assert "clone again" in [event.what for event in place.store.events("small-zoe")]


def test_spares_count_in_the_forecast(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    topology = load_topology(SMALL, catalogue())
    plans = plan_labs(place, topology, ["a", "b", "c"])
    assert count_new(place, topology, plans, 2) == 5
    bring(place, spares=2)
    plans = plan_labs(place, topology, ["a", "b", "c"])
    assert count_new(place, topology, plans, None) == 1
    assert count_new(place, topology, plans, 2) == 3
    assert count_new(place, topology, [], 2) == 0


def test_disks_of_a_seat_keep_the_golden_lab(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, spares=1)
    bring(place, "zoe", spares=0)
    (golden,) = list_golden(place)
    write_overlay_header(place.folders("small-zoe").disk("desk"), golden.disk("desk"))
    assert find_users(place) == {golden.id: ("small-zoe",)}
