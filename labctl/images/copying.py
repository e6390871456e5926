"""Copies a disk that nothing writes to: its holes stay holes, and blocks are shared where the file system can."""

import os
from pathlib import Path

from labctl.images.overlay import explain
from labctl.program import ProgramFailed, run

COPY_SECONDS = 1800.0  # an overlay is small; one that a student filled is tens of GiB


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk; `target` is there whole, or not at all. A relative backing file would be lost: ours are absolute.

    Raises LabctlError where the disk of the host is full.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        run(["cp", "--reflink=auto", "--sparse=always", "--", source, temporary], timeout=COPY_SECONDS)
        temporary.replace(target)
    except (OSError, ProgramFailed) as exc:
        temporary.unlink(missing_ok=True)
        raise explain(exc, target) from exc
