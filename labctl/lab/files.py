"""Turns an error of the file system in the middle of a lab's work into a sentence with the command that helps."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.errors import LabctlError
from labctl.language import _

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def explain_files(folder: Path) -> Iterator[None]:
    """Raise LabctlError where a file in or below `folder` cannot be written, read or removed."""
    try:
        yield
    except OSError as exc:
        text = _('the folder "{path}" cannot be used: {error}').format(path=folder, error=exc.strerror or exc)
        raise LabctlError(text, hint=f"df -h {folder}" if exc.errno in FULL else f"ls -ld {folder}") from exc
