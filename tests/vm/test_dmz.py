"""The lab `dmz` on real guests, as its users meet it; the tests run in order on one lab."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labctl import ssh
from labctl.lab.keys import write_secret
from tests.homes import TEST_HOME
from tests.vm.conftest import LAB, PREFIX, Installation, virsh

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800), pytest.mark.usefixtures("lab")]


def failed_checks(labctl: Installation) -> set[str]:
    report = labctl.json("check", LAB)
    assert all(found["result"] != "unknown" for found in report["checks"]), report
    return {found["id"] for found in report["checks"] if found["result"] == "failed"}


def test_up_says_that_all_nodes_are_ready(lab: subprocess.CompletedProcess[str]) -> None:
    assert lab.returncode == 0, lab.stderr
    assert lab.stdout.strip() == f"{LAB}: 3 of 3 nodes ready"


def test_all_checks_pass(labctl: Installation) -> None:
    done = labctl.run("check", LAB)
    assert done.returncode == 0, done.stdout + done.stderr


def test_status_is_what_programs_were_promised(labctl: Installation) -> None:
    (found,) = labctl.json("status", LAB)["labs"]
    assert (found["name"], found["topology"], found["owner"], found["state"]) == (LAB, "dmz", "test", "ready")
    assert [(node["name"], node["state"]) for node in found["nodes"]] == [
        ("fw", "ready"),
        ("web", "ready"),
        ("client", "ready"),
    ]
    assert all(node["address"].startswith("fe80::") for node in found["nodes"])
    assert found["checks"]["failed"] == found["checks"]["unknown"] == 0 < found["checks"]["passed"]


def test_no_clone_tells_time_by_a_counter_that_is_soon_full(labctl: Installation) -> None:
    """By ACPI's timer, which is full after 4.7 s, an idle clock was seen to stand still on a busy host."""
    for node in ("fw", "web", "client"):
        source = labctl.on(node, "cat", "/sys/devices/system/clocksource/clocksource0/current_clocksource").stdout
        assert source.strip() in {"kvm-clock", "tsc", "hpet"}, node


def test_the_site_is_served_with_a_verified_certificate(labctl: Installation) -> None:
    done = labctl.on("client", "curl", "-sS", "https://www.cimes.example/")
    assert done.returncode == 0, done.stderr
    assert "<html" in done.stdout


def test_ssh_passes_the_exit_code_and_the_words_through(labctl: Installation) -> None:
    done = labctl.on("web", "sh", "-c", 'echo "$0 $1"; exit 7', "it's", "a b")
    assert (done.returncode, done.stdout) == (7, "it's a b\n")


def test_plain_ansible_takes_the_inventory(labctl: Installation, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.json"
    hosts.write_text(labctl.run("inventory", LAB).stdout)
    ansible = Path(sys.executable).with_name("ansible")
    done = subprocess.run(
        [ansible, "-i", hosts, "all", "-m", "ping"],
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout.count('"ping": "pong"') == 3, done.stdout + done.stderr


def test_a_second_up_changes_nothing(labctl: Installation) -> None:
    assert labctl.run("plan", "dmz", "--student", "test", "--detailed-exitcode").returncode == 0
    ids = virsh("list", "--name", "--id")
    done = labctl.run("up", "dmz", "--student", "test")
    assert (done.returncode, done.stdout.strip()) == (0, f"{LAB}: nothing to do, 3 of 3 nodes ready")
    assert virsh("list", "--name", "--id") == ids


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    done = labctl.run("configure", LAB, "--json")
    report = json.loads(done.stdout)
    assert {node: found["changed"] for node, found in report["nodes"].items()} == {"fw": 0, "web": 0, "client": 0}, (
        report
    )


def test_a_changed_host_key_is_refused(labctl: Installation) -> None:  # F-29, SEC-17
    known = TEST_HOME / "labs" / LAB / "secrets" / "known_hosts"
    right = known.read_bytes()
    keys = [line.split() for line in right.decode().splitlines()]
    turned = "".join(
        f"{entry[0]} {' '.join(other[1:])}\n" for entry, other in zip(keys, keys[1:] + keys[:1], strict=True)
    )
    write_secret(known, turned.encode())
    try:
        report = labctl.json("check", LAB, "--id", "web-service")
        assert [found["result"] for found in report["checks"]] == ["unknown"]
        assert "host key" in report["checks"][0]["seen"]
        assert labctl.on("web", "true").returncode == 255
    finally:
        write_secret(known, right)


def test_no_secret_is_in_any_command_line_or_run_artifact() -> None:  # SEC-15
    secrets = TEST_HOME / "labs" / LAB / "secrets"
    canaries = [
        "".join(path.read_text().splitlines()[1:3])
        for path in secrets.iterdir()
        if path.suffix == ".key" or (path.name.endswith("ed25519") and not path.suffix)
    ]
    assert len(canaries) == 8  # the authority, the login, and two host keys of each machine
    shown = subprocess.run(["ps", "axwwo", "args"], capture_output=True, text=True, check=True).stdout
    artifacts = TEST_HOME / "labs" / LAB / "ansible"
    assert artifacts.stat().st_mode & 0o777 == 0o700
    shown += "".join(path.read_text(errors="replace") for path in artifacts.rglob("*") if path.is_file())
    assert not [canary for canary in canaries if canary in shown.replace("\n", "")]


def test_a_killed_machine_is_seen_and_up_brings_it_back_with_the_students_work(labctl: Installation) -> None:  # F-13
    labctl.on("client", "sh", "-c", "echo '# mine' >> /etc/systemd/network/20-lan.network; sync")
    virsh("destroy", f"{PREFIX}{LAB}.client")
    (found,) = labctl.json("status", LAB)["labs"]
    assert {node["name"]: node["state"] for node in found["nodes"]}["client"] == "stopped"
    done = labctl.run("up", "dmz", "--student", "test")
    assert done.returncode == 0, done.stderr
    assert "# mine" in labctl.on("client", "cat", "/etc/systemd/network/20-lan.network").stdout
    assert failed_checks(labctl) == set()


def test_a_guest_that_floods_with_what_is_no_text_is_not_believed(labctl: Installation) -> None:  # F-42
    """It answers every question with 64 MiB of 0xFF; the checks that start from the others are not touched."""
    liar = "#!/bin/sh\nhead -c 67108864 /dev/zero | tr '\\0' '\\377'\n"
    script = f"printf '%s' {shlex.quote(liar)} >/usr/local/bin/python3; chmod 755 /usr/local/bin/python3"
    assert labctl.on("client", "sh", "-c", script).returncode == 0
    try:
        report = labctl.json("check", LAB, "--id", "lan-gateway,dmz-not-to-lan,web-service")
    finally:
        assert labctl.on("client", "rm", "/usr/local/bin/python3").returncode == 0
    assert {found["id"]: found["result"] for found in report["checks"]} == {
        "lan-gateway": "unknown", "dmz-not-to-lan": "passed", "web-service": "passed",
    }  # fmt: skip
    assert len(json.dumps(report)) < 100_000
    assert failed_checks(labctl) == set()


@contextmanager
def configuring(labctl: Installation) -> Iterator[subprocess.Popen[str]]:
    run = labctl.start("configure", LAB)
    try:
        until = time.monotonic() + 60
        while "ansible-playbook" not in children(run.pid):
            assert time.monotonic() < until, "Ansible did not start"
            time.sleep(0.2)
        yield run
    finally:
        run.kill()
        run.communicate()


def children(pid: int) -> str:
    shown = subprocess.run(["ps", "axwwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in shown.splitlines() if str(TEST_HOME) in line and str(pid) != line.split()[0])


def test_ansible_dies_with_the_run_and_the_lock_with_it(labctl: Installation) -> None:  # F-05, F-07
    with configuring(labctl) as run:
        second = labctl.run("configure", LAB)
        assert second.returncode == 5
        assert f"pid {run.pid}" in second.stderr
        run.send_signal(signal.SIGKILL)
        run.wait()
        until = time.monotonic() + 20
        while "ansible" in children(run.pid):
            assert time.monotonic() < until, children(run.pid)
            time.sleep(0.5)
    done = labctl.run("up", "dmz", "--student", "test")
    assert done.returncode == 0, done.stderr


def test_management_is_link_local_only_and_isolated(labctl: Installation) -> None:  # SEC-18
    web = next(node for node in labctl.json("status", LAB)["labs"][0]["nodes"] if node["name"] == "web")
    address = web["address"].partition("%")[0]
    shown = labctl.on("client", "ip", "-brief", "address", "show", "dev", "mgmt").stdout.split()
    assert [word.partition("/")[0].startswith("fe80::") for word in shown[2:]] == [True]
    done = labctl.on("client", "ping", "-c", "2", "-W", "2", f"{address}%mgmt")
    assert done.returncode == 1
    assert ssh.answers(web["address"], 5)


FOREIGN_NETWORK = "<network><name>t-dmz-test.foreign</name><bridge name='lctforeign0'/></network>"
FOREIGN_MACHINE = """<domain type='qemu'><name>t-dmz-test.foreign</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64'>hvm</type></os></domain>"""


def test_down_leaves_what_is_not_ours(labctl: Installation, tmp_path: Path) -> None:  # F-25
    for name, xml, verb in (("net", FOREIGN_NETWORK, "net-define"), ("vm", FOREIGN_MACHINE, "define")):
        path = tmp_path / name
        path.write_text(xml)
        virsh(verb, str(path))
    try:
        done = labctl.run("down", LAB)
        assert (done.returncode, done.stdout.strip()) == (0, f"{LAB}: removed 3 machines and 4 networks")
        assert "t-dmz-test.foreign" in virsh("list", "--all", "--name")
        assert "t-dmz-test.foreign" in virsh("net-list", "--all", "--name")
    finally:
        virsh("undefine", "t-dmz-test.foreign")
        virsh("net-undefine", "t-dmz-test.foreign")
    assert not (TEST_HOME / "labs" / LAB).exists()
    assert "nothing to remove" in labctl.run("down", LAB).stdout
