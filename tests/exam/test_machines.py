"""The labs of candidates on a workplace of stand-ins: links, bursts, and copies that a crash cuts short anywhere."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from labctl.errors import HostNotReady, LabctlError, Refused
from labctl.exam.allowed import AllowedNames, resolve
from labctl.exam.evidence.sources import find_board
from labctl.exam.machines import HostConsoles, HostLabs
from labctl.images.copying import copy_disk
from labctl.lab.barring import is_barred
from labctl.lab.board import clear_board
from labctl.lab.down import take_down
from labctl.lab.frozen import Frozen
from labctl.lab.lock import hold_lab
from labctl.lab.wish import Pace
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.plan.observed import DomainState
from labctl.topology.hardware import Firmware, Hardware
from tests.exam.test_supervise import Heard
from tests.lab.doubles import Crash, Fault, World, make_place
from tests.lab.test_checkpoint import LAB, NODES, begin, disks, memories, states, step, work
from tests.lab.test_golden import SMALL, bring

RUNNING, PAUSED, STOPPED = DomainState.RUNNING, DomainState.PAUSED, DomainState.STOPPED


@dataclass
class Cables:
    """Network cables that are pulled and plugged in, and networks that are held to names."""

    fault: Fault = field(default_factory=Fault)
    down: set[tuple[str, str]] = field(default_factory=set)
    limits: dict[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    cannot: str = ""

    def limit_network(self, name: str, lab: str, pinned: Mapping[str, Sequence[str]]) -> None:  # noqa: ARG002
        self.fault.count()
        if self.cannot:
            raise HostNotReady(self.cannot)
        self.limits[name] = dict(pinned)

    def set_link(self, name: str, lab: str, mac: str, *, up: bool) -> None:  # noqa: ARG002
        self.fault.count()
        if up:
            self.down.discard((name, mac))
        else:
            self.down.add((name, mac))


def labs(place: Workplace, fault: Fault | None = None, *, room: int = 1 << 40) -> HostLabs:
    counted = fault or Fault()

    def copy(source: Path, target: Path) -> None:
        counted.count()
        copy_disk(source, target)
        counted.count()

    folder = place.home / "exams" / "e6"
    folder.mkdir(parents=True, exist_ok=True)
    return HostLabs(place, Cables(counted), folder, lambda _image: Pace("tcg", 1.0), Silent(), copy, lambda _path: room)


def kept(place: Workplace, node: str, name: str = "001/freeze-1") -> str:
    return (place.home / "exams" / "e6" / "frozen" / name / "disks" / f"{node}.qcow2").read_text()


def test_links_are_pulled_by_what_the_exam_allows(tmp_path: Path) -> None:
    _world, place = begin(tmp_path / "home")
    one = labs(place)
    assert one.set_links(LAB, up=False) == ("server/mgmt", "desk/mgmt")
    assert isinstance(one.links, Cables)
    layout = one.layout(LAB)
    assert one.links.down == {(node.name, node.management.mac) for node in layout.nodes}
    one.set_links(LAB, up=True)
    assert one.links.down == set()


def with_internet(folder: Path) -> Workplace:
    """Return a lab whose server has a way to the Internet."""
    text = SMALL.read_text(encoding="utf-8")
    text = text.replace("nodes:\n", "  out: {kind: internet}\nnodes:\n")
    text = text.replace("address: 10.0.0.1 }", "address: 10.0.0.1 }, out: { network: out, address: dhcp }")
    source = folder / "small.yml"
    source.write_text(text, encoding="utf-8")
    place = make_place(folder / "home", World())
    assert bring(place, "alice", source=source)[0].ready
    return place


ADDRESSES = {"school.example": ("203.0.113.5",), "forgotten.example": ()}


def allowing(one: HostLabs) -> HostLabs:
    return replace(one, allowed=AllowedNames(tuple(ADDRESSES), lambda name: ADDRESSES[name]))


def test_without_names_the_internet_is_cut_twice_and_stays_cut_when_labctl_logs_in(tmp_path: Path) -> None:  # SEC-32
    one = labs(with_internet(tmp_path))
    assert one.set_links(LAB, up=False) == ("server/mgmt", "server/out", "desk/mgmt")
    assert isinstance(one.links, Cables)
    assert one.links.limits == {f"{LAB}.out": {}}
    server = one.layout(LAB).node("server")
    one.set_links(LAB, up=True)
    assert one.links.down == {(server.name, card.mac) for card in server.interfaces if card.name == "out"}
    assert one.pins() == {}


def test_with_names_the_link_stays_and_leads_to_them_alone(tmp_path: Path) -> None:  # SEC-32
    one = allowing(labs(with_internet(tmp_path)))
    assert one.set_links(LAB, up=False) == ("server/mgmt", "desk/mgmt")
    assert isinstance(one.links, Cables)
    assert one.links.limits == {f"{LAB}.out": ADDRESSES}
    assert one.pins() == ADDRESSES


def test_a_host_that_cannot_hold_a_network_to_names_cuts_it_and_says_so(tmp_path: Path) -> None:  # SEC-32
    heard = Heard()
    one = replace(allowing(labs(with_internet(tmp_path))), monitor=heard)
    assert isinstance(one.links, Cables)
    one.links.cannot = "there is no nftables"
    assert one.set_links(LAB, up=False) == ("server/mgmt", "server/out", "desk/mgmt")
    assert [event.detail for event in heard.events] == ["there is no nftables"]


def test_names_are_asked_once_for_those_who_start_together_and_nobody_waits_for_a_dead_resolver() -> None:
    asked: list[str] = []
    silent = threading.Event()

    def ask(name: str) -> list[str]:
        asked.append(name)
        if name == "dead.example":
            silent.wait(5)
        return ["203.0.113.5"]

    names = AllowedNames(("school.example", "dead.example"), ask, patience=0.2)
    found = {"school.example": ("203.0.113.5",), "dead.example": ()}
    assert (names.pins(), names.pins()) == (found, found)
    silent.set()
    assert sorted(asked) == ["dead.example", "school.example"]
    assert resolve("localhost") == ()
    assert resolve("no-such-name.invalid") == ()


def test_machines_stand_still_and_run_on_together(tmp_path: Path) -> None:
    world, place = begin(tmp_path / "home")
    one = labs(place)
    one.suspend(LAB)
    one.suspend(LAB)
    assert states(world) == {PAUSED}
    assert one.states([LAB, "small-nobody"]) == {LAB: {"server": "paused", "desk": "paused"}, "small-nobody": {}}
    burst = one.resume([LAB])
    assert states(world) == {RUNNING}
    assert (burst.machines, burst.failures) == (2, {})
    assert 0 <= burst.spread < 2
    one.set_clocks([LAB])
    one.calm(LAB)
    one.cut_power(LAB, "desk")
    assert one.states([LAB])[LAB] == {"server": "running", "desk": "stopped"}
    with pytest.raises(LabctlError, match="has no machine"):
        one.refuse_no_machine(LAB, "nothing")


def test_cables_of_one_machine_are_pulled_and_plugged_in_and_those_of_the_exam_are_left(tmp_path: Path) -> None:
    _world, place = begin(tmp_path / "home")
    one = labs(place)
    one.set_links(LAB, up=False)
    assert isinstance(one.links, Cables)
    pulled = set(one.links.down)
    node = one.layout(LAB).node("desk")
    one.set_cables(LAB, "desk", up=False)
    assert one.links.down - pulled == {(node.name, card.mac) for card in node.interfaces}
    one.set_cables(LAB, "desk", up=True)
    assert one.links.down == pulled


def test_a_copy_has_all_and_leaves_machines_standing_still(tmp_path: Path) -> None:
    world, place = begin(tmp_path / "home")
    work(place, world, "late")
    one = labs(place)
    one.suspend(LAB)
    copied = one.copy(LAB, "001/freeze-1")
    assert (copied.folder, copied.off) == ("frozen/001/freeze-1", ())
    assert copied.size > 0
    assert states(world) == {PAUSED}
    assert (memories(world), disks(place)) == (step("late"), step("late"))
    assert [kept(place, node) for node in NODES] == step("late")
    assert one.is_whole("001/freeze-1")
    one.resume([LAB])
    work(place, world, "later")
    assert one.copy(LAB, "001/freeze-1") == copied  # said again, nothing is copied again
    assert [kept(place, node) for node in NODES] == step("late")
    assert oct((place.home / "exams" / "e6" / "frozen" / "001" / "freeze-1" / "disks").stat().st_mode)[-3:] == "700"


def test_a_copy_has_what_the_board_of_a_uefi_machine_remembers(tmp_path: Path) -> None:
    _world, place = begin(tmp_path / "home")
    one = labs(place)
    layout = one.layout(LAB)
    uefi = Hardware(firmware=Firmware.UEFI)
    nodes = tuple(replace(node, hardware=uefi) if node.member == "desk" else node for node in layout.nodes)
    one.layouts[LAB] = replace(layout, nodes=nodes)
    clear_board(layout.folders, nodes[1])
    layout.folders.nvram("desk").write_bytes(b"boot order")
    one.suspend(LAB)
    one.copy(LAB, "001/freeze-1")
    copy = place.home / "exams" / "e6" / "frozen" / "001" / "freeze-1"
    (kept,) = find_board(Frozen("", "", copy), "desk").values()
    assert kept.read_bytes() == b"boot order"
    assert find_board(Frozen("", "", copy), "server") == {}


def test_a_machine_that_is_off_is_copied_as_it_is(tmp_path: Path) -> None:
    world, place = begin(tmp_path / "home")
    work(place, world, "late")
    place.freezer.destroy_domain(f"{LAB}.desk", LAB)
    one = labs(place)
    one.suspend(LAB)
    assert one.copy(LAB, "001/freeze-1").off == ("desk",)
    assert [world.domains[f"{LAB}.{node}"].state for node in NODES] == [PAUSED, STOPPED]
    assert [kept(place, node) for node in NODES] == step("late")


@pytest.mark.slow  # a whole lab for each call
@pytest.mark.parametrize("error", [Crash, LabctlError])
def test_a_copy_that_ends_at_any_call_is_made_whole_by_the_next(tmp_path: Path, error: type[BaseException]) -> None:
    world, place = begin(tmp_path / "count")
    labs(place).suspend(LAB)
    fault = Fault()
    labs(make_place(place.home, world, fault), fault).copy(LAB, "001/freeze-1")
    assert fault.calls >= 8
    ended = 0
    for number in range(1, fault.calls + 1):
        home = tmp_path / f"{number}"
        world, place = begin(home)
        work(place, world, "late")
        labs(place).suspend(LAB)
        counted = Fault(number, error)
        try:
            labs(make_place(home, world, counted), counted).copy(LAB, "001/freeze-1")
        except error:
            ended += 1
        assert not (place.home / "exams" / "e6" / "frozen" / "001" / "freeze-1").exists() or counted.calls > number
        fresh = labs(make_place(home, world))
        fresh.suspend(LAB)
        fresh.copy(LAB, "001/freeze-1")
        assert states(world) == {PAUSED}, number
        assert (memories(world), disks(place)) == (step("late"), step("late")), number
        assert [kept(place, node) for node in NODES] == step("late"), number
    assert ended >= 6


def test_a_full_disk_is_told_before_anything_is_saved(tmp_path: Path) -> None:
    world, place = begin(tmp_path / "home")
    one = labs(place, room=1 << 20)
    one.suspend(LAB)
    with pytest.raises(Refused, match="MiB left"):
        one.copy(LAB, "001/freeze-1")
    assert states(world) == {PAUSED}


def test_a_lab_that_is_removed_is_barred_no_more(tmp_path: Path) -> None:
    _world, place = begin(tmp_path / "home")
    HostConsoles(place.home).cut(LAB)
    take_down(place, LAB, Silent())
    assert not is_barred(place.home, LAB)


def test_a_lab_that_somebody_works_on_is_busy(tmp_path: Path) -> None:
    _world, place = begin(tmp_path / "home")
    one = labs(place)
    assert not one.busy(LAB)
    with hold_lab(place.home, LAB, "reset"):
        assert one.busy(LAB)


def test_consoles_are_cut_by_a_file_that_outlives_everybody(tmp_path: Path) -> None:
    consoles = HostConsoles(tmp_path)
    assert not is_barred(tmp_path, LAB)
    consoles.cut(LAB)
    consoles.cut(LAB)
    assert is_barred(tmp_path, LAB)
    consoles.allow(LAB)
    consoles.allow(LAB)
    assert not is_barred(tmp_path, LAB)
