"""Cures, on a host made of folders; each changes something once."""

import os
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.doctor.cures import (
    Host,
    cure_all,
    cure_bridges,
    cure_device,
    cure_files,
    cure_folders,
    cure_threads,
    cure_watches,
)
from tests.doctor.test_limits import Kernel

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    kernel = Kernel(tmp_path)
    merging = tmp_path / "ksm"
    for name, value in {"run": 0, "pages_to_scan": 100, "sleep_millisecs": 20, "pages_sharing": 0}.items():
        kernel.write(merging / name, f"{value}\n")
    return Host(
        home=Path("/"), proc=kernel.proc, run=kernel.run, cgroups=kernel.cgroups, merging=merging,
        merging_kept=tmp_path / "etc" / "ksm.conf", settings_kept=tmp_path / "etc" / "sysctl.conf",
        device=tmp_path / "kvm",
    )  # fmt: skip


def sysctl(host: Host, name: str) -> str:
    return host.proc.joinpath("sys", *name.split(".")).read_text().strip()


@needs_root
def test_everything_is_cured_once(host: Host) -> None:
    bridge = host.proc / "sys" / "net" / "bridge"
    bridge.mkdir(parents=True)
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        (bridge / name).write_text("1\n")
    done = list(cure_all(host))
    assert len(done) == 2, done
    assert "bridges" in done[0]
    assert "KSM is on" in done[1]
    assert (host.merging / "run").read_text() == "1"
    assert list(cure_all(host)) == []


@needs_root
def test_merging_can_be_left_out(host: Host) -> None:
    assert list(cure_all(host, merging=False)) == []
    assert (host.merging / "run").read_text() == "0\n"
    assert not host.merging_kept.exists()


@needs_root
def test_a_kernel_without_merging_is_no_failure(host: Host) -> None:
    shutil.rmtree(host.merging)
    assert list(cure_all(host)) == []


def test_watches_are_raised_where_a_class_of_dnsmasq_would_not_fit(host: Host) -> None:  # F-46
    assert list(cure_watches(host)) == []
    Kernel(host.proc.parent).start(1, "systemd", ["anon_inode:inotify"] * 110)
    if os.geteuid() == 0:  # others do not see root's
        assert len(list(cure_watches(host))) == 1
        assert sysctl(host, "fs.inotify.max_user_instances") == "1024"
    (host.proc / "sys/fs/inotify/max_user_instances").write_text("64\n")
    assert len(list(cure_watches(host))) == 1
    assert host.settings_kept.read_text() == "fs.inotify.max_user_instances = 1024\n"
    assert list(cure_watches(host)) == []


def test_threads_are_raised_and_the_other_settings_kept(host: Host) -> None:
    host.settings_kept.parent.mkdir()
    host.settings_kept.write_text("fs.inotify.max_user_instances = 1024\nkernel.pid_max = 1\n")
    (host.proc / "sys/kernel/pid_max").write_text("900\n")
    assert len(list(cure_threads(host))) == 1
    assert sysctl(host, "kernel.pid_max") == "4194304"
    assert host.settings_kept.read_text().splitlines() == [
        "fs.inotify.max_user_instances = 1024", "kernel.pid_max = 4194304",
    ]  # fmt: skip
    assert list(cure_threads(host)) == []


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as child:
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (256, 20000))
        yield child.pid
        child.kill()


def test_a_daemon_gets_files_for_a_class(host: Host, sleeper: int) -> None:
    kernel = Kernel(host.proc.parent)
    kernel.daemon(sleeper, "libvirtd", [], files="256")
    assert len(list(cure_files(host))) == 1
    assert resource.prlimit(sleeper, resource.RLIMIT_NOFILE) == (16384, 20000)
    kernel.write(host.proc / str(sleeper) / "limits", "Max open files 16384 20000 files\n")
    assert list(cure_files(host)) == []


@needs_root
def test_kvm_is_given_to_its_group_with_the_modes_it_had(host: Host) -> None:
    users = subprocess.run(["getent", "group", "kvm"], capture_output=True, text=True, check=False).stdout
    if not users:
        pytest.skip("this host has no group kvm")
    assert list(cure_device(host)) == []  # no such device
    host.device.touch(mode=0o600)
    assert len(list(cure_device(host))) == 1
    found = host.device.stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (int(users.split(":")[2]), 0o660)
    assert list(cure_device(host)) == []


def test_the_filter_of_bridges_that_is_not_there_is_left_alone(host: Host) -> None:
    assert list(cure_bridges(host)) == []
    assert not (host.proc / "sys" / "net").exists()


@needs_root
def test_every_closed_folder_on_the_way_is_opened_for_walking_only(host: Host) -> None:
    with tempfile.TemporaryDirectory(prefix="lctest-", dir="/var/tmp") as name:  # pytest's own folder is closed
        outer = Path(name)
        (outer / "inner").mkdir(mode=0o700)
        mine = Host(home=outer / "inner" / "home", proc=host.proc, run=host.run)
        done = list(cure_folders(mine))
        if not done:
            pytest.skip("libvirt is not installed: there is no user of its machines")
        assert [str(outer) in line for line in done] == [True, True]
        assert [stat.S_IMODE(path.stat().st_mode) for path in (outer, outer / "inner")] == [0o701, 0o701]
        assert list(cure_folders(mine)) == []
