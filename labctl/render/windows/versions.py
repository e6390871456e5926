"""The versions of Windows that labctl installs, as data: what their media, their drivers and their machines are."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WindowsVersion:
    """One version. `builds` are the first and last build numbers of its media, both included; `disk` is in GiB.

    `drivers` is the folder of the version in each driver's folder of the virtio-win disc. `editions` are what an
    image of the media calls its edition (EDITIONID), the one to take first; one for evaluation ends with "Eval".
    `openssh` says that Microsoft has an OpenSSH for it that is new enough for Ansible.
    """

    name: str
    title: str
    server: bool
    builds: tuple[int, int]
    drivers: str
    editions: tuple[str, ...]
    disk: int
    openssh: bool = True


SERVER_EDITIONS = ("ServerStandard", "ServerStandardEval", "ServerDatacenter", "ServerDatacenterEval")
CLIENT_EDITIONS = ("Education", "Professional", "Enterprise", "EnterpriseEval")
ANY_LATER = 99999

# Builds: https://learn.microsoft.com/windows-server/get-started/windows-server-release-info. 2025 and one release of
# Windows 11 have the same number; what tells them apart is whether the image says Server or Client. Ansible wants
# OpenSSH 7.9, that of Windows Server 2019 is 7.7.2.1: https://docs.ansible.com/ansible/latest/os_guide/windows_ssh.html.
WINDOWS: Mapping[str, WindowsVersion] = {
    version.name: version
    for version in (
        WindowsVersion("windows-2019", "Windows Server 2019", True, (17763, 17763), "2k19", SERVER_EDITIONS, 40, False),
        WindowsVersion("windows-2022", "Windows Server 2022", True, (20348, 20348), "2k22", SERVER_EDITIONS, 40),
        WindowsVersion("windows-2025", "Windows Server 2025", True, (26100, ANY_LATER), "2k25", SERVER_EDITIONS, 40),
        WindowsVersion("windows-11", "Windows 11", False, (22000, ANY_LATER), "w11", CLIENT_EDITIONS, 64),
    )
}

# Disk, network, serial (the guest agent's channel), memory and randomness; on the virtio-win disc, one folder for each.
BOOT_DRIVERS = ("viostor", "NetKVM", "vioserial")
DRIVERS = (*BOOT_DRIVERS, "Balloon", "viorng")
AGENT = "guest-agent/qemu-ga-x86_64.msi"


def driver_folder(driver: str, version: WindowsVersion) -> str:
    """Return where a driver is on the virtio-win disc, with slashes."""
    return f"{driver}/{version.drivers}/amd64"
