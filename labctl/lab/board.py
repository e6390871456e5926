"""What the board of a UEFI machine remembers beside its disk, to what is kept and given with it: variables and TPM."""

from collections.abc import Iterator
from pathlib import Path

from labctl.hypervisor.tpm import copy_owned, give_state, state_file
from labctl.lab.frozen import Frozen
from labctl.plan.model import Folders, PlannedNode
from labctl.topology.hardware import Firmware


def clear_board(folders: Folders, node: PlannedNode) -> None:
    """Forget the variables of a machine that is made anew: its firmware begins with those of the package."""
    if node.hardware.firmware is Firmware.UEFI:
        nvram = folders.nvram(node.member)
        nvram.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        nvram.unlink(missing_ok=True)


def keep_board(folders: Folders, node: PlannedNode, frozen: Frozen, storage: Path) -> tuple[Path, ...]:
    """Copy what the board of a machine that is off remembers beside its frozen disk; return the files.

    `storage` is where libvirt keeps the states of TPMs.
    """
    return tuple(kept for source, kept in board_files(folders, node, frozen, storage) if copy_owned(source, kept))


def give_board(folders: Folders, node: PlannedNode, frozen: Frozen, storage: Path) -> None:
    """Give a clone that is off what the board of the frozen machine remembers."""
    clear_board(folders, node)
    if node.hardware.firmware is Firmware.UEFI:
        copy_owned(frozen.nvram(node.member), folders.nvram(node.member))
    if node.hardware.tpm:
        give_state(frozen.tpm(node.member), node.uuid, storage)


def board_files(folders: Folders, node: PlannedNode, frozen: Frozen, storage: Path) -> Iterator[tuple[Path, Path]]:
    """Yield where each thing is that the board remembers, and where it is kept."""
    if node.hardware.firmware is Firmware.UEFI:
        yield folders.nvram(node.member), frozen.nvram(node.member)
    if node.hardware.tpm:
        yield state_file(node.uuid, storage), frozen.tpm(node.member)
