"""A document to a file, whole or not at all, and never over a file of another kind."""

import os
import tempfile
from pathlib import Path

from labctl.errors import LabctlError, Refused
from labctl.language import _
from labctl.report.spreadsheet import find_beginnings

# How a document of ours begins, and what stands near its beginning: people write files of these formats, too.
BEGINNINGS: dict[str, tuple[bytes, bytes]] = {
    "pdf": (b"%PDF-", b"/ID [(labctl)"),
    "html": (b"<!DOCTYPE html>", b'<meta name="generator" content="labctl '),
    "json": (b'{"version": ', b'"kind": '),
    "junit": (b"<?xml ", b'<testsuites name="labctl"'),
}
BEGINNING = 512  # bytes that are looked at
ENDING = 1 << 16  # bytes of a PDF: its trailer has our mark, before a table that grows with its pages


def write_document(path: Path, content: bytes, kind: str) -> None:
    """Write a document of a format ("html", "pdf"…).

    A former document of the same kind is replaced in one step. Raises Refused where something else is in the way,
    LabctlError where the file cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            write_through(path, content)
            return
        if path.exists() and not is_kind(path, kind):
            text = _('"{path}" is not a report in the format {format}; it is left as it is')
            raise Refused(text.format(path=path, format=kind), hint=f"ls -l {path}")
        replace_file(path.resolve(), content)
    except OSError as exc:
        text = _('"{path}" cannot be written: {error}')
        raise LabctlError(text.format(path=path, error=exc.strerror), hint=f"ls -ld {path.parent}") from exc


def write_through(path: Path, content: bytes) -> None:
    """Write into a pipe or a device, such as /dev/stdout. Raises OSError for a folder."""
    with path.open("wb") as stream:
        stream.write(content)


def is_kind(path: Path, kind: str) -> bool:
    """Return whether a file is empty or looks as ours of a format do."""
    with path.open("rb") as stream:
        head = stream.read(BEGINNING)
        stream.seek(max(0, path.stat().st_size - ENDING))
        tail = stream.read()
    if kind == "csv":
        starts = tuple(start.encode("utf-8-sig") for start in find_beginnings())
        return not head or head.startswith(starts)
    start, mark = BEGINNINGS[kind]
    return not head or (head.startswith(start) and mark in (tail if kind == "pdf" else head))


def replace_file(path: Path, content: bytes) -> None:
    """Write beside the file first, so that a full disk or a crash leaves the former one whole."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
