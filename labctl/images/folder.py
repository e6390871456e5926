"""The folder that images live in: who may read it, who works in it, and what an interrupted build left."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from labctl.errors import HostNotReady, Refused
from labctl.images import disk
from labctl.language import _, decimal

PARTIAL = "partial-"
SPACE = 3 << 30  # bytes that one build needs at its peak: root, raw disk, image, tar, packages


def prepare_folder(folder: Path) -> None:
    """Create the folder so that QEMU's user can read images in it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


def check_host(folder: Path, needed: int = SPACE, name: str = "debian-13") -> None:
    """Raise Refused where the disk has no room for the bytes of a build, HostNotReady without root's rights."""
    if os.geteuid() != 0:
        raise HostNotReady(_("building an image needs root's rights"), hint=f"sudo labctl image build {name}")
    free = shutil.disk_usage(folder).free
    if free < needed:
        text = _('building an image needs {needed} GiB in "{folder}"; {free} GiB are free')
        raise Refused(
            text.format(needed=needed >> 30, folder=folder, free=decimal(free / disk.GIB)), hint=f"df -h {folder}"
        )


def remove_partial(folder: Path) -> None:
    """Remove what a killed build left. Call it only while holding the build's lock."""
    for path in folder.glob(f"{PARTIAL}*"):
        if path.is_dir():
            detach_mounts(path)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def detach_mounts(folder: Path) -> None:
    """Unmount what a killed build had mounted in a folder, the kernel's own file systems among it."""
    mounted = [Path(part.mountpoint) for part in psutil.disk_partitions(all=True)]
    for path in sorted((path for path in mounted if folder in path.parents), reverse=True):
        subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)


@contextmanager
def hold(lock: Path, busy: Callable[[], None] | None = None, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock that dies with the process; `busy` is called once before waiting for another holder."""
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy:
                busy()
            fcntl.flock(handle, mode)
        yield
    finally:
        os.close(handle)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written or replaced: size, time in ns, inode."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
