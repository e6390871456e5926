"""Checks after a reboot: only a node that came up under another boot id counts, and one that is lost fails nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labctl.checks.model import Question, Reply, Result
from labctl.lab.rebooting import Rebooting, concerned_nodes, run_rebooted_checks
from labctl.monitor import Event, Progress
from labctl.ssh import Answer, Login, Unreachable
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
    away: dict[str, int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes, deadline: float) -> Answer:  # noqa: ARG002
        name = login.name
        if argv == ["systemctl", "reboot"]:
            if name != self.deaf:
                self.away[name] = 10**6 if name == self.lost else 2
                self.boots[name] = self.boots.get(name, 0) + 1
            raise Unreachable("closed")
        if self.away.get(name, 0):
            self.away[name] -= 1
            raise Unreachable("no answer")
        return Answer(0, f"boot-{self.boots.get(name, 0)}\n", "")

    def wait_login(self, login: Login, deadline: float) -> float:
        raise NotImplementedError

    def answers(self, address: str, timeout: float) -> bool:
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
