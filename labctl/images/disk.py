"""Turns a root file system into a disk that boots by itself: partition table, ext4, GRUB, without loop devices."""

from dataclasses import dataclass
from pathlib import Path

from labctl.errors import HostNotReady
from labctl.images.contents import GRUB_CONFIG, KERNEL_OPTIONS
from labctl.language import _
from labctl.program import run

SECTOR = 512
PARTITION_START = 2048  # sectors: leaves 1 MiB for GRUB before the partition
MIB, GIB = 1 << 20, 1 << 30
GRUB_FOLDER = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = (
    "biosdisk", "part_msdos", "ext2", "normal", "linux", "configfile", "keystatus", "test", "ls", "cat", "echo",
    "reboot", "halt", "minicmd",
)  # fmt: skip
# Named one by one so that an image does not depend on the host's mke2fs.conf: newer defaults stop older GRUB.
FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize,metadata_csum"
)


@dataclass(frozen=True)
class Content:
    """How much a root file system holds: bytes of data and number of files."""

    size: int
    files: int


def write_disk(root: Path, disk: Path, uuid: str) -> None:
    """Write `root` to a raw disk image whose file system has the given UUID, as small as whole GiB allow.

    A node's disk is an overlay of it and grows at its first boot. Raises HostNotReady without GRUB's files.
    """
    if not (GRUB_FOLDER / "boot.img").exists():
        raise HostNotReady(_("GRUB's files for BIOS are missing on this host"), hint="apt-get install grub-pc-bin")
    configuration = root / "boot/grub/grub.cfg"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(GRUB_CONFIG.format(uuid=uuid, options=KERNEL_OPTIONS), encoding="utf-8")
    (root / "etc/fstab").write_text(f"UUID={uuid} / ext4 defaults 0 0\n", encoding="utf-8")
    size = choose_size(measure_root(root))
    with disk.open("wb") as file:
        file.truncate(size)
    run(
        ["sfdisk", "--quiet", disk],
        stdin=f"label: dos\nlabel-id: 0x{uuid[:8]}\nstart={PARTITION_START}, type=83, bootable\n",
    )
    write_filesystem(root, disk, size, uuid)
    write_boot_loader(disk)


def measure_root(root: Path) -> Content:
    """Return what the root file system holds, as `du` counts it."""
    used = run(["du", "-s", "--block-size=1", root]).stdout.split()[0]
    files = run(["du", "-s", "--inodes", root]).stdout.split()[0]
    return Content(int(used), int(files))


def choose_size(content: Content) -> int:
    """Return the size of the disk in bytes: whole GiB that leave room for tables, the journal and a first boot."""
    needed = content.size * 110 // 100 + content.files * 256 + 192 * MIB
    return -(-needed // GIB) * GIB


def write_filesystem(root: Path, disk: Path, size: int, uuid: str) -> None:
    """Fill the partition with an ext4 file system that holds `root`."""
    offset = PARTITION_START * SECTOR
    run(
        [
            "mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", uuid, "-b", "4096", "-I", "256", "-i", "16384",
            "-m", "1", "-O", FEATURES, "-J", "size=32", "-E", f"offset={offset},hash_seed={uuid},lazy_itable_init=0",
            "-d", root, disk, f"{(size - offset) // 1024}k",
        ],
        timeout=900,
    )  # fmt: skip


def write_boot_loader(disk: Path) -> None:
    """Put GRUB between the partition table and the partition."""
    core = disk.with_suffix(".core")
    try:
        run(["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", core, *GRUB_MODULES])
        with disk.open("r+b") as file:
            # The first 440 bytes are code; the partition table behind them stays.
            file.write((GRUB_FOLDER / "boot.img").read_bytes()[:440])
            file.seek(SECTOR)
            file.write(core.read_bytes())
    finally:
        core.unlink(missing_ok=True)


def pack_disk(raw: Path, packed: Path) -> None:
    """Write a raw disk as qcow2: holes take no room in the file, so it is quick to hash and to copy."""
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "compat=1.1", raw, packed], timeout=900)
