"""Labs prepared on a world: ready, mended, from a spare or failed; and refused before anything is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from labctl.errors import Interrupted, LabctlError, Refused
from labctl.exam.audit import Act
from labctl.exam.conduct import Results
from labctl.exam.doors import Built, Proof
from labctl.exam.model import Phase
from labctl.exam.prepare import Preparation, prepare
from labctl.exam.standing import Readiness, Stage
from labctl.exam.start import start
from tests.exam.doubles import PAUSED, RUNNING, World, conduct
from tests.exam.sessions import HandClock, make_session
from tests.exam.test_acts import ALL, Room, became


@dataclass
class FakeWorkshop:
    """Makes labs of a world; `bad` says how many makings of an owner's lab fail."""

    world: World
    bad: dict[str, int] = field(default_factory=dict)
    spares: dict[str, str] = field(default_factory=dict)
    full: bool = False
    made: list[str] = field(default_factory=list)
    stopped: bool = False

    def exists(self, lab: str) -> bool:
        return lab in self.world.machines

    def refuse_no_room(self, labs: Sequence[str]) -> None:
        if self.full and labs:
            raise Refused("no room", hint="df -h")

    def build(self, owners: Sequence[str]) -> Mapping[str, Built]:
        if self.stopped:
            raise Interrupted("stopped")
        return {owner: self.make(owner) for owner in owners}

    def mend(self, owner: str) -> Built:
        return self.make(owner)

    def exchange(self, owner: str) -> Built:
        return self.make(owner)

    def make(self, owner: str) -> Built:
        self.made.append(owner)
        self.world.machines[f"small-{owner}"] = dict.fromkeys(("client", "server"), RUNNING)
        if self.bad.get(owner, 0) > 0:
            self.bad[owner] -= 1
            return Built(ready=False, reason="server: no login")
        return Built(ready=True, spare=self.spares.get(owner, ""))


@dataclass
class FakeProofs:
    """Says of each candidate what it was told to say."""

    recettes: dict[str, list[Proof]] = field(default_factory=dict)
    leaks: dict[str, Proof] = field(default_factory=dict)
    error: bool = False

    def recette_at_start(self, number: str) -> Proof:
        if self.error:
            raise LabctlError("no probe")
        said = self.recettes.get(number)
        return said.pop(0) if said else Proof(holds=True, facts={"failed as wanted": 4})

    def isolation(self, number: str) -> Proof:
        return self.leaks.get(number, Proof(holds=True))


@dataclass
class Shop:
    room: Room
    workshop: FakeWorkshop
    proofs: FakeProofs

    def prepare(self, *numbers: str) -> Results:
        fresh = conduct(self.room.session, self.room.world)
        return prepare(Preparation(fresh, self.workshop, self.proofs), numbers)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    clock = HandClock()
    session, world = make_session(tmp_path, clock), World(clock)
    return Shop(Room(session, world, conduct(session, world)), FakeWorkshop(world), FakeProofs())


def test_all_labs_are_proven_then_wait_paused_and_out_of_reach(shop: Shop) -> None:
    assert became(shop.prepare()) == dict.fromkeys(ALL, "done")
    world = shop.room.world
    assert {frozenset(world.state(lab)) for lab in world.machines} == {frozenset({PAUSED})}
    assert world.cut == {"small-c001", "small-c002", "small-c003"}
    standing = shop.room.session.read()
    assert standing.stage is Stage.PREPARED
    assert {one.readiness for one in standing.candidates.values()} == {Readiness.READY}
    facts = standing.candidate("001").last[Act.PREPARE].facts
    assert (facts["recette"], facts["isolation"], facts["recette failed as wanted"]) == ("holds", "holds", 4)


def test_preparing_again_makes_nothing_and_what_a_reboot_switched_off_is_made_again(shop: Shop) -> None:
    shop.prepare()
    assert became(shop.prepare()) == dict.fromkeys(ALL, "already")
    assert len(shop.workshop.made) == 3
    shop.room.world.machines["small-c002"]["server"] = "stopped"
    assert became(shop.prepare()) == {"001": "already", "003": "already", "002": "done"}
    assert shop.workshop.made[3:] == ["c002"]


def test_a_lab_that_is_not_right_is_made_anew_then_exchanged_then_failed(shop: Shop) -> None:
    shop.workshop.bad = {"c001": 1, "c002": 2, "c003": 9}
    assert became(shop.prepare()) == {"001": "done", "002": "done", "003": "failed"}
    standing = shop.room.session.read()
    said = {number: (one.readiness, one.reason) for number, one in standing.candidates.items()}
    assert said == {
        "001": (Readiness.REPAIRED, "server: no login"), "002": (Readiness.SPARE, "server: no login"),
        "003": (Readiness.FAILED, "server: no login"),
    }  # fmt: skip
    assert standing.stage is Stage.PREPARED
    shop.workshop.bad = {}
    assert became(shop.prepare("003")) == {"003": "done"}
    assert shop.room.one("003").readiness is Readiness.READY


def test_a_recette_that_passes_before_the_work_is_no_exam(shop: Shop) -> None:
    wrong = Proof(holds=False, reason="second-page passes already")
    shop.proofs.recettes = {"001": [wrong], "002": [wrong, wrong, wrong]}
    assert became(shop.prepare()) == {"001": "done", "002": "failed", "003": "done"}
    assert shop.room.one("001").readiness is Readiness.REPAIRED
    assert shop.room.one("002").reason == "second-page passes already"


def test_a_lab_that_leaks_is_not_ready(shop: Shop) -> None:
    shop.proofs.leaks = {"003": Proof(holds=False, reason="reaches the school network")}
    assert became(shop.prepare()) == {"001": "done", "002": "done", "003": "failed"}
    assert shop.room.one("003").reason == "reaches the school network"


def test_what_could_not_be_checked_is_said_and_holds_nothing_back(shop: Shop) -> None:
    shop.proofs.error = True
    assert became(shop.prepare()) == dict.fromkeys(ALL, "done")
    one = shop.room.one("001")
    assert (one.readiness, one.reason) == (Readiness.READY, "no probe")
    assert one.last[Act.PREPARE].facts["recette"] == "not checked"


def test_somebody_elses_lab_and_a_full_disk_are_refused_before_anything(shop: Shop) -> None:
    shop.room.world.add("small-c002")
    head = shop.room.session.read().head
    with pytest.raises(Refused, match="small-c002") as caught:
        shop.prepare()
    assert caught.value.hint == "labctl down small-c002"
    del shop.room.world.machines["small-c002"]
    shop.workshop.full = True
    with pytest.raises(Refused, match="no room"):
        shop.prepare()
    assert shop.room.session.read().head == head
    assert shop.workshop.made == []


def test_who_has_begun_is_not_prepared_anew(shop: Shop) -> None:
    shop.prepare()
    with shop.room.session.doing(Act.SEAL), shop.room.session.doing(Act.OPEN):
        pass
    with shop.room.session.doing(Act.OPEN):
        pass
    start(shop.room.conduct, ["001"], Phase.PRACTICAL)
    with pytest.raises(Refused, match="begun to work: 001"):
        shop.prepare("001")
    shop.room.world.machines["small-c002"]["server"] = "stopped"
    assert became(start(shop.room.conduct, ["002"], Phase.PRACTICAL)[0]) == {"002": "failed"}
    assert became(shop.prepare("002")) == {"002": "done"}
    assert became(start(shop.room.conduct, ["002"], Phase.PRACTICAL)[0]) == {"002": "done"}


def test_a_preparation_that_somebody_stops_goes_on_with_the_next(shop: Shop) -> None:
    shop.workshop.stopped = True
    with pytest.raises(Interrupted):
        shop.prepare()
    assert {one.readiness for one in shop.room.session.read().candidates.values()} == {Readiness.FAILED}
    shop.workshop.stopped = False
    assert became(shop.prepare()) == dict.fromkeys(ALL, "done")
    assert shop.room.session.read().stage is Stage.PREPARED
