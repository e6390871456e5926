"""Merging of memory: what a further lab costs, and the switch, on a folder that looks like the kernel's."""

import os
from pathlib import Path

import pytest

from labctl.doctor.merging import LEAST, UNMEASURED, Merging, further_lab_cost, read_merging, set_merging
from labctl.errors import HostNotReady, Refused

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    folder = tmp_path / "ksm"
    folder.mkdir()
    for name, value in {
        "run": "0", "pages_to_scan": "100", "sleep_millisecs": "20", "pages_sharing": "0", "pages_shared": "0",
    }.items():  # fmt: skip
        (folder / name).write_text(f"{value}\n")
    return folder


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


def test_on_is_for_now_and_for_each_start_and_the_second_time_changes_nothing(kernel: Path, tmp_path: Path) -> None:
    kept = tmp_path / "tmpfiles.d" / "labctl-ksm.conf"
    assert set_merging(True, kernel, kept)
    assert {"run": "1", "pages_to_scan": "3000", "sleep_millisecs": "20"}.items() <= read(kernel).items()
    assert kept.read_text().splitlines() == [
        f"w {kernel}/pages_to_scan - - - - 3000",
        f"w {kernel}/sleep_millisecs - - - - 20",
        f"w {kernel}/run - - - - 1",
    ]
    assert not set_merging(True, kernel, kept)
    kept.unlink()
    assert set_merging(True, kernel, kept)  # it would not survive the next start


def test_off_gives_each_machine_its_own_pages_again_and_stays_off(kernel: Path, tmp_path: Path) -> None:
    kept = tmp_path / "labctl-ksm.conf"
    set_merging(True, kernel, kept)
    (kernel / "pages_sharing").write_text("1000\n")
    (kernel / "pages_shared").write_text("10\n")
    assert set_merging(False, kernel, kept, room=1000 * PAGE)
    assert read(kernel)["run"] == "2"  # 0 would leave merged what is merged
    assert not kept.exists()
    (kernel / "pages_sharing").write_text("0\n")
    (kernel / "pages_shared").write_text("0\n")
    assert not set_merging(False, kernel, kept, room=0)


def test_pages_that_would_not_fit_any_more_stay_merged(kernel: Path, tmp_path: Path) -> None:
    kept = tmp_path / "labctl-ksm.conf"
    set_merging(True, kernel, kept)
    (kernel / "pages_sharing").write_text(f"{300 * MIB // PAGE}\n")
    with pytest.raises(Refused, match="300 MiB of memory are merged, and only 100 MiB") as caught:
        set_merging(False, kernel, kept, room=100 * MIB)
    assert "labctl down" in caught.value.hint
    assert read(kernel)["run"] == "1"
    assert kept.exists()


def test_the_kernels_own_advisor_gives_way(kernel: Path, tmp_path: Path) -> None:
    (kernel / "advisor_mode").write_text("none [scan-time]\n")
    set_merging(True, kernel, tmp_path / "kept")
    assert read(kernel)["advisor_mode"] == "none"


def test_a_kernel_without_merging(tmp_path: Path) -> None:
    with pytest.raises(HostNotReady, match="cannot merge"):
        set_merging(True, tmp_path / "none", tmp_path / "kept")
    assert not set_merging(False, tmp_path / "none", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_merged_pages_and_the_machines_memory_are_counted_in_bytes(kernel: Path, tmp_path: Path) -> None:
    (kernel / "run").write_text("1\n")
    (kernel / "pages_sharing").write_text("10\n")
    proc, run = tmp_path / "proc", tmp_path / "run"
    (run / "libvirt" / "qemu").mkdir(parents=True)
    for pid, pages in ((7, 100), (8, 50)):
        (run / "libvirt" / "qemu" / f"m{pid}.pid").write_text(str(pid))
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "comm").write_text("qemu-system-x86\n")
        (proc / str(pid) / "statm").write_text(f"900 {pages} 3 4 5 6 7\n")
    assert read_merging(kernel, proc, run) == Merging(True, 10 * PAGE, 150 * PAGE, 2)


def test_without_merging_each_lab_costs_the_same() -> None:
    assert further_lab_cost(None, 3) == 1
    assert further_lab_cost(Merging(running=False, saved=9, guests=10, machines=30), 3) == 1


def test_what_was_not_measured_is_guessed_with_care() -> None:
    assert further_lab_cost(Merging(running=True, saved=0), 3) == UNMEASURED
    assert further_lab_cost(Merging(running=True, saved=500, guests=1000, machines=6), 3) == UNMEASURED


def test_what_runs_tells_what_one_more_costs() -> None:
    # sixteen machines that took 6.7 GB, of which 3.7 GB were merged
    sixteen = Merging(running=True, saved=3734, guests=6700, machines=16)
    assert further_lab_cost(sixteen, 1) == pytest.approx(0.406, abs=0.001)
    # ten labs of one unit, of which the first keeps 1 and each other one half: 5.5 of 10 are left
    assert further_lab_cost(Merging(True, 4500, 10000, 30), 3) == pytest.approx(0.5)
    assert further_lab_cost(Merging(True, 1, 10000, 30), 3) == pytest.approx(1.0, abs=0.001)  # it has just begun
    assert further_lab_cost(Merging(True, 9900, 10000, 300), 3) == LEAST
