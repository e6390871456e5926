"""The copy of an installation disc, made as its vendor makes it."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from labctl.appliances.live_disc import CONFIG, LOADER, copy_serial
from labctl.errors import InvalidFile
from labctl.images.disc import SECTOR, open_disc
from tests.appliances.stand_in import make_disc, write_disc_stand_in


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_disc_stand_in(tmp_path, [], [])


def content(disc: Path, name: str) -> bytes:
    with open_disc(disc) as found:
        place = found.place(name)
    assert place
    return disc.read_bytes()[place[0] : sum(place)]


def test_the_copy_speaks_on_the_serial_line_and_is_the_same_disc_elsewhere(source: Path, tmp_path: Path) -> None:
    copy_serial(source, tmp_path / "copy.iso")
    lines = content(tmp_path / "copy.iso", LOADER).decode().split()
    assert lines == [
        'comconsole_speed="115200"', 'console="comconsole,vidconsole"', 'boot_multicons="YES"', 'boot_serial="YES"',
        'autoboot_delay="3"',
    ]  # fmt: skip
    root = ElementTree.fromstring(content(tmp_path / "copy.iso", CONFIG))
    told = {element.tag: element.text for element in root.iter() if "console" in element.tag}
    assert told == {"primaryconsole": "serial", "secondaryconsole": "video"}
    assert root.findtext("system/serialspeed") == "115200"
    assert root.findtext("system/user/descr") == "System Administrator"
    assert root.findtext("interfaces/wan/ipaddr") == "dhcp"
    old, new = source.read_bytes(), (tmp_path / "copy.iso").read_bytes()
    changed = {at // SECTOR for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other}
    with open_disc(source) as disc:
        places = (disc.place(LOADER), disc.place(CONFIG))
    assert changed == {place[0] // SECTOR for place in places if place}


@pytest.mark.parametrize(
    ("name", "said"),
    [("boot/loader.conf", "it has no /boot/loader.conf"), ("usr/local/etc/config.xml", "it has no /usr/local/etc/")],
)
def test_a_disc_of_something_else_is_refused_and_not_copied(source: Path, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "disc" / name).unlink()
    with pytest.raises(InvalidFile, match="is not an installation disc of OPNsense: " + said):
        copy_serial(make_disc(tmp_path), tmp_path / "copy.iso")
    assert not (tmp_path / "copy.iso").exists()
    assert source.exists()


def test_files_without_room_are_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "disc" / "boot" / "loader.conf").write_text('autoboot_delay="3"\n')
    with pytest.raises(InvalidFile, match=f'"{source}" is not .*: its files have no room for a serial console'):
        copy_serial(make_disc(tmp_path), tmp_path / "copy.iso")


def test_a_disc_that_was_cut_off_is_told(source: Path, tmp_path: Path) -> None:
    source.write_bytes(source.read_bytes()[: 30 * SECTOR])
    with pytest.raises(InvalidFile, match="is not whole"):
        copy_serial(source, tmp_path / "copy.iso")
