"""The machine of an installation: what libvirt documents, and what it defines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from labctl.render.windows.answers import Install, render_autounattend
from labctl.render.windows.machine import InstallMachine, render_install
from labctl.render.windows.versions import WINDOWS

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
DISCS = (Path("/v/w.iso"), Path("/v/d.iso"), Path("/v/a.iso"))
PLAIN = InstallMachine("image-windows-2022", Path("/v"), DISCS, 4096)
ELEVEN = replace(PLAIN, secure_boot=True, tpm=True)
MACHINES = {"server": PLAIN, "windows-11": ELEVEN, "online": replace(PLAIN, online=True)}


def rendered(machine: InstallMachine) -> Any:
    return etree.fromstring(render_install(machine, "tcg").encode())


@pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
@pytest.mark.parametrize("name", MACHINES)
def test_libvirt_knows_every_word_and_defines_it(name: str, accelerator: str) -> None:
    text = render_install(MACHINES[name], accelerator)
    etree.RelaxNG(etree.parse(SCHEMA)).assertValid(etree.fromstring(text.encode()))
    connection = libvirt.open("test:///default")
    kind = "kvm" if accelerator == "kvm" else "qemu"
    described = text.replace(f"<domain type='{kind}'>", "<domain type='test'>")
    connection.defineXMLFlags(described, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    connection.close()


def test_windows_11_has_secure_boot_and_a_tpm_and_a_server_neither() -> None:
    for machine, wanted in ((PLAIN, "no"), (ELEVEN, "yes")):
        root = rendered(machine)
        features = {found.get("name"): found.get("enabled") for found in root.iterfind("os/firmware/feature")}
        assert features == {"secure-boot": wanted, "enrolled-keys": wanted}
        assert (root.find("devices/tpm") is not None) is (wanted == "yes")
        assert (root.find("features/smm") is not None) is (wanted == "yes")


def test_the_disk_starts_before_the_disc_and_the_discs_keep_their_owners() -> None:
    root = rendered(PLAIN)
    started = root.findall("devices/disk[boot]")
    orders = {disk.find("target").get("dev"): disk.find("boot").get("order") for disk in started}
    assert orders == {"vda": "1", "sda": "2"}
    assert [disk.find("source/seclabel").get("relabel") for disk in root.iterfind("devices/disk")] == ["no"] * 4
    assert [disk.find("readonly") is not None for disk in root.iterfind("devices/disk")] == [False, True, True, True]


def test_the_network_is_plugged_in_only_where_openssh_must_come_from_there() -> None:
    links = [rendered(MACHINES[name]).find("devices/interface/link") for name in ("server", "online")]
    states = [link.get("state") for link in links]
    assert states == ["down", "up"]


@pytest.mark.parametrize("name", MACHINES)
def test_the_clock_of_the_hardware_shows_the_time_that_windows_takes_it_for(name: str) -> None:
    clock = rendered(MACHINES[name]).find("clock")
    assert (clock.get("offset"), clock.get("timezone")) == ("timezone", "Europe/Paris")
    assert "<TimeZone>Romance Standard Time</TimeZone>" in render_autounattend(
        Install(WINDOWS["windows-2022"], "x", "fr-FR")
    )
