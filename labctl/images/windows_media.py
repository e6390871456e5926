"""A disc image that a school gives to what can be installed from it: editions of Windows, and their drivers."""

import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from labctl.checks.lines import printable
from labctl.errors import HostNotReady, InvalidFile
from labctl.images.disc import Disc, cut_short, open_disc
from labctl.language import _
from labctl.program import ProgramFailed, run
from labctl.render.windows.versions import AGENT, BOOT_DRIVERS, WindowsVersion, driver_folder

WIM = b"MSWIM\0\0\0"
HEADER = 208  # bytes; places in it from https://learn.microsoft.com/previous-versions/windows/it-pro (WIM file format)
TABLE, XML = 48, 72  # where the header says where the table of streams and the description are
PLACE = struct.Struct("<QQQ")  # size with flags in its highest byte, offset, size when unpacked
AMD64 = "9"
EVALUATION = "Eval"  # ends the names of editions that stop working after some months
MOST = 64 << 20  # bytes of a table or description that is believed


@dataclass(frozen=True)
class Edition:
    """One image of the media. `name` is what Setup looks for, `title` what people see, `edition` Microsoft's word."""

    index: int
    name: str
    title: str
    edition: str
    server: bool
    core: bool
    build: int
    language: str
    architecture: str

    @property
    def evaluation(self) -> bool:
        """Return whether it stops working after some months."""
        return self.edition.endswith(EVALUATION)


def read_editions(path: Path) -> tuple[Edition, ...]:
    """Return the editions on a Windows disc image, as wimlib-imagex reads them.

    Raises InvalidFile where it is no disc image, no Windows or not whole, HostNotReady without wimlib-imagex.
    """
    with open_disc(path) as disc:
        boot = disc.find("sources/boot.wim")
        found = disc.find("sources/install.wim") or disc.find("sources/install.esd")
        if boot is None or found is None:
            text = _('"{path}" is not a Windows installation disc: it has no sources/install.wim or install.esd')
            raise InvalidFile(text.format(path=path), hint="labctl image build --help")
        if disc.find("efi/boot/bootx64.efi") is None:
            text = _('"{path}" does not boot by UEFI on this kind of computer: it has no efi/boot/bootx64.efi')
            raise InvalidFile(text.format(path=path), hint="labctl image build --help")
        description = describe_wim(disc, found, path)
    return tuple(edition_of(image) for image in description.iterfind("IMAGE"))


def describe_wim(disc: Disc, wim: str, path: Path) -> Element:
    """Return the description inside a WIM of the disc; head, table and description are copied, not its gigabytes."""
    with disc.open(wim) as stream, tempfile.TemporaryDirectory() as folder:
        stub, description = Path(folder, "stub.wim"), Path(folder, "description.xml")
        with stub.open("wb") as file:
            for offset, data in read_parts(stream, wim, path):
                file.seek(offset)
                file.write(data)
        try:
            run(["wimlib-imagex", "info", stub, f"--extract-xml={description}"])
            return ElementTree.fromstring(description.read_bytes())
        except HostNotReady as exc:
            raise HostNotReady(exc.message, hint="sudo apt-get install wimtools") from exc
        except (ProgramFailed, OSError, ElementTree.ParseError) as exc:
            raise damaged(wim, path) from exc


def read_parts(stream: BinaryIO, wim: str, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the head, the table and the description of a WIM, each with its place. Raises InvalidFile."""
    head = stream.read(HEADER)
    if len(head) < HEADER or not head.startswith(WIM):
        raise damaged(wim, path)
    yield 0, head
    for place in (TABLE, XML):
        flagged, offset, _unpacked = PLACE.unpack_from(head, place)
        size = flagged & (1 << 56) - 1
        if not 0 < size <= MOST:
            raise damaged(wim, path)
        stream.seek(0, 2)
        if offset + size > stream.tell():
            raise cut_short(path, path.stat().st_size, path.stat().st_size + offset + size - stream.tell())
        stream.seek(offset)
        data = stream.read(size)
        if len(data) < size:
            raise cut_short(path, path.stat().st_size, path.stat().st_size + size - len(data))
        yield offset, data


def damaged(wim: str, path: Path) -> InvalidFile:
    """Return the error for a WIM that cannot be read."""
    text = _('"{wim}" on "{path}" is damaged: the copy or download is not what was published')
    return InvalidFile(text.format(wim=wim.lstrip("/"), path=path), hint=f"sha256sum {path}")


def edition_of(image: Element) -> Edition:
    """Return what the description of a WIM says of one of its images."""
    kind = image.findtext("WINDOWS/INSTALLATIONTYPE", "")
    name = image.findtext("NAME", "")
    build = image.findtext("WINDOWS/VERSION/BUILD", "")
    return Edition(
        index=int(image.get("INDEX", "0")),
        name=name,
        title=printable(image.findtext("DISPLAYNAME", "") or name),
        edition=printable(image.findtext("WINDOWS/EDITIONID", "")),
        server=kind.startswith("Server"),
        core=kind == "Server Core",
        build=int(build) if build.isdigit() else 0,
        language=image.findtext("WINDOWS/LANGUAGES/DEFAULT", "") or image.findtext("WINDOWS/LANGUAGES/LANGUAGE", ""),
        architecture=image.findtext("WINDOWS/ARCH", ""),
    )


def choose_edition(editions: Sequence[Edition], version: WindowsVersion, asked: str, path: Path) -> Edition:
    """Return the edition to install: the one asked for by any of its names, else the first that suits the version.

    Raises InvalidFile naming those that the disc has.
    """
    of_version = [
        edition for edition in editions
        if edition.server is version.server and version.builds[0] <= edition.build <= version.builds[1]
        and edition.architecture == AMD64
    ]  # fmt: skip
    listed = ", ".join(f'"{edition.title}"' for edition in editions) or _("none")
    if not of_version:
        text = _('"{path}" does not install {version}; it has: {editions}')
        raise InvalidFile(
            text.format(path=path, version=version.title, editions=listed), hint="labctl image build --help"
        )
    if asked:
        word = asked.casefold()
        for edition in of_version:
            if word in (edition.name.casefold(), edition.title.casefold(), edition.edition.casefold()):
                return edition
    else:
        preferred = [e for name in version.editions for e in of_version if e.edition == name and not e.core]
        if preferred:
            return preferred[0]
    text = _('"{path}" has no edition "{asked}"; it has: {editions}')
    wanted = asked or version.editions[0]
    hint = f'labctl image build {version.name} … --edition "{of_version[0].title}"'
    raise InvalidFile(text.format(path=path, asked=wanted, editions=listed), hint=hint)


def check_drivers(path: Path, version: WindowsVersion) -> None:
    """Raise InvalidFile where a disc image is not virtio-win, or has no drivers for the version."""
    hint = "https://docs.fedoraproject.org/en-US/quick-docs/creating-windows-virtual-machines-using-virtio-drivers/"
    with open_disc(path) as disc:
        if disc.find(BOOT_DRIVERS[0]) is None or disc.find(AGENT) is None:
            text = _('"{path}" is not the virtio-win disc: it has no folder "{folder}" or no {agent}')
            raise InvalidFile(text.format(path=path, folder=BOOT_DRIVERS[0], agent=AGENT), hint=hint)
        folders = [driver_folder(driver, version) for driver in BOOT_DRIVERS]
        missing = [
            folder for folder in folders if not any(name.lower().endswith(".inf") for name in disc.names(folder))
        ]
        if missing:
            text = _('the virtio-win disc "{path}" is too old for {version}: it has no drivers in {folders}')
            raise InvalidFile(text.format(path=path, version=version.title, folders=", ".join(missing)), hint=hint)
