"""A guest's process and libvirt itself killed or stopped under a lab of real guests."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh
from tests.vm.libvirtd import kill_daemon, start_daemon, wait_for_daemon

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

LAB = "dmz-nora"
NODES = ("fw", "web", "client")
PATIENCE = 90  # seconds: opening a connection waits 60, for a libvirt that examines QEMU first


@pytest.fixture(scope="module", autouse=True)
def _lab(labctl: Installation) -> Iterator[None]:
    """Clone one lab and remove it at the end."""
    done = labctl.run("up", "dmz", "--student", "nora")
    assert done.returncode == 0, done.stdout + done.stderr
    yield
    labctl.run("down", LAB)
    assert f"{PREFIX}{LAB}" not in virsh("list", "--all", "--name"), "machines were left behind"


def pid_of(node: str) -> int:
    return int(Path(f"/run/libvirt/qemu/{PREFIX}{LAB}.{node}.pid").read_text())


def node_states(labctl: Installation) -> dict[str, str]:
    (found,) = labctl.json("status", LAB)["labs"]
    return {node["name"]: node["state"] for node in found["nodes"]}


def test_a_killed_qemu_is_shown_as_crashed_and_up_starts_it_again(labctl: Installation) -> None:  # F-13
    others = [pid_of(node) for node in ("fw", "web")]
    os.kill(pid_of("client"), signal.SIGKILL)
    until = time.monotonic() + 20
    while (states := node_states(labctl))["client"] != "crashed":
        assert time.monotonic() < until, states
    assert (states["fw"], states["web"]) == ("ready", "ready")
    done = labctl.run("up", "dmz", "--student", "nora")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [pid_of(node) for node in ("fw", "web")] == others
    assert labctl.run("check", LAB).returncode == 0


@pytest.mark.parametrize("moment", ["disks/web.new.qcow2", pytest.param("identity/.web*", marks=pytest.mark.labs)])
def test_libvirt_killed_during_a_reset(labctl: Installation, daemon: int, moment: str) -> None:  # F-03, F-10, T13
    kept = [pid_of(node) for node in ("fw", "client")]
    before = pid_of("web")
    run = labctl.start("reset", LAB, "--node", "web")
    until = time.monotonic() + 120
    while not list((TEST_HOME / "labs" / LAB).glob(moment)) and run.poll() is None and pid_file_is(before):
        assert time.monotonic() < until
        time.sleep(0.002)
    kill_daemon(daemon)
    time.sleep(2)  # the run meets a host without libvirt
    start_daemon()
    said, _nothing = run.communicate(timeout=900)
    assert "Traceback" not in said
    if run.returncode:
        done = labctl.run("up", "dmz", "--student", "nora")
        assert done.returncode == 0, said + done.stdout + done.stderr
    assert [pid_of(node) for node in ("fw", "client")] == kept, "guests did not live on"
    assert node_states(labctl) == dict.fromkeys(NODES, "ready")
    assert labctl.run("check", LAB).returncode == 0
    assert labctl.run("repair", "--dry-run").returncode == 0


def pid_file_is(pid: int) -> bool:
    """Return whether the machine `web` still has its old process."""
    try:
        return pid_of("web") == pid
    except (OSError, ValueError):
        return False


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        wait_for_daemon()


def test_a_libvirt_that_hangs_is_told_in_time(labctl: Installation, daemon: int) -> None:  # F-11
    with stopped(daemon):
        began = time.monotonic()
        done = labctl.run("status", LAB, timeout=PATIENCE + 60)
        took = time.monotonic() - began
    assert (done.returncode, "Traceback" in done.stderr) == (7, False), done.stderr
    assert "Try: " in done.stderr
    assert took < PATIENCE
    assert node_states(labctl) == dict.fromkeys(NODES, "ready")
    assert labctl.run("up", "dmz", "--student", "nora").returncode == 0
