import os
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.images import overlay
from labctl.program import run


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "base.qcow2"
    path.parent.mkdir()
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"])
    return path


def test_an_overlay_stands_on_its_base_for_qemu_too(base: Path, tmp_path: Path) -> None:
    disk = tmp_path / "web.qcow2"
    overlay.create_overlay(base, disk, 3)
    assert overlay.read_header(disk) == (base, 3 << 30)
    assert '"backing-filename-format": "qcow2"' in run(["qemu-img", "info", "--output=json", disk]).stdout
    assert disk.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [base.parent, disk]


def test_an_empty_disk_stands_on_nothing_and_takes_no_room(tmp_path: Path) -> None:
    disk = tmp_path / "web+data.qcow2"
    overlay.create_overlay(None, disk, 20)
    assert overlay.read_header(disk) == (None, 20 << 30)
    assert disk.stat().st_blocks * 512 < 1 << 20
    assert disk.stat().st_mode & 0o777 == 0o600


# F-15
def test_a_full_disk_is_said_and_leaves_nothing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "qemu-img"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor last; do :; done\n: >"$9"\necho "qemu-img: $last: No space left on device" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LABCTL_LANG", "en")
    folder = tmp_path / "disks"
    folder.mkdir()
    with pytest.raises(LabctlError, match="no room left") as caught:
        overlay.create_overlay(base, folder / "web.qcow2", 1)
    assert caught.value.hint == f"df -h {folder}"
    assert list(folder.iterdir()) == []


def test_a_missing_folder_is_said(base: Path, tmp_path: Path) -> None:
    with pytest.raises(LabctlError, match="absent"):
        overlay.create_overlay(base, tmp_path / "absent" / "web.qcow2", 1)


def test_dependents_are_found_through_disks_in_between(base: Path, tmp_path: Path) -> None:
    run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "images/base.qcow2", tmp_path / "golden.qcow2"]
    )
    overlay.create_overlay(tmp_path / "golden.qcow2", tmp_path / "web.qcow2", 1)
    (tmp_path / "not-a-disk").write_bytes(b"QFI")
    disks = set(overlay.find_disks(tmp_path))
    assert disks == {tmp_path / "golden.qcow2", tmp_path / "web.qcow2"}
    assert set(overlay.find_dependents(base, disks)) == disks
    assert overlay.find_dependents(tmp_path / "other", disks) == ()


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"\0" * 4096, b"QFI\xfb\0\0\0\3" + b"\xff" * 200])
def test_a_header_that_lies_is_read_without_harm(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "disk"
    path.write_bytes(content)
    header = overlay.read_header(path)
    assert header is None or header[0] is None


def test_a_chain_that_bites_its_tail_ends(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", other, tmp_path / name, "1M"])
    assert overlay.chain(tmp_path / "a") == (tmp_path / "a", tmp_path / "b")
