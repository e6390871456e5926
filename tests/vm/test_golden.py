"""Clones of the golden lab on real guests: a class, what is each lab's own, reset, and a run that is killed."""

import signal
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

ROSTER = "\ufeffid;name\nÉlodie;Élodie d'Œuvre\nbob;Bob\n"
LABS = ("dmz-elodie", "dmz-bob")


@pytest.fixture(scope="module")
def classroom(labctl: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Bring up a class of two and remove it at the end."""
    roster = tmp_path_factory.mktemp("class") / "classe.csv"
    roster.write_text(ROSTER, encoding="utf-8")
    done = labctl.run("up", "dmz", "--class", str(roster))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 2 labs ready"
    yield roster
    labctl.run("down", "--all", "--yes")
    assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"
    assert PREFIX not in virsh("net-list", "--all", "--name"), "networks were left behind"


def ssh(labctl: Installation, lab: str, node: str, *command: str) -> str:
    done = labctl.run("ssh", lab, node, "--", *command, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("classroom")
def test_every_lab_of_the_class_is_ready_and_whole(labctl: Installation) -> None:
    states = {lab["name"]: lab["state"] for lab in labctl.json("status")["labs"]}
    assert states == dict.fromkeys(LABS, "ready")
    for lab in LABS:
        done = labctl.run("check", lab)
        assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("classroom")
def test_what_must_be_a_labs_own_is(labctl: Installation) -> None:  # SEC-16, SEC-17
    keys = [ssh(labctl, lab, "web", "cat", "/etc/ssh/ssh_host_ed25519_key.pub") for lab in LABS]
    assert keys[0] != keys[1]
    logins = [ssh(labctl, lab, "web", "cat", "/etc/labctl/authorized_keys") for lab in LABS]
    assert logins[0] != logins[1]
    assert all(len(login.splitlines()) == 1 for login in logins), "the golden lab's key still opens the clone"
    randoms = [ssh(labctl, lab, "web", "head", "-c", "16", "/proc/sys/kernel/random/uuid") for lab in LABS]
    assert randoms[0] != randoms[1]


@pytest.mark.usefixtures("classroom")
def test_clocks_are_right_and_leases_are_of_the_labs_own_network(labctl: Installation) -> None:
    for lab in LABS:
        assert abs(float(ssh(labctl, lab, "client", "date", "+%s.%N")) - time.time()) < 5
        shown = ssh(labctl, lab, "fw", "ip", "-4", "-brief", "address", "show", "dev", "wan").split()
        ip = ElementTree.fromstring(virsh("net-dumpxml", f"{PREFIX}{lab}.internet")).find("ip")
        assert ip is not None
        subnet = IPv4Network(f"{ip.get('address')}/{ip.get('prefix')}", strict=False)
        assert IPv4Address(shown[2].partition("/")[0]) in subnet


@pytest.mark.usefixtures("classroom")
def test_a_destroyed_machine_is_reset_and_its_neighbours_do_not_notice(labctl: Installation) -> None:
    labctl.run("ssh", LABS[0], "web", "--", "rm", "-rf", "--no-preserve-root", "/usr", "/etc", timeout=200)
    before = virsh("list", "--id", "--name").splitlines()
    done = labctl.run("reset", LABS[0], "--node", "web")
    assert (done.returncode, done.stdout.strip()) == (0, f"{LABS[0]}: 3 of 3 nodes ready")
    after = virsh("list", "--id", "--name").splitlines()
    changed = {line.split()[1] for line in set(before) ^ set(after) if line.strip()}
    assert changed == {f"{PREFIX}{LABS[0]}.web"}
    assert labctl.run("check", LABS[0]).returncode == 0


def test_a_run_killed_in_the_middle_is_finished_by_the_next_one(
    labctl: Installation, classroom: Path, tmp_path: Path
) -> None:  # F-01
    roster = tmp_path / "classe.csv"
    roster.write_text(classroom.read_text(encoding="utf-8") + "chloé;\n", encoding="utf-8")
    run = labctl.start("up", "dmz", "--class", str(roster))
    until = time.monotonic() + 120
    while f"{PREFIX}dmz-chloe." not in virsh("list", "--all", "--name"):
        assert time.monotonic() < until
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    done = labctl.run("up", "dmz", "--class", str(roster))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 of 3 labs ready"
    assert labctl.run("check", "dmz-chloe").returncode == 0


@pytest.mark.usefixtures("classroom")
def test_a_golden_lab_in_use_is_kept(labctl: Installation) -> None:
    (golden,) = [one for one in labctl.json("golden", "list")["golden"] if "dmz-bob" in one["used_by"]]
    done = labctl.run("golden", "rm", golden["id"])
    assert done.returncode == 6
    assert "dmz-bob" in done.stderr
    assert (TEST_HOME / "golden" / golden["id"] / "manifest.json").exists()
