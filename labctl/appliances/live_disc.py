"""OPNsense's installation disc to one that speaks on the serial line, as its vendor's serial image does.

The disc is a live system on ISO 9660 with Rock Ridge (opnsense/tools, build/dvd.sh). What sets the serial image apart
are lines of two files (config/26.1/extras.conf there: serial_hook); they are written into a copy of the disc. A file
keeps its place and its length, so that nothing else of the disc changes: its comments and indents give the room.
"""

import re
from pathlib import Path

from labctl.errors import InvalidFile
from labctl.images.copying import copy_disk
from labctl.images.disc import Disc, open_disc
from labctl.language import _

LOADER, CONFIG = "/boot/loader.conf", "/usr/local/etc/config.xml"
LOADER_LINES = b'comconsole_speed="115200"\nconsole="comconsole,vidconsole"\nboot_multicons="YES"\nboot_serial="YES"\n'
LOADER_KEYS = re.compile(rb"\s*(?:comconsole_speed|console|boot_multicons|boot_serial)\s*=")
SYSTEM = b"<system>"
CONSOLES = (
    b"<serialspeed>115200</serialspeed><primaryconsole>serial</primaryconsole>"
    b"<secondaryconsole>video</secondaryconsole>"
)
CONSOLE_TAGS = re.compile(rb"<(serialspeed|primaryconsole|secondaryconsole)>[^<]*</\1>")


def copy_serial(source: Path, target: Path) -> None:
    """Copy an installation disc to one that speaks on the serial line.

    Raises InvalidFile for a disc that is not OPNsense's, or not whole, LabctlError where the disk of the host is full.
    """
    with open_disc(source) as disc:
        places = [find_file(disc, source, name) for name in (LOADER, CONFIG)]
    copy_disk(source, target)
    with target.open("r+b") as file:
        for (start, length), change in zip(places, (loader, configuration), strict=True):
            file.seek(start)
            content = change(file.read(length))
            if len(content) > length:
                raise foreign(source, _("its files have no room for a serial console"))
            file.seek(start)
            file.write(content.ljust(length, b"\n"))


def loader(old: bytes) -> bytes:
    """Return what the boot loader reads: its first lines send everything to the serial line."""
    kept = (line for line in old.splitlines() if line.strip() and not line.lstrip().startswith(b"#"))
    return LOADER_LINES + b"".join(line + b"\n" for line in kept if not LOADER_KEYS.match(line))


def configuration(old: bytes) -> bytes:
    """Return the configuration of the live system, which lets people log in on the serial line."""
    lines = b"\n".join(line.strip() for line in CONSOLE_TAGS.sub(b"", old).splitlines() if line.strip())
    return lines.replace(SYSTEM, SYSTEM + CONSOLES, 1) + b"\n"


def find_file(disc: Disc, path: Path, name: str) -> tuple[int, int]:
    """Return where a file of the disc starts and how long it is, in bytes. Raises InvalidFile where it is absent."""
    found = disc.place(name)
    if found is None:
        raise foreign(path, _("it has no {path}").format(path=name))
    return found


def foreign(path: Path, reason: str) -> InvalidFile:
    """Return the error for a disc that is not the one of OPNsense."""
    text = _('"{path}" is not an installation disc of OPNsense: {reason}')
    return InvalidFile(text.format(path=path, reason=reason), hint=f"sha256sum {path}")
