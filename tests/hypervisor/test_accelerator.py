import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl.errors import HostNotReady
from labctl.hypervisor.accelerator import Accelerator, Kind, Verdict, probe_accelerator

FakeQemu = Callable[[str], Path]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the user who runs guests can search; pytest's own is closed to it."""
    with tempfile.TemporaryDirectory(prefix="lctest-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def device(open_folder: Path) -> Path:
    path = open_folder / "kvm"
    path.touch()
    path.chmod(0o666)
    return path


@pytest.fixture
def image(open_folder: Path) -> Path:
    path = open_folder / "debian.raw"
    path.write_bytes(b"\0" * 512)
    return path


@pytest.fixture
def fake_qemu(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQemu:
    """Put a program named as QEMU first in PATH; it tells its version and else does what it is given."""

    def make(boots: str) -> Path:
        program = open_folder / "qemu-system-x86_64"
        program.write_text(
            "#!/bin/sh\n"
            '[ "$1" = --version ] && { echo "QEMU emulator version 9.9.9 (fake)"; exit; }\n'
            f'echo "$*" >> {open_folder}/boots\n{boots}\n'
        )
        program.chmod(0o755)
        (open_folder / "boots").touch()
        (open_folder / "boots").chmod(0o666)
        monkeypatch.setenv("PATH", f"{open_folder}:{os.environ['PATH']}")
        return open_folder / "boots"

    return make


def test_no_device_means_tcg_at_once_and_is_told(tmp_path: Path) -> None:  # F-48
    found = probe_accelerator(tmp_path, device=tmp_path / "kvm")
    assert (found.kind, found.verdict, found.factor) == (Kind.TCG, Verdict.ABSENT, 12.0)
    assert found.reason == "this host has no /dev/kvm"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is not stopped by the mode of a file")
def test_a_device_that_only_root_may_open_is_no_use_to_guests(tmp_path: Path, device: Path) -> None:
    device.chmod(0o600)
    assert probe_accelerator(tmp_path, device=device).verdict is Verdict.FORBIDDEN_TO_QEMU


def test_a_kernel_that_speaks_proves_kvm_and_is_remembered(
    tmp_path: Path, device: Path, image: Path, fake_qemu: FakeQemu
) -> None:
    boots = fake_qemu("printf 'GRUB loading...\\n[    0.000000] Linux version 6.12\\n'; sleep 60")
    began = time.monotonic()
    found = probe_accelerator(tmp_path, image, device=device)
    assert found == Accelerator(Kind.KVM, Verdict.WORKS)
    assert found.factor == 1.0
    assert time.monotonic() - began < 10
    assert f"file={image},format=raw,if=virtio,snapshot=on" in boots.read_text()

    assert probe_accelerator(tmp_path, image, device=device) == found
    assert probe_accelerator(tmp_path, None, device=device) == found
    assert len(boots.read_text().splitlines()) == 1
    assert stat.S_IMODE((tmp_path / "accelerator.json").stat().st_mode) == 0o644


def test_a_kernel_that_stays_silent_means_tcg_after_the_deadline(
    tmp_path: Path, device: Path, image: Path, fake_qemu: FakeQemu
) -> None:  # F-48
    boots = fake_qemu("echo 'Loading Linux 6.12.0 ...'; exec sleep 60")
    found = probe_accelerator(tmp_path, image, device=device, seconds=0.5)
    assert found == Accelerator(Kind.TCG, Verdict.SILENT)
    assert probe_accelerator(tmp_path, image, device=device) == found
    assert len(boots.read_text().splitlines()) == 1


def test_a_refusal_by_qemu_is_told_and_tried_again(
    tmp_path: Path, device: Path, image: Path, fake_qemu: FakeQemu
) -> None:
    boots = fake_qemu("echo 'failed to set MSR 0x10a' >&2; exit 1")
    for attempt in (1, 2):
        found = probe_accelerator(tmp_path, image, device=device)
        assert (found.kind, found.verdict) == (Kind.TCG, Verdict.REFUSED)
        assert "failed to set MSR 0x10a" in found.reason
        assert len(boots.read_text().splitlines()) == attempt


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", '{"key": 1, "kind": "kvm"}'])
def test_a_cache_that_cannot_be_read_is_no_cache(
    tmp_path: Path, device: Path, fake_qemu: FakeQemu, text: str
) -> None:  # F-19
    fake_qemu("exit 1")
    (tmp_path / "accelerator.json").write_text(text, encoding="latin-1")
    assert probe_accelerator(tmp_path, device=device).verdict is Verdict.NOT_PROBED


def test_a_verdict_does_not_outlive_the_boot_of_the_host(
    tmp_path: Path, device: Path, image: Path, fake_qemu: FakeQemu
) -> None:
    fake_qemu("echo 'Linux version 6.12'")
    probe_accelerator(tmp_path, image, device=device)
    cache = tmp_path / "accelerator.json"
    known = json.loads(cache.read_text())
    known["key"]["boot"] = "another"
    cache.write_text(json.dumps(known))
    assert probe_accelerator(tmp_path, device=device).verdict is Verdict.NOT_PROBED


def test_a_home_that_cannot_be_written_changes_nothing_about_the_answer(
    tmp_path: Path, device: Path, image: Path, fake_qemu: FakeQemu
) -> None:
    fake_qemu("echo 'Linux version 6.12'")
    assert probe_accelerator(tmp_path / "missing", image, device=device).kind is Kind.KVM


def test_no_qemu_is_told(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostNotReady, match="qemu-system-x86_64"):
        probe_accelerator(tmp_path, device=device)
