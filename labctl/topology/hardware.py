"""What a machine is made of for the operating system of its image: firmware, disks, network cards and console."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class System(StrEnum):
    """What runs on an image, and so how machines of it are given their identity and configured."""

    DEBIAN = "debian"
    WINDOWS = "windows"
    OPNSENSE = "opnsense"
    PFSENSE = "pfsense"
    IMPORT = "import"  # the school's own image: labctl starts it and configures nothing on it


MOST_DISKS = 8  # beside the one that the system is on
LARGEST_DISK = 2048  # GiB
NOTHING = "nothing"
# The TCP port on which a machine answers when it is up, where that is not the one of labctl's own SSH server.
ANSWERS = {System.OPNSENSE: "443", System.PFSENSE: "443", System.IMPORT: NOTHING}


def runs_programs(system: System) -> bool:
    """Return whether labctl can log in to a machine of its own images and run a program there."""
    return system not in ANSWERS


class Firmware(StrEnum):
    """What boots the disk."""

    BIOS = "bios"
    UEFI = "uefi"


class DiskBus(StrEnum):
    """How the disks are attached; systems without virtio drivers want SATA."""

    VIRTIO = "virtio"
    SATA = "sata"


class CardModel(StrEnum):
    """The network card that the guest sees."""

    VIRTIO = "virtio"
    E1000E = "e1000e"
    E1000 = "e1000"
    RTL8139 = "rtl8139"
    VMXNET3 = "vmxnet3"


class ConsoleKind(StrEnum):
    """Where the system talks to a person who sits before it."""

    SERIAL = "serial"
    SCREEN = "screen"


@dataclass(frozen=True)
class Hardware:
    """The machine that an image is made for; the default is that of labctl's own Debian images.

    `disks` are the empty ones that each machine has beside the one of its system: sizes in GiB by name.
    """

    firmware: Firmware = Firmware.BIOS
    secure_boot: bool = False
    tpm: bool = False
    disk_bus: DiskBus = DiskBus.VIRTIO
    card: CardModel = CardModel.VIRTIO
    console: ConsoleKind = ConsoleKind.SERIAL
    # Not in `repr`, which is part of what a machine is known by: its disks are told there with those of its node.
    disks: Mapping[str, int] = field(default_factory=dict, hash=False, repr=False)


COMMON = Hardware()
