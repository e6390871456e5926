"""Disc images (ISO 9660 with Joliet, UDF) to their files, and files to small disc images; nothing is mounted."""

import io
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from labctl.checks.lines import printable
from labctl.errors import InvalidFile
from labctl.images.overlay import explain, settle
from labctl.language import _

if TYPE_CHECKING:  # most verbs need no discs, and the library takes its time
    from pycdlib import PyCdlib

SECTOR = 2048
DESCRIPTOR = 16 * SECTOR  # ECMA-119, 8.4: the primary volume descriptor
SIGNATURE = b"CD001"
BLOCKS = struct.Struct("<I")  # at 80 of the descriptor: how many blocks the volume has


class Disc:
    """The files of a disc image by path, capital or small letters: Windows discs have their files in UDF alone."""

    def __init__(self, iso: "PyCdlib") -> None:
        self._iso = iso
        kinds = (("udf_path", iso.has_udf()), ("joliet_path", iso.has_joliet()), ("iso_path", True))
        self._kind = next(kind for kind, there in kinds if there)

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names in a folder of the disc, none where it is absent."""
        found = self.find(folder)
        return tuple(self._list(found)) if found else ()

    def find(self, path: str) -> str | None:
        """Return the exact path of a file or folder, None where there is none."""
        here = "/"
        for part in filter(None, path.split("/")):
            name = next((name for name in self._list(here) if plain(name).lower() == part.lower()), None)
            if name is None:
                return None
            here = f"{here.rstrip('/')}/{name}"
        return here

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a file of the disc, by its exact path, for reading."""
        with self._iso.open_file_from_iso(**{self._kind: path}) as stream:
            yield stream

    def read(self, path: str) -> bytes:
        """Return the content of a file of the disc, by its exact path."""
        with self.open(path) as stream:
            return stream.read()

    def place(self, path: str) -> tuple[int, int] | None:
        """Return where a file starts and how long it is, in bytes, by its Rock Ridge path; None where there is none."""
        from pycdlib.pycdlibexception import PyCdlibException

        try:
            record = self._iso.get_record(rr_path=path)
        except PyCdlibException:
            return None
        return (record.extent_location() * SECTOR, record.get_data_length()) if record.is_file() else None

    def _list(self, folder: str) -> Iterator[str]:
        from pycdlib.pycdlibexception import PyCdlibException

        try:
            for child in self._iso.list_children(**{self._kind: folder}):
                if child is not None and not child.is_dot() and not child.is_dotdot():
                    yield child.file_identifier().decode("utf-16-be" if self._kind == "joliet_path" else "utf-8")
        except PyCdlibException:  # it is a file
            return


def plain(name: str) -> str:
    """Return the name of a file without the version that ISO 9660 puts behind it."""
    return name.partition(";")[0].rstrip(".")


@contextmanager
def open_disc(path: Path) -> Iterator[Disc]:
    """Open a disc image. Raises InvalidFile where it is none, or not whole."""
    from pycdlib import PyCdlib
    from pycdlib.pycdlibexception import PyCdlibException

    check_whole(path)
    iso = PyCdlib()
    try:
        iso.open(str(path))
    except (PyCdlibException, OSError, struct.error, IndexError, UnicodeDecodeError) as exc:
        text = _('"{path}" cannot be read as a disc image: {reason}').format(path=path, reason=printable(str(exc)))
        raise InvalidFile(text, hint=f"sha256sum {path}") from exc
    try:
        yield Disc(iso)
    finally:
        iso.close()


def check_whole(path: Path) -> None:
    """Raise InvalidFile where a file is no disc image, or shorter than its own table says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(DESCRIPTOR)
            head = file.read(SECTOR)
    except OSError as exc:
        text = _('"{path}" cannot be read: {reason}').format(path=path, reason=exc.strerror)
        raise InvalidFile(text, hint=f"ls -l {path}") from exc
    if len(head) < SECTOR or head[1:6] != SIGNATURE:
        text = _('"{path}" is not a disc image (ISO)')
        raise InvalidFile(text.format(path=path), hint=f"file {path}")
    (blocks,) = BLOCKS.unpack_from(head, 80)
    if blocks * SECTOR > size:
        raise cut_short(path, size, blocks * SECTOR)


def cut_short(path: Path, size: int, whole: int) -> InvalidFile:
    """Return the error for a disc image that was not copied to its end."""
    text = _('"{path}" is not whole: it has {size} bytes, and {whole} are needed; the copy or download was cut short')
    return InvalidFile(text.format(path=path, size=size, whole=whole), hint=f"sha256sum {path}")


def write_disc(path: Path, files: Mapping[str, bytes | Path], label: str) -> None:
    """Write a small disc image with these files, by path; readable by its owner alone, whole or not at all.

    Names are kept as they are by Joliet, which Windows, Linux and FreeBSD read. Raises LabctlError where the disk of
    the host is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            fill_disc(file, files, label)
        settle(temporary, path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise explain(exc, path) from exc


def fill_disc(file: BinaryIO, files: Mapping[str, bytes | Path], label: str) -> None:
    """Write the content of a disc image."""
    from pycdlib import PyCdlib

    iso = PyCdlib()
    iso.new(interchange_level=3, joliet=3, vol_ident=label)
    with ExitStack() as streams:
        streams.callback(iso.close)
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}):
            iso.add_directory("/" + short(folder), joliet_path=f"/{folder}")
        for number, (name, content) in enumerate(files.items()):
            stream, size = open_content(content)
            streams.callback(stream.close)
            parent = "/" + short(name.rpartition("/")[0])
            iso.add_fp(stream, size, f"{parent.rstrip('/')}/F{number}.;1", joliet_path=f"/{name}")
        iso.write_fp(file)


def open_content(content: bytes | Path) -> tuple[BinaryIO, int]:
    """Return a stream of what a file holds, and its size."""
    if isinstance(content, Path):
        return content.open("rb"), content.stat().st_size
    return io.BytesIO(content), len(content)


def short(folder: str) -> str:
    """Return the path of a folder as plain ISO 9660 takes it; nobody reads it where Joliet is known."""
    return re.sub("[^A-Z0-9_/]", "_", folder.upper())
