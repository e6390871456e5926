"""The state of labs: why a machine does not run, a board for a class, and what it costs to look."""

import json
import shutil
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from labctl.cli.board import age, explain, print_status
from labctl.lab.crash import find_cause
from labctl.lab.site import Site, knock
from labctl.lab.status import ANSWER_TIMEOUT, LabStatus, NodeState, read_status
from labctl.lab.workplace import Workplace
from labctl.plan.model import ActionKind, Reason
from labctl.plan.observed import DomainState, Endpoint, Observed, SeenDomain
from labctl.topology.load import load_topology
from tests.lab.doubles import World, make_place
from tests.lab.test_up import SMALL, up
from tests.worlds import catalogue, converged, plan

LAB = "small-alice"
NOBODY = frozenset[Endpoint]()


def look(place: Workplace) -> LabStatus:
    (lab,) = read_status(place, lambda _lab: False)
    return lab


def stop(world: World, member: str, state: DomainState, reason: str) -> None:
    name = f"{LAB}.{member}"
    world.domains[name] = replace(world.domains[name], state=state, reason=reason)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def place(tmp_path: Path, world: World) -> Workplace:
    found = make_place(tmp_path, world)
    up(found)
    return found


def test_a_restart_of_the_host_is_why_machines_are_stopped(place: Workplace, world: World) -> None:  # F-22
    for member in ("server", "desk"):
        stop(world, member, DomainState.STOPPED, "unknown")
    assert {node.reason for node in look(place).nodes} == {"unknown"}
    after = replace(place, boot_id="another")
    lab = look(after)
    assert lab.state == "stopped"
    assert [(node.state, node.reason) for node in lab.nodes] == [(NodeState.STOPPED, "reboot")] * 2
    assert json.loads(json.dumps(lab.to_dict()))["nodes"][0]["reason"] == "reboot"
    planned = after.plan(load_topology(SMALL, catalogue()), "alice")
    assert {(action.kind, action.reason) for action in planned.actions} == {(ActionKind.START_MACHINE, Reason.REBOOTED)}
    _plan, result = up(after)
    assert not result.failures
    assert look(after).state == "ready"
    assert not after.was_up_before_reboot(LAB)


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        (DomainState.STOPPED, "shutdown", NodeState.STOPPED),  # somebody did it since the host was started
        (DomainState.STOPPED, "destroyed", NodeState.STOPPED),
        (DomainState.CRASHED, "crashed", NodeState.CRASHED),  # F-13
        (DomainState.PAUSED, "ioerror", NodeState.PAUSED),  # F-16
    ],
)
def test_a_restart_is_not_blamed_for_what_came_after(
    place: Workplace, world: World, state: DomainState, reason: str, shown: NodeState
) -> None:
    stop(world, "desk", state, reason)
    node = look(replace(place, boot_id="another")).nodes[1]
    assert (node.name, node.state, node.reason) == ("desk", shown, reason)


def test_a_lab_whose_boot_is_not_known_is_only_stopped(place: Workplace, world: World) -> None:
    place.store.forget(LAB)
    stop(world, "desk", DomainState.STOPPED, "unknown")
    lab = look(replace(place, boot_id="another"))
    assert (lab.nodes[1].reason, lab.made) == ("unknown", "")


def test_the_plan_says_that_the_host_was_restarted() -> None:  # F-22
    planned = plan()
    seen = converged(planned)
    domains = tuple(replace(domain, state=DomainState.STOPPED, reason="unknown") for domain in seen.domains)
    reasons = {action.reason for action in plan(replace(seen, domains=domains, rebooted=True)).actions}
    assert reasons == {Reason.REBOOTED}
    assert {action.reason for action in plan(replace(seen, domains=domains)).actions} == {Reason.STOPPED}


def test_a_lost_topology_hides_no_machine(place: Workplace, world: World) -> None:
    place.folders(LAB).topology.unlink()
    assert {node.name for node in look(place).nodes} == {"server", "desk"}
    place.folders(LAB).topology.write_text("nodes: [", encoding="utf-8")
    del world.domains[f"{LAB}.desk"]
    assert [node.name for node in look(place).nodes] == ["server"]
    shutil.copy(SMALL, place.folders(LAB).topology)
    assert [(node.name, node.state) for node in look(place).nodes] == [
        ("server", NodeState.READY),
        ("desk", NodeState.MISSING),
    ]


def test_only_the_labs_that_were_asked_for(place: Workplace) -> None:
    assert [lab.name for lab in read_status(place, lambda _lab: True, {LAB, "small-bob"})] == [LAB]
    assert read_status(place, lambda _lab: True, {"small-bob"}) == ()
    assert read_status(place, lambda _lab: True, ()) == ()
    (lab,) = read_status(place, lambda name: name == LAB)
    assert lab.state == "working"


QEMU_LOG = """2025-11-20 10:00:00.000+0000: starting up libvirt version: 9.0.0
qemu-system-x86_64: an old complaint
2025-11-21 10:00:00.000+0000: shutting down, reason=crashed
2025-11-22 10:00:00.000+0000: starting up libvirt version: 9.0.0
char device redirected to /dev/pts/1 (label charserial0)
{last}2025-11-22 11:00:00.000+0000: shutting down, reason=crashed
"""


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        ("2025-11-22T10:59:59Z qemu-system-x86_64: terminating on signal 15\n", "on signal 15"),
        ("qemu-system-x86_64: cannot set up guest memory 'pc.ram': no \x1b[2J memory\n", "cannot set up guest memory"),
        ("", ""),  # SIGKILL leaves no words, and those of an earlier start are not this one's
    ],
)
def test_the_cause_of_a_crash_is_what_qemu_said_last(tmp_path: Path, last: str, cause: str) -> None:  # F-13
    (tmp_path / "small-alice.desk.log").write_text(QEMU_LOG.format(last=last), encoding="utf-8")
    found = find_cause("small-alice.desk", tmp_path)
    assert found.startswith(cause)
    assert bool(found) == bool(cause)
    assert "\x1b" not in found
    assert find_cause("nobody", tmp_path) == ""


OWNERS = [f"student{number:02}" for number in range(24)]


class Crowd:
    """A hypervisor that lists the machines of a class and counts how often it is asked."""

    def __init__(self, home: Path, source: Path) -> None:
        self.asked = 0
        topology = load_topology(source, catalogue())
        place = make_place(home, World())
        seen: list[SeenDomain] = []
        for owner in OWNERS:
            planned = place.plan(topology, owner)
            planned.folders.top.mkdir()
            shutil.copy(source, planned.folders.topology)
            seen += converged(planned).domains
        self.domains = tuple(seen)

    def observe(self, start: str = "") -> Observed:  # noqa: ARG002  more may be told than was asked for
        self.asked += 1
        return Observed(domains=self.domains)


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    """120 machines: 24 labs of five."""
    text = SMALL.read_text(encoding="utf-8")
    boxes = "".join(
        f"  box{number}:\n    image: debian-13\n"
        f"    interfaces: {{ lan: {{ network: lan, address: 10.0.0.{number + 10} }} }}\n"
        for number in range(3)
    )
    source = tmp_path / "five.yml"
    source.write_text(text.replace("checks:\n", boxes + "checks:\n"), encoding="utf-8")
    return Crowd(tmp_path / "home", source)


class Alive(Site):
    """A site whose machines all answer at once."""

    def who_answers(self, endpoints: Collection[Endpoint], timeout: float) -> frozenset[Endpoint]:  # noqa: ARG002  Site's
        return frozenset(endpoints)


class Dead(Site):
    """A site whose machines take every second that they are given."""

    def who_answers(self, endpoints: Collection[Endpoint], timeout: float) -> frozenset[Endpoint]:  # noqa: ARG002  Site's
        time.sleep(timeout)
        return NOBODY


def test_looking_at_120_machines_asks_libvirt_once_and_reads_one_topology(tmp_path: Path, crowd: Crowd) -> None:
    place = make_place(tmp_path / "home", World())
    site = Site(home=place.home, prefix="", machines=crowd, store=place.store)
    first = read_status(site, lambda _lab: False)
    assert (len(first), sum(len(lab.nodes) for lab in first), crowd.asked) == (24, 120, 1)
    assert len(place.store.layouts()) == 1
    start = time.process_time()
    read_status(site, lambda _lab: False)
    assert time.process_time() - start < 0.15  # seconds of this processor; 0.03 where it was written


def test_120_dead_machines_cost_one_timeout(tmp_path: Path, crowd: Crowd) -> None:
    place = make_place(tmp_path / "home", World())
    site = Dead(home=place.home, prefix="", machines=crowd, store=place.store)
    start = time.monotonic()
    labs = read_status(site, lambda _lab: False)
    assert time.monotonic() - start < ANSWER_TIMEOUT + 1.5
    assert {node.state for lab in labs for node in lab.nodes} == {NodeState.SILENT}


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=200) as server:
        yield server.getsockname()[1]


def test_all_are_asked_at_once(listening: int) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    with full:
        port = full.getsockname()[1]
        taken = [socket.socket() for _number in range(4)]  # a full backlog never answers, as a dead machine
        for one in taken:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        start = time.monotonic()
        assert knock([Endpoint(f"127.0.0.{number}", port) for number in range(2, 122)], 0.4) == NOBODY
        assert knock([Endpoint("127.0.0.1", port)], 0.4) == NOBODY
        assert time.monotonic() - start < 1.5
        for one in taken:
            one.close()
    asked = [Endpoint(address, listening) for address in ("::1", "fe80::1%nowhere", "not an address")]
    assert knock(asked, 5) == {Endpoint("::1", listening)}
    assert knock([], 5) == NOBODY


NOW = datetime(2025, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        ("", "—"),
        ("2025-11-22T11:59:30+00:00", "0 min"),
        ("2025-11-22T11:01:00+00:00", "59 min"),
        ("2025-11-21T11:00:00+00:00", "25 h"),
        ("2025-11-12T12:00:00+00:00", "10 d"),
        ("2025-11-22T13:00:00+00:00", "0 min"),  # the clock was set back
    ],
)
def test_the_age_of_a_lab(made: str, shown: str) -> None:  # F-32
    assert age(made, NOW) == shown


def board_of(crowd: Crowd, place: Workplace, capsys: pytest.CaptureFixture[str]) -> list[str]:
    for owner in OWNERS:
        place.store.note_boot(f"small-{owner}", "now", made="2025-11-22T11:00:00+00:00")

    alive = Alive(home=place.home, prefix="", machines=crowd, store=place.store, boot_id="now")
    print_status(read_status(alive, lambda lab: lab == "small-student05"), NOW)
    return capsys.readouterr().out.splitlines()


def test_a_class_is_one_board(tmp_path: Path, crowd: Crowd, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is one line of 120 columns at most, and says what is wrong in words."""
    place = make_place(tmp_path / "home", World())
    states = {
        "small-student01.desk": (DomainState.CRASHED, "crashed"),  # F-13
        "small-student02.server": (DomainState.PAUSED, "ioerror"),  # F-16
        "small-student03.box0": (DomainState.STOPPED, "shutdown"),
    }
    crowd.domains = tuple(
        replace(domain, state=states[domain.name][0], reason=states[domain.name][1])
        if domain.name in states
        else domain
        for domain in crowd.domains
    )
    lines = board_of(crowd, place, capsys)
    assert max(map(len, lines)) <= 120
    rows = {words[0]: words[1:] for line in lines if (words := line.split()) and words[0] in OWNERS}
    assert list(rows) == OWNERS
    assert rows["student00"] == ["✔", "all", "ready", "✔", "✔", "✔", "✔", "✔", "—", "1", "h"]
    assert rows["student01"] == ["!", "partly", "ready", "✔", "✘", "crashed", "✔", "✔", "✔", "—", "1", "h"]
    assert rows["student05"][:3] == ["…", "in", "progress"]
    assert "its QEMU process has died: student01 (desk)" in lines
    assert "its disk is full or cannot be read: student02 (server)" in lines
    assert lines[-1] == "all ready: 20, in progress: 1, partly ready: 3"


def test_a_reason_that_all_share_is_told_once(tmp_path: Path, crowd: Crowd) -> None:  # F-22
    place = make_place(tmp_path / "home", World())
    crowd.domains = tuple(replace(one, state=DomainState.STOPPED, reason="unknown") for one in crowd.domains)
    for owner in OWNERS:
        place.store.note_boot(f"small-{owner}", "before")
    site = Site(home=place.home, prefix="", machines=crowd, store=place.store)
    (line,) = explain(read_status(site, lambda _lab: False))
    assert line.startswith("the host was restarted: student00 (server, desk, box0, box1, box2), ")
    assert line.endswith("and 18 more")


def test_a_few_labs_are_shown_machine_by_machine(
    place: Workplace, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(world, "desk", DomainState.STOPPED, "unknown")
    print_status(read_status(replace(place, boot_id="another"), lambda _lab: False))
    shown = capsys.readouterr().out
    assert "■ stopped" in shown
    assert "✔ ready" in shown
    assert max(map(len, shown.splitlines())) <= 120
    assert shown.endswith("\nthe host was restarted: alice (desk)\n")


def test_a_lab_without_machines_keeps_its_owner_with_a_dash(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    folder = place.home / "labs" / "small-jean-paul"
    folder.mkdir(parents=True)
    shutil.copy(SMALL, folder / "topology.yml")
    (lab,) = read_status(place, lambda _lab: False)
    assert (lab.topology, lab.owner) == ("small", "jean-paul")
