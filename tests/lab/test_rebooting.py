"""Checks after a reboot: only a node that came up under another boot id counts, and one that is lost fails nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell

from labctl.checks.model import Question, Reply, Result
from labctl.lab.rebooting import BOOT_TIME, STARTED, Rebooting, concerned_nodes, run_rebooted_checks
from labctl.monitor import Event, Progress
from labctl.powershell import RUN_SCRIPT
from labctl.ssh import Answer, Login, Unreachable, require_server
from labctl.topology.hardware import System
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.checks.asking import make
from tests.worlds import catalogue

SMALL = Path(__file__).with_name("small.yml")


@dataclass
class Guests:
    """Machines that answer, that go away for a while when they reboot, or that never do one of the two."""

    deaf: str = ""  # ignores the command
    lost: str = ""  # never comes back
    mute: str = ""  # does not tell when it was started
    away: dict[str, int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes, deadline: float) -> Answer:  # noqa: ARG002
        require_server(login)
        name = login.name
        self.asked.append((tuple(argv), stdin))
        if argv in (["systemctl", "reboot"], ["shutdown.exe", "/r", "/t", "0"]):
            if name != self.deaf:
                self.away[name] = 10**6 if name == self.lost else 2
                self.boots[name] = self.boots.get(name, 0) + 1
            raise Unreachable("closed")
        if self.away.get(name, 0):
            self.away[name] -= 1
            raise Unreachable("no answer")
        said = "" if name == self.mute else f"boot-{self.boots.get(name, 0)}\n"
        return Answer(0, said, "")

    def wait_login(self, login: Login, deadline: float) -> float:
        raise NotImplementedError

    def answers(self, address: str, timeout: float, port: int) -> bool:
        raise NotImplementedError


class Fine:
    """Nodes whose probes all succeed."""

    def probe(self, _node: str, questions: Sequence[Question]) -> Sequence[Reply]:
        return [Reply(0) for _question in questions]

    def address(self, node: str) -> str:
        return node

    def system(self, _node: str) -> System:
        return System.DEBIAN


@dataclass
class Told:
    events: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        self.events.append(event)


def small() -> Topology:
    return load_topology(SMALL, catalogue())


def logins(topology: Topology) -> dict[str, Login]:
    return {name: Login(name, "fe80::1%x", Path(), Path()) for name in topology.nodes}


def test_nodes_that_probe_and_nodes_that_are_probed_are_rebooted() -> None:
    topology = small()
    first, *others = topology.nodes
    address = str(next(iter(topology.nodes[first].interfaces.values())).address)
    checks = [make({"type": "ping", "to": address}, origin=others[0], after_reboot=True)]
    assert concerned_nodes(checks, topology) == [first, others[0]]
    assert concerned_nodes([make({"type": "ping", "to": address}, origin=others[0])], topology) == []


def test_a_check_counts_once_its_node_came_up_again() -> None:
    topology = small()
    node = next(iter(topology.nodes))
    guests, told = Guests(), Told()
    check = make({"type": "command", "run": ["true"]}, origin=node, after_reboot=True)
    rebooting = Rebooting(guests, logins(topology), told, deadline=20)
    (found,) = run_rebooted_checks([check], topology, rebooting, Fine())
    assert (found.result, found.rebooted) == (Result.PASSED, True)
    assert guests.boots == {node: 1}
    assert [one.progress for one in told.events if one.step == "reboot"] == [Progress.STARTED, Progress.DONE]


def test_a_node_that_does_not_reboot_or_does_not_come_back_decides_nothing() -> None:  # F-27
    topology = small()
    node = next(iter(topology.nodes))
    check = make({"type": "command", "run": ["true"]}, origin=node, after_reboot=True)
    for guests in (Guests(deaf=node), Guests(lost=node)):
        rebooting = Rebooting(guests, logins(topology), Told(), deadline=1)
        (found,) = run_rebooted_checks([check], topology, rebooting, Fine())
        assert (found.result, found.rebooted) == (Result.UNKNOWN, False)
        assert "has not come up again" in found.seen


def test_a_windows_is_rebooted_by_its_own_commands() -> None:
    topology = small()
    node = next(iter(topology.nodes))
    guests = Guests()
    known = {node: replace(logins(topology)[node], system=System.WINDOWS)}
    assert Rebooting(guests, known, Told(), deadline=20).reboot([node]) == {}
    assert guests.boots == {node: 1}
    assert {argv for argv, _stdin in guests.asked} == {RUN_SCRIPT, ("shutdown.exe", "/r", "/t", "0")}


@pytest.mark.parametrize("script", [BOOT_TIME, STARTED], ids=["boot-time", "started"])
def test_what_a_windows_is_asked_parses(script: str) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    assert not parser.parse(script.encode()).root_node.has_error


def test_what_cannot_be_rebooted_is_told_at_once() -> None:
    topology = small()
    node = next(iter(topology.nodes))
    check = make({"type": "command", "run": ["true"]}, origin=node, after_reboot=True)
    known = {node: replace(logins(topology)[node], system=System.OPNSENSE)}
    (found,) = run_rebooted_checks([check], topology, Rebooting(Guests(), known, Told(), deadline=600), Fine())
    assert (found.result, found.rebooted) == (Result.UNKNOWN, False)
    assert "has no SSH server" in found.seen
    errors = Rebooting(Guests(mute=node), logins(topology), Told(), deadline=600).reboot([node])
    assert errors[node].message == f"{node} does not tell when it was started"
