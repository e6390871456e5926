"""A file system that tests fill, and that can grow: only root may mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MIB = 1 << 20


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs, mounted on a folder: it takes no memory for what is free."""

    folder: Path

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes free."""
        status = os.statvfs(self.folder)
        used = (status.f_blocks - status.f_bavail) * status.f_frsize
        self.grow(str(max(status.f_frsize, used + left)))  # 0 would be no limit at all

    def grow(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)


@contextmanager
def mount_small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a tmpfs on a folder that is made for it, for the length of the block."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=False).returncode:
        pytest.skip("only root may mount the small file system that this test fills")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
