"""Every shipped fault on real machines, both ways: injected, it makes its checks fail and no other; cured, all pass."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from tests.vm.conftest import Installation
from tests.vm.trials import Clone, Trial, Trials, groups, prove_faults, run_trials

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

DMZ = load_topology(shipped_folder("topologies") / "dmz.yml", shipped_catalogue())
GROUPS = groups(DMZ)


def stands(done: str) -> dict[str, Any]:
    return {one["id"]: one for one in json.loads(done)["faults"]}


def open_everything(clone: Clone) -> None:
    lab, run = clone.lab, clone.labctl.run
    done = run("fault", "inject", lab, "fw-blocks-https")
    assert done.returncode == 0, done.stderr
    (fault,) = (one for one in DMZ.faults if one.id == "fw-blocks-https")
    assert fault.ticket.en.split(".")[0] in " ".join(done.stdout.split())
    assert run("ssh", lab, "fw", "--", "nft", "flush", "ruleset").returncode == 0
    done = run("fault", "status", lab, "--json")
    assert done.returncode == 1
    assert stands(done.stdout)["fw-blocks-https"]["state"] == "regressed"
    assert run("ssh", lab, "fw", "--", "systemctl", "restart", "nftables").returncode == 0
    done = run("fault", "clear", lab, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stands(done.stdout.splitlines()[-1])["fw-blocks-https"]["state"] == "repaired"


def inject_twice_and_reset(clone: Clone) -> None:
    lab, run = clone.lab, clone.labctl.run
    assert run("fault", "inject", lab, "web-forbidden").returncode == 0
    again = run("fault", "inject", lab, "web-forbidden")
    assert (again.returncode, f"already in {lab}; nothing was changed" in again.stderr) == (6, True)
    assert run("reset", lab, "--node", "web", "--yes").returncode == 0
    done = run("fault", "status", lab)
    assert (done.returncode, done.stdout) == (0, f"{lab}: no fault was injected\n")


TRIALS: dict[str, Trial] = {
    **{name: partial(prove_faults, group) for name, group in GROUPS.items()},
    "test_opening_everything_is_no_repair": open_everything,
    "test_a_fault_that_is_there_is_said_and_a_reset_takes_it_away": inject_twice_and_reset,
}


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest, labctl: Installation) -> Iterator[Trials]:
    """Begin all trials whose tests were chosen."""
    items = [item.name for item in request.session.items if item.path == request.path]
    chosen = {name.partition("[")[2].removesuffix("]") or name for name in items}
    with run_trials(labctl, "dmz", {name: trial for name, trial in TRIALS.items() if name in chosen}) as begun:
        yield begun


@pytest.mark.labs  # all groups take twenty minutes and more
@pytest.mark.parametrize("group", GROUPS)
def test_faults_show_as_they_say_and_their_cure_repairs_them(trials: Trials, group: str) -> None:
    trials.end(group)


def test_opening_everything_is_no_repair(trials: Trials, request: pytest.FixtureRequest) -> None:
    trials.end(request.node.name)


def test_a_fault_that_is_there_is_said_and_a_reset_takes_it_away(
    trials: Trials, request: pytest.FixtureRequest
) -> None:
    trials.end(request.node.name)
