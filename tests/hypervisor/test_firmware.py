"""What a host lacks for machines that start by UEFI is told by package."""

import json
from pathlib import Path

import pytest

from labctl.errors import ExitCode, HostNotReady
from labctl.hypervisor.firmware import check_firmware, find_missing


def describe(folder: Path, name: str, features: list[str], **changes: object) -> None:
    for part in ("code", "vars"):
        (folder / f"{name}.{part}").write_bytes(b"")
    data = {
        "interface-types": ["uefi"], "features": features, "targets": [{"architecture": "x86_64", "machines": ["q35"]}],
        "mapping": {"executable": {"filename": str(folder / f"{name}.code")},
                    "nvram-template": {"filename": str(folder / f"{name}.vars")}},
        **changes,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(data))


def test_this_host_has_all_that_windows_11_asks_for() -> None:
    assert find_missing(secure_boot=True, tpm=True) == ()


def test_without_firmware_its_package_is_told(tmp_path: Path) -> None:
    assert find_missing(folder=tmp_path) == ("ovmf",)
    (tmp_path / "broken.json").write_text("{")
    describe(tmp_path, "other", [], targets=[{"architecture": "aarch64", "machines": ["virt"]}])
    describe(tmp_path, "bios", [], **{"interface-types": ["bios"]})
    assert find_missing(folder=tmp_path) == ("ovmf",)
    describe(tmp_path, "plain", ["acpi-s3"])
    assert find_missing(folder=tmp_path) == ()
    assert find_missing(secure_boot=True, folder=tmp_path) == ("ovmf",)
    describe(tmp_path, "secure", ["secure-boot", "enrolled-keys", "requires-smm"])
    assert find_missing(secure_boot=True, folder=tmp_path) == ()


def test_a_description_of_files_that_are_gone_does_not_count(tmp_path: Path) -> None:
    describe(tmp_path, "plain", [])
    (tmp_path / "plain.vars").unlink()
    assert find_missing(folder=tmp_path) == ("ovmf",)


def test_the_error_holds_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _program, path=None: path if path is None else None)
    with pytest.raises(HostNotReady) as caught:
        check_firmware(secure_boot=True, tpm=True, folder=tmp_path)
    assert caught.value.exit_code is ExitCode.HOST_NOT_READY
    assert caught.value.hint == "sudo apt-get install ovmf swtpm swtpm-tools"
    assert "ovmf, swtpm, swtpm-tools" in caught.value.message
