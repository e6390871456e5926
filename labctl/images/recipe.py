"""The operating systems that labctl can build, as data: name to suite, kernel and packages."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from labctl.errors import LabctlError
from labctl.language import _

# The "cloud" kernel is Debian's kernel without drivers for real hardware: a third of the size, with ext4 and (on
# Debian 13) virtio_pci built in. Compared with linux-image-amd64 in 6.1 and 6.12, it has all that labs use: VT and VGA
# console, PS/2 keyboard, fw_cfg, nftables, VLAN, bonding, bridge, VXLAN, WireGuard, dm-crypt, RAID, NFS, CIFS, IPVS,
# netem, Open vSwitch. It lacks Wi-Fi, PPP, sound, USB HID, graphics drivers, and VM generation IDs on Debian 12.
KERNEL = "linux-image-cloud-amd64"

BOOT = (KERNEL, "tiny-initramfs", "systemd-sysv", "systemd-resolved", "udev", "dbus", "kmod", "e2fsprogs", "fdisk")
REACH = ("openssh-server", "qemu-guest-agent", "python3", "python3-apt", "util-linux-extra")
FRENCH = ("locales", "console-setup", "kbd", "keyboard-configuration", "tzdata")
TOOLS = (
    "apt", "bash-completion", "bind9-dnsutils", "bsdextrautils", "ca-certificates", "cron", "curl", "ethtool",
    "iproute2", "iputils-ping", "iputils-tracepath", "less", "libpam-modules", "lsof", "man-db", "manpages", "nano",
    "netbase", "netcat-openbsd", "nftables", "openssl", "procps", "psmisc", "sudo", "tcpdump", "traceroute", "vim-tiny",
    "wget",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How one golden image is made. `minimum_memory` is what a guest of it needs, in MiB."""

    name: str
    title: str
    suite: str
    minimum_memory: int
    packages: tuple[str, ...]


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("debian-13", "Debian 13 (trixie)", "trixie", 256, BOOT + REACH + FRENCH + TOOLS),
        Recipe("debian-12", "Debian 12 (bookworm)", "bookworm", 256, BOOT + REACH + FRENCH + TOOLS),
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of an image name. Raises LabctlError with the nearest name for a typo."""
    if name in RECIPES:
        return RECIPES[name]
    nearest = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.3) or sorted(RECIPES)[:1]
    raise LabctlError(
        _('there is no image recipe "{name}"; known recipes: {known}').format(
            name=name, known=", ".join(sorted(RECIPES))
        ),
        hint=f"labctl image build {nearest[0]}",
    )
