"""A spare on real guests: taken by a latecomer and for a reset, with its memory going on, in a few seconds."""

import time
from collections.abc import Iterator

import pytest

from tests.vm.conftest import PREFIX, Installation, virsh

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

ENOUGH = 60.0  # seconds: no lab is built or booted in so few on a slow host; the benchmarks measure


@pytest.fixture(scope="module")
def bob(labctl: Installation) -> Iterator[str]:
    """Bring up one student's lab and one spare, and remove everything at the end."""
    done = labctl.run("up", "dmz", "--student", "bob", "--spare", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    yield "dmz-bob"
    labctl.run("down", "--all", "--yes")
    assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"
    assert PREFIX not in virsh("net-list", "--all", "--name"), "networks were left behind"


def test_a_latecomer_takes_the_spare_and_a_reset_the_next_one(labctl: Installation, bob: str) -> None:
    assert len(labctl.json("status")["spares"]) == 1
    running = set(virsh("list", "--id", "--name").splitlines())
    start = time.monotonic()
    done = labctl.run("up", "dmz", "--student", "zoe", "--spare", "0")
    taken = time.monotonic() - start
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(virsh("list", "--id", "--name").splitlines()) == running, "no machine was started"
    print(f"a latecomer's lab of three machines after {taken:.1f} s")  # noqa: T201  pytest -rP shows it
    assert taken < ENOUGH
    assert labctl.run("check", "dmz-zoe").returncode == 0
    assert labctl.run("ssh", "dmz-zoe", "web", "--", "true").returncode == 0
    assert 'lab="dmz-zoe"' in virsh("dumpxml", f"{PREFIX}dmz-spare-1.web")

    assert labctl.run("up", "dmz", "--spare", "1").returncode == 0
    assert labctl.run("ssh", bob, "web", "--", "touch", "/root/mine").returncode == 0
    start = time.monotonic()
    done = labctl.run("reset", bob)
    taken = time.monotonic() - start
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"a reset of three machines by a spare after {taken:.1f} s")  # noqa: T201  as above
    assert taken < ENOUGH
    assert labctl.run("ssh", bob, "web", "--", "test", "-e", "/root/mine").returncode == 1
    assert f"{PREFIX}dmz-bob." not in virsh("list", "--all", "--name"), "what the lab was before is still there"


def test_a_lab_that_was_a_spare_starts_cold_from_the_same_disk(labctl: Installation, bob: str) -> None:
    seat = f"{PREFIX}dmz-spare-2.web"
    assert labctl.run("ssh", bob, "web", "--", "sh", "-c", "touch /root/kept; sync").returncode == 0
    virsh("destroy", seat)
    done = labctl.run("up", "dmz", "--student", "bob")
    assert done.returncode == 0, done.stdout + done.stderr
    assert labctl.run("ssh", bob, "web", "--", "test", "-e", "/root/kept").returncode == 0
    assert labctl.run("repair").returncode == 0
