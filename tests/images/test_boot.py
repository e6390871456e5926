"""Every image is built, or reused, and really booted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.images.recipe import RECIPES, DebianRecipe
from labctl.images.store import Image, ImageSpec, ImageStore
from labctl.monitor import Silent
from labctl.program import run
from tests.homes import TEST_HOME
from tests.images.machine import Machine, start_machine

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(1500)]
DISK_GIB = 5
NEWEST = "debian-13"  # the others take as long, and no shipped lab uses them: --labs has them
BUILT = [
    pytest.param(name, marks=[] if name == NEWEST else [pytest.mark.labs])
    for name, recipe in sorted(RECIPES.items())
    if isinstance(recipe, DebianRecipe)
]


@pytest.fixture(scope="module", params=BUILT)
def image(request: pytest.FixtureRequest) -> Image:
    return ImageStore(TEST_HOME).ensure(ImageSpec(request.param), Silent())


@pytest.fixture(scope="module")
def machine(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    ImageStore(TEST_HOME).create_overlay(image, folder / "disk.qcow2", DISK_GIB)
    with start_machine(folder / "disk.qcow2", folder) as machine:
        machine.wait()
        machine.ask("systemctl is-system-running --wait", check=False)
        yield machine


def test_the_image_holds_no_secret_and_no_identity(image: Image, tmp_path: Path) -> None:
    run(["qemu-img", "convert", "-O", "raw", image.path, tmp_path / "raw"])
    root = f"{tmp_path / 'raw'}?offset={2048 * 512}"
    listing = run(["debugfs", "-R", "ls -p /etc/ssh", root]).stdout
    assert "sshd_config" in listing
    assert "ssh_host" not in listing
    assert run(["debugfs", "-R", "cat /etc/machine-id", root]).stdout == ""
    names = run(["debugfs", "-R", "ls -p /etc", root]).stdout
    assert "/machine-id/" in names
    assert "/hostname/" not in names
    shadow = run(["debugfs", "-R", "cat /etc/shadow", root]).stdout
    assert [line.split(":")[1] for line in shadow.splitlines() if line.startswith("root:")] in (["*"], ["!"])


def test_the_consoles_log_root_in(machine: Machine) -> None:
    for unit in ("serial-getty@ttyS0", "getty@tty1"):
        shown = machine.ask(f"systemctl show --property=ExecStart,ActiveState {unit}")
        assert "--autologin root" in shown.stdout
        assert "ActiveState=active" in shown.stdout


def test_everything_starts(machine: Machine) -> None:
    assert machine.ask("systemctl is-system-running", check=False).stdout.strip() == "running"
    assert machine.ask("systemctl --failed --plain --no-legend").stdout == ""
    assert "cloud-init" not in machine.ask("dpkg-query --show --showformat '${Package} '").stdout


def test_it_is_who_labctl_says(machine: Machine) -> None:
    assert machine.ask("hostname; hostname --fqdn").stdout.split() == ["web", "web.lan.example"]
    assert "mgmt" in machine.ask("ls /sys/class/net").stdout.split()
    assert len(machine.ask("cat /etc/machine-id").stdout.strip()) == 32
    assert machine.ask("ls /etc/ssh/ssh_host_*").stdout.split() == [
        "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub",
    ]  # fmt: skip


def test_it_speaks_french(machine: Machine) -> None:
    assert "LANG=fr_FR.UTF-8" in machine.ask("cat /etc/default/locale").stdout
    assert "fr_FR.utf8" in machine.ask("locale -a").stdout
    assert machine.ask("LC_ALL=fr_FR.UTF-8 ls /absent", check=False).stderr.count("Aucun fichier") == 1
    assert machine.ask("date +%Z").stdout.strip() in ("CET", "CEST")
    # Key 16 is the first letter of the first row: A on a French keyboard.
    assert machine.ask("dumpkeys --keys-only </dev/tty1 | grep -E '^keycode +16 ='").stdout.split()[3] == "+a"


def test_the_disk_is_used_to_its_end(machine: Machine) -> None:
    assert int(machine.ask("df --output=size -BM / | tail -1").stdout.strip(" M\n")) > (DISK_GIB - 1) * 1024
    assert machine.ask("sfdisk --verify /dev/vda", check=False).returncode == 0


def test_ssh_takes_keys_only(machine: Machine) -> None:
    settings = machine.ask("sshd -T").stdout.splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "usedns no"} <= set(settings)
    assert machine.ask("systemctl is-active ssh.service").stdout.strip() == "active"


def test_the_agent_starts_after_ssh(machine: Machine) -> None:
    assert "ssh.service" in machine.ask("systemctl show --property=After qemu-guest-agent.service").stdout


@pytest.mark.parametrize("module", ["8021q", "bonding", "bridge", "vxlan", "wireguard", "dm_crypt", "nf_tables"])
def test_the_kernel_has_what_labs_need(machine: Machine, module: str) -> None:
    machine.ask(f"modprobe {module}")


def test_names_are_resolved_by_the_servers_that_dhcp_gave(machine: Machine) -> None:
    assert machine.ask("systemctl is-active systemd-resolved").stdout.strip() == "active"
    assert "nameserver 10.0.2.3" in machine.ask("cat /etc/resolv.conf").stdout.splitlines()


# Changes of a student outlive a reboot; the last test, because the machine is off afterwards.
def test_the_power_button_works_and_changes_stay(machine: Machine, tmp_path: Path) -> None:
    machine.ask("echo changed >/etc/hosts; sync")
    machine.power_off(120)
    disk = machine.folder / "disk.qcow2"
    run(["qemu-img", "convert", "-O", "raw", disk, tmp_path / "raw"])
    assert run(["debugfs", "-R", "cat /etc/hosts", f"{tmp_path / 'raw'}?offset={2048 * 512}"]).stdout == "changed\n"
