"""The operating systems that labctl knows, as data: built from Debian's archive, or from media of the school."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from labctl.errors import LabctlError
from labctl.language import _
from labctl.topology.catalogue import ImageFacts
from labctl.topology.hardware import ConsoleKind, Firmware, Hardware, System

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
    minimum_memory: int


@dataclass(frozen=True)
class DebianRecipe(Recipe):
    """An image that labctl builds from Debian's archive alone."""

    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class MediaRecipe(Recipe):
    """An image that is made from media that only the school has.

    `services` are the services that labctl can configure on it, None for all; `arguments` what follows the recipe's
    name in the command that makes the image.
    """

    system: System
    hardware: Hardware
    arguments: str
    services: frozenset[str] | None = None

    @property
    def command(self) -> str:
        """Return what a person types to make the image."""
        return f"labctl image build {self.name} {self.arguments}"


MEDIA = "--media FILE"
WINDOWS_MEDIA = "--iso FILE --virtio-win FILE"
OLD_WINDOWS_MEDIA = f"{WINDOWS_MEDIA} --openssh FILE"  # its own is too old for Ansible
# Windows 11 asks for secure boot and a TPM 2.0; the servers run with both and need neither.
WINDOWS = Hardware(firmware=Firmware.UEFI, console=ConsoleKind.SCREEN)
WINDOWS_11 = Hardware(firmware=Firmware.UEFI, secure_boot=True, tpm=True, console=ConsoleKind.SCREEN)
# WireGuard is a part of OPNsense, and of pfSense a package that an image may not have.
PFSENSE_SERVICES = frozenset({"router_firewall", "dns", "dhcp", "virtual_address"})
OPNSENSE_SERVICES = PFSENSE_SERVICES | {"vpn_gateway"}

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        DebianRecipe("debian-13", "Debian 13 (trixie)", 256, "trixie", BOOT + REACH + FRENCH + TOOLS),
        DebianRecipe("debian-12", "Debian 12 (bookworm)", 256, "bookworm", BOOT + REACH + FRENCH + TOOLS),
        MediaRecipe("windows-2019", "Windows Server 2019", 2048, System.WINDOWS, WINDOWS, OLD_WINDOWS_MEDIA),
        MediaRecipe("windows-2022", "Windows Server 2022", 2048, System.WINDOWS, WINDOWS, WINDOWS_MEDIA),
        MediaRecipe("windows-2025", "Windows Server 2025", 2048, System.WINDOWS, WINDOWS, WINDOWS_MEDIA),
        MediaRecipe("windows-11", "Windows 11", 4096, System.WINDOWS, WINDOWS_11, WINDOWS_MEDIA),
        MediaRecipe("opnsense-25", "OPNsense 25", 1024, System.OPNSENSE, Hardware(), MEDIA, OPNSENSE_SERVICES),
        MediaRecipe("pfsense-2", "pfSense CE 2", 1024, System.PFSENSE, Hardware(), MEDIA, PFSENSE_SERVICES),
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


def recipe_facts() -> tuple[ImageFacts, ...]:
    """Return what a topology may know of the images of all recipes."""
    return tuple(describe(recipe) for recipe in RECIPES.values())


def describe(recipe: Recipe) -> ImageFacts:
    """Return what a topology may know of the image of one recipe."""
    if not isinstance(recipe, MediaRecipe):
        return ImageFacts(recipe.name, recipe.minimum_memory)
    return ImageFacts(
        recipe.name, recipe.minimum_memory, recipe.system, recipe.hardware, recipe.services, recipe.command
    )
