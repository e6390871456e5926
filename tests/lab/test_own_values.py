"""Labs with values of their own: the golden lab knows none, clones and resets get them, nobody reads the answers."""

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from labctl.classroom.labs import bring_up_labs, plan_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.cli.variants import to_dict
from labctl.errors import Refused
from labctl.golden import golden_parts, list_golden
from labctl.lab.down import take_down
from labctl.lab.own_values import FILE, KEY, assign_values, draw_owned, read_own
from labctl.lab.repair import Repair
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.model import ActionKind, Reason
from labctl.topology.load import load_topology, read_template
from labctl.variants import drawn_faults
from tests.lab.doubles import Configurator, Crash, Fault, World, make_place
from tests.worlds import catalogue

VARIED = Path(__file__).with_name("varied.yml")


def bring(
    place: Workplace, *owners: str, session: str = "", spares: int | None = None, reset: tuple[str, ...] = ()
) -> list[LabResult]:
    template = read_template(VARIED)
    base = template.resolve(catalogue())
    own = assign_values(place, (template, base), catalogue(), session, owners)
    wish = ClassWish(base, VARIED, owners, reset=reset, spares=spares, own=own)
    return bring_up_labs(place, wish, lambda _image: Pace("tcg", 1.0), Silent(), Stop())


def inventories(place: Workplace) -> list[dict[str, dict[str, object]]]:
    assert isinstance(place.configurator, Configurator)
    return [one["all"]["hosts"] for one in place.configurator.inventories]


def values_of(place: Workplace, lab: str) -> dict[str, object]:
    return dict(place.load_owned(lab).values or {})


def test_a_lab_without_a_session_has_the_defaults_and_nothing_more_to_do(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    assert bring(place, "alice")[0].ready
    runs = len(inventories(place))
    assert runs == 1, "the golden lab's"
    assert place.load_lab("small-alice").checks[0].failed.en == "Port 22 does not answer."
    assert not (tmp_path / KEY).exists()
    assert not (place.folders("small-alice").top / FILE).exists()


def test_a_clone_gets_its_owners_values_on_the_machines_concerned(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    (alice, bob) = bring(place, "alice", "bob", session="s1")
    assert alice.ready
    assert bob.ready
    golden, *own = inventories(place)
    assert golden["server"]["web_server_sites"] == [{"name": "www.lan.example", "title": "Club"}]
    assert isinstance(place.configurator, Configurator)
    assert place.configurator.runs[1:] == [("server",), ("server",)], "desk has nothing of its own"
    wanted = {f"{values_of(place, lab)['nick']}.lan.example" for lab in ("small-alice", "small-bob")}
    assert {str(one["server"]["web_server_sites"][0]["name"]) for one in own} == wanted  # type: ignore[index]  # JSON
    checks = place.load_lab("small-alice").checks
    assert checks[0].probe.port == values_of(place, "small-alice")["door"]  # type: ignore[union-attr]  # a tcp probe


def test_the_golden_lab_is_the_same_for_everybody(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice", session="s1")
    bring(place, "bob", session="s2")
    bring(place, "carol")
    assert len(list_golden(place)) == 1
    own, base = place.load_lab("small-alice"), load_topology(VARIED, catalogue())
    assert golden_parts(place, base)["topology"] == list_golden(place)[0].parts["topology"]  # type: ignore[index]  # it has
    assert own != base


def test_a_second_run_has_nothing_to_do_and_a_reset_gives_the_same_values(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice", session="s1")
    before = values_of(place, "small-alice")
    (again,) = bring(place, "alice")
    assert again.plan is not None
    assert again.plan.actions == ()
    (reset,) = bring(place, "alice", reset=("server",))
    assert reset.ready
    assert inventories(place)[-1]["server"]["labctl_services"] == ["web_server"]
    assert values_of(place, "small-alice") == before
    assert bring(place, "alice", session="s1")[0].plan.actions == ()  # type: ignore[union-attr]  # it has one
    assert [one.kind for one in Repair(place, VARIED.parent).run()] == []


def test_the_plan_says_why_a_clone_is_configured(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    template = read_template(VARIED)
    base = template.resolve(catalogue())
    own = draw_owned(place, (template, base), catalogue(), "s1", ["alice"])
    (plan,) = plan_labs(place, base, ["alice"], own)
    (action,) = plan.actions_of(ActionKind.CONFIGURE)
    assert (action.target, action.reason) == ("server", Reason.OWN_VALUES)


def test_a_spare_gets_the_values_of_the_owner_who_takes_it(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, spares=1)
    (zoe, *_spare) = bring(place, "zoe", session="s1", spares=0)
    assert zoe.progress is not None
    assert zoe.progress.spare == "small-spare-1"
    assert zoe.ready
    assert inventories(place)[-1]["server"]["labctl_services"] == ["web_server"]
    (again,) = bring(place, "zoe")
    assert again.plan is not None
    assert again.plan.actions == ()
    before = values_of(place, "small-zoe")
    bring(place, spares=1)
    (reset, *_spare) = bring(place, "zoe", reset=("server", "desk"))
    assert reset.ready
    assert values_of(place, "small-zoe") == before


@pytest.mark.parametrize("at", [4, 9, 14, 19, 24, 29])
def test_a_crash_anywhere_leaves_no_lab_with_the_golden_labs_values(tmp_path: Path, at: int) -> None:
    world = World()
    bring(make_place(tmp_path, world), "bob", session="s1")
    place = make_place(tmp_path, world, Fault(at))
    try:
        bring(place, "alice", session="s1")
    except Crash:
        place = make_place(tmp_path, world)
        (again,) = bring(place, "alice", session="s1")
        assert again.ready
    tag = world.domains["small-alice.server"].tag
    layout = place.layout("small-alice", place.load_lab("small-alice"))
    assert tag is not None
    assert tag.configured == layout.node("server").tag.configured
    assert values_of(place, "small-alice")


def test_values_survive_the_lab_and_the_database_alone_or_the_labs_alone(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice", "bob", session="s1")
    before = values_of(place, "small-alice")
    take_down(place, "small-alice", Silent())
    bring(place, "alice", session="s1")
    assert values_of(place, "small-alice") == before
    for path in tmp_path.glob("labctl.sqlite3*"):
        path.unlink()
    place = make_place(tmp_path, place.machines.world)  # type: ignore[attr-defined]  # the double's
    template = read_template(VARIED)
    drawn = draw_owned(place, (template, template.resolve(catalogue())), catalogue(), "s1", ["carol", "bob", "alice"])
    assert dict(drawn["alice"].values or {}) == before


def test_a_lab_that_exists_keeps_its_session(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice", session="s1")
    with pytest.raises(Refused, match="s1"):
        bring(place, "alice", session="s2")
    bring(place, "bob")
    with pytest.raises(Refused, match="without a session"):
        bring(place, "bob", session="s1")


def test_without_its_secret_a_lab_is_not_given_other_values(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice", session="s1")
    (tmp_path / KEY).write_bytes(b"another" * 5)
    with pytest.raises(Refused, match="secret"):
        place.load_lab("small-alice")
    with pytest.raises(Refused, match="secret"):
        bring(place, "alice")
    (tmp_path / KEY).unlink()
    with pytest.raises(Refused, match="secret"):
        bring(place, "alice", session="s1")
    assert not (tmp_path / KEY).exists()


def test_a_plan_of_a_session_is_what_up_makes_and_keeps_nothing(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    template = read_template(VARIED)
    source = (template, template.resolve(catalogue()))
    first = assign_values(place, source, catalogue(), "s1", ["alice"], keep=False)
    assert first.keys() == {"alice"}
    assert not (tmp_path / KEY).exists()
    bring(place, "alice", session="s1")
    forecast = assign_values(place, source, catalogue(), "s1", ["carol", "bob", "alice"], keep=False)
    again = assign_values(place, source, catalogue(), "s1", ["bob", "carol"], keep=False)
    assert forecast["alice"].values == values_of(place, "small-alice")
    assert again.keys() == {"bob", "carol"}
    own = read_own(place.folders("small-alice").top)
    assert own is not None
    assert place.store.draws(own.lot).keys() == {"alice"}
    drawn = assign_values(place, source, catalogue(), "s1", ["carol", "bob", "alice"])
    assert {owner: one.values for owner, one in drawn.items()} == {owner: one.values for owner, one in forecast.items()}
    with pytest.raises(Refused, match="s1"):
        assign_values(place, source, catalogue(), "s2", ["alice"], keep=False)


def test_a_topology_without_variants_has_no_session(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    source = VARIED.with_name("small.yml")
    template = read_template(source)
    with pytest.raises(Refused, match="no variants"):
        assign_values(place, (template, template.resolve(catalogue())), catalogue(), "s1", ["alice"])


def test_the_answer_is_nowhere_that_a_student_or_a_guest_can_read(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    bring(place, "alice", session="s1")
    owned = place.load_owned("small-alice")
    (fault,) = drawn_faults(owned.topology, owned.values or {})
    secret = (tmp_path / KEY).read_bytes()
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE((place.folders("small-alice").top / FILE).stat().st_mode) == 0o600
    assert read_own(place.folders("small-alice").top) is not None
    # What students see of a lab, and what goes to guests.
    shown = json.dumps(to_dict("small-alice", owned, "en", key=False))
    assert fault not in shown
    assert "cure" not in shown
    assert fault in json.dumps(to_dict("small-alice", owned, "en", key=True))
    for inventory in inventories(place):
        assert fault not in json.dumps(inventory)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != KEY:
            content = path.read_bytes()
            assert secret not in content, path
            assert secret.hex().encode() not in content, path
            if path.name != "topology.yml":  # it has all faults, and which is drawn of none
                assert fault.encode() not in content, path


def test_the_command_shows_values_and_answers_to_trainers_only_when_asked(tmp_path: Path) -> None:
    from labctl.cli.variants import variant

    os.environ["LABCTL_LANG"] = "en"
    done = CliRunner().invoke(variant, ["list", str(VARIED), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert [one["name"] for one in found["variants"]] == ["nick", "door", "trouble"]
    assert found["most_owners"] == 6 * 999 * 2
    assert tmp_path.exists()
