"""What is left for a class, read from folders that look like the kernel's and libvirt's."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.doctor.limits import (
    LIBVIRT_FILES,
    ClassLimits,
    Supply,
    files_each,
    find_guests,
    find_libvirt,
    read_class_limits,
    read_limit,
    read_tasks,
    read_watches,
)

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             400                  500                  processes
Max open files            {files}                 20000                files
"""


class Kernel:
    """A /proc, a /run and a /sys/fs/cgroup of a test."""

    def __init__(self, top: Path) -> None:
        self.proc, self.run, self.cgroups = top / "proc", top / "run", top / "cgroup"
        self.write(self.proc / "loadavg", "0.1 0.2 0.3 2/250 999\n")
        for name, value in {"pid_max": 32768, "threads-max": 9000}.items():
            self.write(self.proc / "sys" / "kernel" / name, f"{value}\n")
        self.write(self.proc / "sys" / "fs" / "inotify" / "max_user_instances", "128\n")

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, pid: int, name: str, descriptors: list[str], files: str = "1024") -> None:
        folder = self.proc / str(pid)
        self.write(folder / "comm", f"{name}\n")
        self.write(folder / "limits", LIMITS.format(files=files))
        self.write(folder / "cgroup", "0::/system.slice/libvirtd.service\n")
        (folder / "fd").mkdir()
        for number, target in enumerate(descriptors):
            (folder / "fd" / str(number)).symlink_to(target)

    def daemon(self, pid: int, name: str, descriptors: list[str], files: str = "1024") -> None:
        self.start(pid, name, descriptors, files)
        self.write(self.run / f"{name}.pid", str(pid))

    def guest(self, pid: int, name: str = "qemu-system-x86") -> None:
        self.start(pid, name, [])
        self.write(self.run / "libvirt" / "qemu" / f"dmz-{pid}.pid", f"{pid}\n")

    def read(self) -> ClassLimits:
        return read_class_limits(self.proc, self.run, self.cgroups)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_the_daemons_files_are_counted_against_their_limit(kernel: Kernel) -> None:  # F-46
    kernel.daemon(10, "libvirtd", ["/dev/null"] * 30)
    kernel.daemon(11, "virtlogd", ["/dev/null"] * 12, files="unlimited")
    limits = kernel.read()
    assert (limits.libvirt_files, limits.daemon) == (Supply(30, 1024), "libvirtd")
    assert limits.log_files == Supply(12, 2**62)
    assert limits.libvirt_files is not None
    assert limits.libvirt_files.free == 994


def test_the_modular_daemon_comes_first(kernel: Kernel) -> None:
    kernel.daemon(10, "libvirtd", [])
    assert find_libvirt(kernel.proc, kernel.run) == ("libvirtd", 10)
    kernel.daemon(12, "virtqemud", [])
    assert find_libvirt(kernel.proc, kernel.run) == ("virtqemud", 12)


def test_a_pid_that_is_somebody_elses_by_now_is_no_daemon_and_no_machine(kernel: Kernel) -> None:
    kernel.daemon(10, "libvirtd", [])
    kernel.write(kernel.proc / "10" / "comm", "bash\n")
    kernel.guest(20)
    kernel.guest(21, "bash")
    kernel.write(kernel.run / "libvirt" / "qemu" / "gone.pid", "22")
    kernel.write(kernel.run / "libvirt" / "qemu" / "torn.pid", "")
    assert find_libvirt(kernel.proc, kernel.run) == ("libvirtd", None)
    assert find_guests(kernel.proc, kernel.run) == (20,)


def test_a_daemon_that_opens_more_for_each_machine_is_believed() -> None:
    assert files_each(None, 10) == LIBVIRT_FILES
    assert files_each(Supply(4000, 8192), 0) == LIBVIRT_FILES
    assert files_each(Supply(90, 8192), 10) == LIBVIRT_FILES
    assert files_each(Supply(241, 8192), 10) == 21


def test_the_tightest_limit_for_threads_counts(kernel: Kernel) -> None:
    assert read_tasks(None, 0, kernel.proc, kernel.cgroups) == Supply(250, 9000)
    kernel.start(10, "libvirtd", [])
    assert read_tasks(10, 5, kernel.proc, kernel.cgroups) == Supply(40, 400)  # its user's processes
    group = kernel.cgroups / "system.slice" / "libvirtd.service"
    kernel.write(group / "pids.current", "20\n")
    kernel.write(group / "pids.max", "max\n")
    assert read_tasks(10, 5, kernel.proc, kernel.cgroups) == Supply(40, 400)
    kernel.write(group / "pids.max", "100\n")
    assert read_tasks(10, 5, kernel.proc, kernel.cgroups) == Supply(20, 100)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at the descriptors of others")
def test_the_inotify_instances_of_root_are_counted(kernel: Kernel) -> None:
    kernel.start(1, "systemd", ["anon_inode:inotify", "/dev/null", "anon_inode:inotify"])
    kernel.start(2, "dnsmasq", ["anon_inode:inotify"])  # it was root when it took its instance
    kernel.start(3, "editor", ["anon_inode:inotify"])
    for pid in ("2", "3"):
        os.chown(kernel.proc / pid, 65534, 65534)
    assert read_watches(kernel.proc) == Supply(3, 128)


def test_a_host_that_tells_nothing_gives_nothing(tmp_path: Path) -> None:
    assert read_class_limits(tmp_path, tmp_path, tmp_path) == ClassLimits()


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child.pid
        child.kill()


def test_the_real_kernels_tables_are_read(sleeper: int) -> None:
    assert read_limit(sleeper, "Max open files") >= 256
    tasks = read_class_limits().tasks
    assert tasks is not None
    assert 0 < tasks.used < tasks.limit
