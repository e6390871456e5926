"""The state of machines that have no SSH server of labctl's: asked on another port, or not at all."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.cli.board import print_status
from labctl.lab.status import NodeState
from labctl.lab.workplace import Workplace
from labctl.plan.observed import DomainState
from labctl.worker.describing import describe_node
from labctl.worker.values import ConsoleMode
from labctl.worker.watch import quick_node
from tests.lab.doubles import Fault, Guests, World, make_place
from tests.lab.test_status import LAB, look, stop
from tests.lab.test_up import up


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def place(tmp_path: Path, world: World) -> Workplace:
    found = make_place(tmp_path, world)
    up(found)
    return found


class Firewalls(Guests):
    """Machines that answer on some ports alone."""

    ports: Collection[int] = (443,)

    def answers(self, address: str, timeout: float, port: int) -> bool:  # noqa: ARG002
        return port in self.ports


def label(world: World, member: str, answers: str, *, configured: bool = True) -> None:
    """Change what the tag of a machine says that it answers on."""
    name = f"{LAB}.{member}"
    tag = world.domains[name].tag
    assert tag
    changed = replace(tag, answers=answers, configured=tag.configured if configured else "")
    world.domains[name] = replace(world.domains[name], tag=changed)


def test_a_machine_is_asked_where_its_tag_says_that_it_answers(place: Workplace, world: World) -> None:
    place = replace(place, guests=Firewalls(world, Fault()))
    label(world, "server", "443")
    lab = look(place)
    assert [(node.name, node.state, node.ssh) for node in lab.nodes] == [
        ("server", NodeState.READY, False),
        ("desk", NodeState.SILENT, True),
    ]
    assert lab.state == "partly"
    label(world, "server", "444")
    assert look(place).nodes[0].state is NodeState.SILENT


@pytest.mark.parametrize("answers", ["nothing", "a later word", "0", "65536", "²"])
def test_a_machine_that_cannot_be_asked_runs_and_its_lab_is_ready(
    place: Workplace, world: World, answers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    label(world, "desk", answers)
    lab = look(place)
    assert [node.state for node in lab.nodes] == [NodeState.READY, NodeState.RUNNING]
    assert lab.state == "ready"
    print_status([lab])
    assert "▶ runs" in capsys.readouterr().out
    label(world, "desk", answers, configured=False)
    assert look(place).nodes[1].state is NodeState.UNCONFIGURED
    stop(world, "desk", DomainState.CRASHED, "crashed")
    assert look(place).nodes[1].state is NodeState.CRASHED


@pytest.mark.parametrize(
    ("answers", "before", "shown"),
    [
        ("", NodeState.READY, NodeState.READY),
        ("", NodeState.PAUSED, NodeState.READY),
        ("", NodeState.SILENT, NodeState.SILENT),
        ("443", None, NodeState.SILENT),
        ("nothing", None, NodeState.RUNNING),
        ("nothing", NodeState.STOPPED, NodeState.RUNNING),
    ],
)
@pytest.mark.usefixtures("place")
def test_at_a_glance_a_machine_that_cannot_be_asked_runs(
    world: World, answers: str, before: NodeState | None, shown: NodeState
) -> None:
    label(world, "desk", answers)
    node = quick_node("desk", world.domains[f"{LAB}.desk"], before)
    assert (node.state, node.ssh) == (shown, answers == "")
    label(world, "desk", answers, configured=False)
    unfinished = NodeState.UNCONFIGURED if answers == "nothing" else NodeState.SILENT
    assert quick_node("desk", world.domains[f"{LAB}.desk"], before).state is unfinished


def test_the_portal_offers_no_ssh_where_there_is_none(place: Workplace, world: World) -> None:
    label(world, "desk", "nothing")
    server, desk = (describe_node(node, None) for node in look(place).nodes)
    assert server.consoles == tuple(ConsoleMode)
    assert desk.consoles == (ConsoleMode.GRAPHICS, ConsoleMode.TEXT)
    assert (desk.state, desk.words) == ("running", "runs")
