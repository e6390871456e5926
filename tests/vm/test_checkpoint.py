"""Checkpoints on real guests: processes and files come back, a save that is killed costs nobody their work."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800), pytest.mark.usefixtures("kept_lab")]

LAB = "dmz-kept"
TOP = TEST_HOME / "labs" / LAB
ANSWER = f'{LAB}: back at "step-1"; 3 of 3 machines answer a login'


@pytest.fixture(scope="module")
def kept_lab(labctl: Installation) -> Iterator[None]:
    """Bring up a lab, keep a step of it in which work is under way on two machines, and remove it at the end."""
    done = labctl.run("up", "dmz", "--student", "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    yield
    labctl.run("down", LAB)
    assert not TOP.exists()
    assert f"{PREFIX}{LAB}" not in virsh("list", "--all", "--name"), "machines were left behind"


@pytest.fixture(scope="module")
def process(labctl: Installation) -> str:
    """Return the number of a process that runs on `web` while `step-1` is kept, with a file on `client`."""
    ssh(labctl, "client", "sh", "-c", "echo done > /root/work")
    number = ssh(labctl, "web", "sh", "-c", "setsid sleep 100000 >/dev/null 2>&1 & echo $!").strip()
    done = labctl.run("checkpoint", "save", LAB, "step-1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'{LAB}: kept as "step-1"')
    return number


def ssh(labctl: Installation, node: str, *command: str) -> str:
    done = labctl.run("ssh", LAB, node, "--", *command, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def runs(labctl: Installation, process: str) -> bool:
    return ssh(labctl, "web", "sh", "-c", f"tr '\\0' ' ' </proc/{process}/cmdline || true").startswith("sleep 100000")


def clock_is_right(labctl: Installation, node: str) -> bool:
    return abs(float(ssh(labctl, node, "date", "+%s.%N")) - time.time()) < 5


def test_a_kept_lab_goes_on_as_if_nothing_had_been(labctl: Installation, process: str) -> None:
    assert runs(labctl, process)
    assert all(clock_is_right(labctl, node) for node in ("fw", "web", "client"))
    (listed,) = labctl.json("checkpoint", "list", LAB)["checkpoints"]
    assert (listed["name"], listed["nodes"], listed["topology"]) == ("step-1", ["client", "fw", "web"], "dmz")
    assert listed["bytes"] > 100 << 20
    assert labctl.run("up", "dmz", "--student", "kept").stdout.startswith(f"{LAB}: nothing to do, 3 of 3")


def test_files_and_processes_come_back(labctl: Installation, process: str) -> None:
    ssh(labctl, "client", "rm", "/root/work")
    ssh(labctl, "web", "kill", process)
    assert not runs(labctl, process)
    done = labctl.run("checkpoint", "restore", LAB, "step-1")
    assert (done.returncode, done.stdout.strip()) == (0, ANSWER), done.stderr
    assert runs(labctl, process)
    assert ssh(labctl, "client", "cat", "/root/work") == "done\n"
    assert all(clock_is_right(labctl, node) for node in ("fw", "web", "client"))
    (found,) = labctl.json("status", LAB)["labs"]
    assert found["state"] == "ready"
    checked = labctl.run("check", LAB)
    assert checked.returncode == 0, checked.stdout


def test_a_destroyed_machine_and_a_deleted_disk_come_back(labctl: Installation, process: str) -> None:
    labctl.run("ssh", LAB, "web", "--", "rm", "-rf", "--no-preserve-root", "/usr", "/etc", timeout=200)
    virsh("destroy", f"{PREFIX}{LAB}.client")
    (TOP / "disks" / "client.qcow2").unlink()
    done = labctl.run("checkpoint", "restore", LAB, "step-1")
    assert (done.returncode, done.stdout.strip()) == (0, ANSWER), done.stderr
    assert runs(labctl, process)


def test_a_save_that_is_killed_costs_no_work(labctl: Installation, process: str) -> None:  # F-04
    run = labctl.start("checkpoint", "save", LAB, "killed")
    until = time.monotonic() + 120
    while not list((TOP / "checkpoints").glob("killed.new/states/*.save")):
        assert time.monotonic() < until, run.communicate()
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert set(virsh("list", "--name").split()) & {f"{PREFIX}{LAB}.{node}" for node in ("fw", "web", "client")} != {
        f"{PREFIX}{LAB}.{node}" for node in ("fw", "web", "client")
    }, "the kill came too late to prove anything"
    done = labctl.run("checkpoint", "save", LAB, "after")
    assert done.returncode == 0, done.stderr
    assert runs(labctl, process)
    names = {path.name for path in (TOP / "checkpoints").iterdir()}
    assert names == {"step-1", "after"}


def test_a_reset_leaves_checkpoints_and_a_golden_lab_stays_below_them(labctl: Installation, process: str) -> None:
    done = labctl.run("reset", LAB)
    assert done.returncode == 0, done.stderr
    assert not runs(labctl, process)
    done = labctl.run("checkpoint", "restore", LAB, "step-1")
    assert (done.returncode, done.stdout.strip()) == (0, ANSWER), done.stderr
    assert runs(labctl, process)
    (golden,) = [one for one in labctl.json("golden", "list")["golden"] if LAB in one["used_by"]]
    assert f"{LAB}/step-1" in golden["used_by"]
    assert golden["state"] == "current"
    refused = labctl.run("golden", "rm", golden["id"])
    assert refused.returncode == 6
    assert f"{LAB}/step-1" in refused.stderr


def test_a_changed_file_is_named_and_nothing_is_touched(labctl: Installation, process: str) -> None:  # F-23
    broken = TOP / "checkpoints" / "broken"
    shutil.copytree(TOP / "checkpoints" / "step-1", broken)
    Path(broken, "disks", "web.qcow2").touch()
    done = labctl.run("checkpoint", "restore", LAB, "broken")
    assert done.returncode == 1
    assert "web.qcow2" in done.stderr
    assert runs(labctl, process)
    assert labctl.run("checkpoint", "rm", LAB, "broken").returncode == 0
    assert not broken.exists()
