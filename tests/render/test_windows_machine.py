"""The machine of an installation: what libvirt documents, and what it defines."""

from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from labctl.render.windows.machine import InstallMachine, render_install

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
PLAIN = InstallMachine(
    "labctl-image-windows-2022", Path("/v"), (Path("/v/w.iso"), Path("/v/d.iso"), Path("/v/a.iso")), 4096
)
MACHINES = {
    "server": PLAIN,
    "windows-11": replace(PLAIN, secure_boot=True, tpm=True),
    "online": replace(PLAIN, online=True),
}


@pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
@pytest.mark.parametrize("name", MACHINES)
def test_libvirt_knows_every_word_and_defines_it(name: str, accelerator: str) -> None:
    text = render_install(MACHINES[name], accelerator)
    etree.RelaxNG(etree.parse(SCHEMA)).assertValid(etree.fromstring(text.encode()))
    connection = libvirt.open("test:///default")
    kind = "kvm" if accelerator == "kvm" else "qemu"
    described = text.replace(f"<domain type='{kind}'>", "<domain type='test'>")
    domain = connection.defineXMLFlags(described, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    connection.close()


def test_windows_11_has_secure_boot_and_a_tpm_and_a_server_neither() -> None:
    server, eleven = (
        etree.fromstring(render_install(MACHINES[name], "tcg").encode()) for name in ("server", "windows-11")
    )
    for root, wanted in ((server, "no"), (eleven, "yes")):
        features = {found.get("name"): found.get("enabled") for found in root.iterfind("os/firmware/feature")}
        assert features == {"secure-boot": wanted, "enrolled-keys": wanted}
        assert (root.find("devices/tpm") is not None) is (wanted == "yes")
        assert (root.find("features/smm") is not None) is (wanted == "yes")


def test_the_disk_starts_before_the_disc_and_the_discs_keep_their_owners() -> None:
    root = etree.fromstring(render_install(PLAIN, "tcg").encode())
    orders = {
        disk.find("target").get("dev"): disk.find("boot").get("order") for disk in root.iterfind("devices/disk[boot]")
    }
    assert orders == {"vda": "1", "sda": "2"}
    assert [disk.find("source/seclabel").get("relabel") for disk in root.iterfind("devices/disk")] == ["no"] * 4
    assert [disk.find("readonly") is not None for disk in root.iterfind("devices/disk")] == [False, True, True, True]


def test_the_network_is_plugged_in_only_where_openssh_must_come_from_there() -> None:
    states = [etree.fromstring(render_install(MACHINES[name], "tcg").encode()).find("devices/interface/link").get("state")
              for name in ("server", "online")]  # fmt: skip
    assert states == ["down", "up"]
