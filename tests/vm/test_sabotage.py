"""Every shipped fault on real machines, both ways: injected, it makes its checks fail and no other; cured, all pass."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from labctl.faults import hides
from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.faults import Fault
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.vm.conftest import Installation

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

LAB = "dmz-faulty"
DMZ = load_topology(shipped_folder("topologies") / "dmz.yml", shipped_catalogue())


def groups(topology: Topology) -> list[list[Fault]]:
    """Return all faults in as few groups as the order allows; in a group, none hides another one."""
    found: list[list[Fault]] = []
    for fault in topology.faults:
        free = (group for group in found if not any(hides(topology, fault, other) for other in group))
        group = next(free, None)
        if group is None:
            found.append([fault])
        else:
            group.append(fault)
    return found


@pytest.fixture(scope="module")
def faulty(labctl: Installation) -> Iterator[Installation]:
    done = labctl.run("up", "dmz", "--student", "faulty")
    assert done.returncode == 0, done.stderr
    yield labctl
    labctl.run("down", LAB)


def stands(done: str) -> dict[str, Any]:
    return {one["id"]: one for one in json.loads(done)["faults"]}


@pytest.mark.parametrize("group", groups(DMZ), ids=lambda group: "+".join(fault.id for fault in group))
def test_faults_show_as_they_say_and_their_cure_repairs_them(faulty: Installation, group: Sequence[Fault]) -> None:
    names = [fault.id for fault in group]
    try:
        done = faulty.run("fault", "inject", LAB, *names)
        assert done.returncode == 0, done.stderr
        assert all(fault.ticket.en.split(".")[0] in " ".join(done.stdout.split()) for fault in group)
        done = faulty.run("fault", "status", LAB, "--json")
        assert done.returncode == 1, done.stderr
        found = stands(done.stdout)
        assert {name: one["state"] for name, one in found.items()} == dict.fromkeys(names, "present")
        for fault in group:
            one = found[fault.id]
            # The checks that it names fail, or say nothing: without names or a link, some cannot even be made.
            assert {*one["failing"]} <= {*fault.fixed} <= {*one["failing"], *one["unknown"]}
            assert one["regressed"] == []
    finally:
        done = faulty.run("fault", "clear", LAB, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    cleared = stands(done.stdout.splitlines()[-1])
    assert {name: one["state"] for name, one in cleared.items()} == dict.fromkeys(names, "repaired")


def test_opening_everything_is_no_repair(faulty: Installation) -> None:
    assert faulty.run("fault", "inject", LAB, "fw-blocks-https").returncode == 0
    assert faulty.run("ssh", LAB, "fw", "--", "nft", "flush", "ruleset").returncode == 0
    try:
        done = faulty.run("fault", "status", LAB, "--json")
        assert done.returncode == 1
        assert stands(done.stdout)["fw-blocks-https"]["state"] == "regressed"
    finally:
        faulty.run("ssh", LAB, "fw", "--", "systemctl", "restart", "nftables")
        assert faulty.run("fault", "clear", LAB).returncode == 0


def test_a_fault_that_is_there_is_said_and_a_reset_takes_it_away(faulty: Installation) -> None:
    assert faulty.run("fault", "inject", LAB, "web-forbidden").returncode == 0
    again = faulty.run("fault", "inject", LAB, "web-forbidden")
    assert (again.returncode, "already in dmz-faulty; nothing was changed" in again.stderr) == (6, True)
    assert faulty.run("reset", LAB, "--node", "web", "--yes").returncode == 0
    done = faulty.run("fault", "status", LAB)
    assert (done.returncode, done.stdout) == (0, f"{LAB}: no fault was injected\n")
