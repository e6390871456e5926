"""What labctl sees of the discs that a school gives, and what it says of wrong ones."""

from pathlib import Path

import pytest

from labctl.errors import ExitCode, HostNotReady, InvalidFile
from labctl.images.disc import open_disc, write_disc
from labctl.images.windows_media import check_drivers, choose_edition, read_editions
from labctl.render.windows.versions import WINDOWS
from tests.images.windows_discs import SERVER_2022, WINDOWS_11, Made, make_drivers, make_udf, make_windows

V2022, V11 = WINDOWS["windows-2022"], WINDOWS["windows-11"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_windows(tmp_path_factory.mktemp("server") / "server.iso")


def test_editions_are_those_of_the_wim(server: Path) -> None:
    editions = read_editions(server)
    assert [edition.index for edition in editions] == [1, 2, 3]
    assert [edition.name for edition in editions] == [made.name for made in SERVER_2022]
    assert [edition.core for edition in editions] == [True, False, False]
    assert {edition.language for edition in editions} == {"fr-FR"}
    assert all(edition.evaluation for edition in editions)


def test_without_a_wish_the_desktop_of_the_standard_edition_is_taken(server: Path) -> None:
    chosen = choose_edition(read_editions(server), V2022, "", server)
    assert (chosen.index, chosen.name) == (2, "Windows Server 2022 SERVERSTANDARD")


@pytest.mark.parametrize(
    ("asked", "index"),
    [("windows server 2022 serverdatacenter", 3), ("Windows Server 2022 Standard Evaluation", 1),
     ("serverdatacentereval", 3)],
)  # fmt: skip
def test_an_edition_is_asked_for_by_any_of_its_names(server: Path, asked: str, index: int) -> None:
    assert choose_edition(read_editions(server), V2022, asked, server).index == index


def test_a_client_disc_gives_education_first(tmp_path: Path) -> None:
    disc = make_windows(tmp_path / "eleven.iso", WINDOWS_11)
    assert choose_edition(read_editions(disc), V11, "", disc).edition == "Education"


def test_an_unknown_edition_is_told_with_those_there_are(server: Path) -> None:
    with pytest.raises(InvalidFile) as caught:
        choose_edition(read_editions(server), V2022, "Essentials", server)
    assert caught.value.exit_code is ExitCode.INVALID
    assert caught.value.message == (
        f'"{server}" has no edition "Essentials"; it has: "Windows Server 2022 Standard Evaluation", '
        '"Windows Server 2022 Standard Evaluation (expérience de bureau)", '
        '"Windows Server 2022 Datacenter Evaluation (expérience de bureau)"'
    )
    assert '--edition "Windows Server 2022 Standard Evaluation"' in caught.value.hint


@pytest.mark.parametrize("version", ["windows-2019", "windows-2025", "windows-11"])
def test_the_disc_of_another_version_is_told(server: Path, version: str) -> None:
    with pytest.raises(InvalidFile, match=f"does not install {WINDOWS[version].title}; it has: "):
        choose_edition(read_editions(server), WINDOWS[version], "", server)


def test_a_disc_for_another_processor_is_told(tmp_path: Path) -> None:
    disc = make_windows(
        tmp_path / "arm.iso", [Made("Windows 11", "Windows 11", "Education", "Client", 26100, "fr-FR", "12")]
    )
    with pytest.raises(InvalidFile, match="does not install Windows 11"):
        choose_edition(read_editions(disc), V11, "", disc)


def test_a_disc_that_is_not_windows_is_told(tmp_path: Path) -> None:
    disc = make_udf(tmp_path / "linux.iso", {"casper/vmlinuz": b"x", "efi/boot/bootx64.efi": b"MZ"})
    with pytest.raises(InvalidFile, match=r"is not a Windows installation disc: it has no sources/install\.wim"):
        read_editions(disc)


def test_a_disc_without_uefi_is_told(tmp_path: Path) -> None:
    disc = make_windows(tmp_path / "bios.iso", more={"efi/boot/bootx64.efi": None})
    with pytest.raises(InvalidFile, match="does not boot by UEFI"):
        read_editions(disc)


def test_a_file_that_is_no_disc_is_told(tmp_path: Path) -> None:
    page = tmp_path / "download.iso"
    page.write_text("<html>Log in to download</html>")
    with pytest.raises(InvalidFile, match="is not a disc image"):
        read_editions(page)
    with pytest.raises(InvalidFile, match="cannot be read: No such file"):
        read_editions(tmp_path / "absent.iso")
    with pytest.raises(InvalidFile, match="cannot be read: Is a directory"):
        read_editions(tmp_path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.999])
def test_a_disc_that_was_cut_short_is_told(server: Path, tmp_path: Path, kept: float) -> None:
    whole = server.read_bytes()
    cut = tmp_path / "cut.iso"
    cut.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InvalidFile, match=r"is not whole: it has .* the copy or download was cut short"):
        read_editions(cut)


def test_a_wim_that_is_damaged_is_told(tmp_path: Path) -> None:
    for number, content in enumerate((b"MSWIM\0\0\0" + bytes(200), b"MSWIM\0\0\0" + b"\xff" * 300, b"not a wim", b"")):
        disc = make_windows(tmp_path / f"{number}.iso", more={"sources/install.wim": content})
        with pytest.raises(InvalidFile, match=r'"sources/install\.wim" on .* is damaged'):
            read_editions(disc)


def test_a_wim_that_lies_about_its_table_is_not_believed(server: Path, tmp_path: Path) -> None:
    wim = bytearray(server.with_suffix(".wim").read_bytes())
    wim[72 + 8 : 72 + 16] = (1 << 40).to_bytes(8, "little")
    disc = make_windows(tmp_path / "lies.iso", more={"sources/install.wim": bytes(wim)})
    with pytest.raises(InvalidFile, match="is not whole"):
        read_editions(disc)


def test_a_host_without_wimlib_is_told(server: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostNotReady, match="wimlib-imagex") as caught:
        read_editions(server)
    assert caught.value.hint == "sudo apt-get install wimtools"


def test_drivers_of_the_version_are_wanted(tmp_path: Path, server: Path) -> None:
    disc = make_drivers(tmp_path / "virtio-win.iso")
    check_drivers(disc, V2022)
    with pytest.raises(InvalidFile, match="is too old for Windows 11: it has no drivers in viostor/w11/amd64, NetKVM"):
        check_drivers(disc, V11)
    with pytest.raises(InvalidFile, match="is not the virtio-win disc"):
        check_drivers(server, V2022)
    with pytest.raises(InvalidFile, match="is not the virtio-win disc"):
        check_drivers(make_drivers(tmp_path / "old.iso", agent=False), V2022)


def test_a_written_disc_reads_back(tmp_path: Path) -> None:
    big = tmp_path / "big.msi"
    big.write_bytes(b"0123456789" * 1000)
    path = tmp_path / "answers.iso"
    files: dict[str, bytes | Path] = {
        "Autounattend.xml": b"<unattend/>",
        "labctl/build.json": b"{}",
        "labctl/openssh.msi": big,
    }
    write_disc(path, files, "LABCTL")
    assert path.stat().st_mode & 0o777 == 0o600
    with open_disc(path) as disc:
        assert set(disc.names("/")) == {"Autounattend.xml", "labctl"}
        assert disc.find("AUTOUNATTEND.XML") == "/Autounattend.xml"
        assert disc.read("/Autounattend.xml") == b"<unattend/>"
        assert disc.read("/labctl/openssh.msi") == big.read_bytes()
        assert disc.find("labctl/absent") is None
        assert disc.find("Autounattend.xml/below") is None
    assert [name.name for name in tmp_path.iterdir() if name.name.endswith(".tmp")] == []
    assert b"LABCTL" in path.read_bytes()[32768 + 40 : 32768 + 72]
