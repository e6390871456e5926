"""A guest of one program that plays an appliance on a real serial line: it prints, listens, compares, goes on."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from labctl.images.disc import SECTOR, open_disc

SECTORS = 32
CONFIG = """\
<?xml version="1.0"?>
<opnsense>
    <system>
        <hostname>OPNsense</hostname>
        <user>
            <name>root</name>
            <descr>System Administrator</descr>
        </user>
        <timezone>Etc/UTC</timezone>
        <primaryconsole>video</primaryconsole>
    </system>
    <interfaces>
        <wan>
            <ipaddr>dhcp</ipaddr>
        </wan>
    </interfaces>
</opnsense>
"""
# Reads 32 sectors to 8000h. They hold pairs of strings: what is printed, and the line that must be typed then ("*" for
# any); another line gets the same words again. An empty string at the end switches the machine off (ACPI, port 604h).
_PROGRAM = bytes.fromhex(
    "31c08ed88ec08ed0bc007cfcbe8c7cb442b280cd13be0080803c00744689f589eeac84c07405e84400ebf6bf00d0e84b003c"
    "0d7406aae83400ebf3c60500b00de82a00b00ae82500803c2a740f89f3bf00d0acae75c984c075f8ebbcac84c075fbebb5ba"
    "0406b80020eff4ebfd50bafd03eca82074fb58baf803eec3bafd03eca80174fbbaf803ecc38d740010002000008000000100"
    "000000000000"
)
# The same, started from a disc, which the firmware loads whole: the words are at 7E00h. It is silent unless the first
# sector of the loader's configuration begins with "comc"; its number follows the program. At the end it writes
# 33 sectors from BE00h to the first disk.
_DISC_PROGRAM = bytes.fromhex(
    "31c08ed88ec08ed0bc007cfcbeae7cb442cd13726a66813e0050636f6d63755fbe007e803c00744489f589eeac84c07405e84e00ebf6bf00"
    "05e855003c0d7406aae83e00ebf3c60500b00de83400b00ae82f00803c2a740dbf0005acae75cb84c075f8ebbeac84c075fbebb7be9e7cb8"
    "0043b280cd137207ba0406b80020eff4ebfd50bafd03eca82074fb58baf803eec3bafd03eca80174fbbaf803ecc3100021000000e00b0000"
    "0000000000001000010000500000"
)


def write_stand_in(path: Path, talk: Sequence[tuple[str, str]]) -> Path:
    """Write a raw disk of 1 MiB whose guest holds this talk on its serial port and switches itself off."""
    path.write_bytes(first_sectors(_PROGRAM, talk).ljust(1 << 20, b"\0"))
    return path


def first_sectors(program: bytes, talk: Sequence[tuple[str, str]]) -> bytes:
    words = b"".join(said.encode() + b"\0" + typed.encode() + b"\0" for said, typed in talk) + b"\0"
    assert len(words) <= SECTORS * 512
    return program.ljust(510, b"\0") + b"\x55\xaa" + words.ljust(SECTORS * 512, b"\0")


def write_disc_stand_in(folder: Path, talk: Sequence[tuple[str, str]], installed: Sequence[tuple[str, str]]) -> Path:
    """Make a disc by the program that its vendor uses, whose guest holds a talk and installs a guest of another one."""
    boot, loader = folder / "disc" / "boot", folder / "disc" / "boot" / "loader.conf"
    boot.mkdir(parents=True)
    loader.write_text("# " + "written by a program " * 12 + '\nautoboot_delay="3"\n#console\nconsole="vidconsole"\n')
    config = folder / "disc" / "usr" / "local" / "etc" / "config.xml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG)
    (boot / "Something with a long name, as there are many on it.ko").write_bytes(b"\0" * 5000)
    sector = 0
    for _ in range(2):  # only the disc tells where its files are
        program = _DISC_PROGRAM + sector.to_bytes(8, "little")
        (boot / "cdboot").write_bytes(first_sectors(program, talk) + first_sectors(_PROGRAM, installed))
        disc = make_disc(folder)
        with open_disc(disc) as found:
            place = found.place("/boot/loader.conf")
        assert place
        sector = place[0] // SECTOR
    return disc


def make_disc(folder: Path) -> Path:
    """Make a disc of what is in the folder "disc" beside it, started by its boot/cdboot (makefs(8))."""
    disc, files = folder / "dvd.iso", folder / "disc"
    options = ["-o", f"bootimage=i386;{files}/boot/cdboot", "-o", "no-emul-boot", "-o", "label=OPNSENSE_INSTALL"]
    subprocess.run(["makefs", "-t", "cd9660", *options, "-o", "rockridge", disc, files], check=True)
    return disc
