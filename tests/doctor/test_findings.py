from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.doctor.facts import Capacity, Facts, LibvirtFacts, LimitFacts
from labctl.doctor.findings import GIB, Finding, Level, find_all
from labctl.doctor.limits import ClassLimits, Supply
from labctl.doctor.merging import Merging
from labctl.hypervisor.accelerator import Accelerator, Kind, Verdict
from labctl.hypervisor.delivery import Delivery

HEALTHY = Facts(
    home=Path("/var/lib/labctl"),
    libvirt=LibvirtFacts(answers=True, versions=("9.0.0", "7.2.22")),
    qemu="7.2.22",
    accelerator=Accelerator(Kind.KVM, Verdict.WORKS),
    missing=(),
    disk=Capacity(free=200 * GIB, total=250 * GIB),
    memory=Capacity(free=20 * GIB, total=24 * GIB),
    swap=Capacity(free=0, total=0),
    merging=Merging(running=False, saved=0),
    ipv6=True,
    bridge_filter=False,
    forward_drop=False,
    limits=LimitFacts(open_files=(1024, 1048576), processes=2**62, inotify_instances=128),
    class_limits=ClassLimits(0, Supply(30, 8192), Supply(12, 16384), Supply(300, 32768), Supply(9, 128)),
    apparmor=True,
    qemu_user="",
    closed_folder=None,
    deliveries={Delivery.FIFO: "", Delivery.REFLINK: "not supported", Delivery.COPY: ""},
    windows_missing=(),
)


def finding(code: str, **changes: Any) -> Finding:
    found = [each for each in find_all(replace(HEALTHY, **changes)) if each.code == code]
    assert len(found) == 1
    return found[0]


def test_a_healthy_host_has_no_problem_and_fits_a_screen() -> None:
    findings = find_all(HEALTHY)
    assert {each.level for each in findings} == {Level.OK}
    assert len(findings) <= 20
    assert find_all(HEALTHY) == findings


def test_a_host_that_cannot_install_windows_is_told_how_and_has_no_problem() -> None:
    found = finding("windows", windows_missing=("ovmf", "swtpm"))
    assert (found.level, found.cure) == (Level.OK, "sudo apt-get install ovmf swtpm")
    assert "ovmf, swtpm" in found.text
    assert finding("windows", windows_missing=None).level is Level.WARNING


TROUBLES: list[tuple[str, dict[str, Any], Level, str, str]] = [
    (
        "programs",
        {"missing": ("fdisk", "graphviz")},
        Level.PROBLEM,
        "fdisk, graphviz",
        "apt-get install fdisk graphviz",
    ),
    ("libvirt", {"libvirt": LibvirtFacts(False, message="not reached", hint="go")}, Level.PROBLEM, "not reached", "go"),
    ("libvirt", {"libvirt": LibvirtFacts(False, message="no lib", binding=False)}, Level.PROBLEM, "no lib", "libvirt0"),
    ("clone-engine", {"libvirt": LibvirtFacts(False, hint="go")}, Level.WARNING, "unknown", "go"),
    ("qemu", {"qemu": ""}, Level.PROBLEM, "not installed", "qemu-system-x86"),
    ("accelerator", {"accelerator": None}, Level.WARNING, "unknown", "doctor"),
    ("disk", {"disk": Capacity(4 * GIB, 9 * GIB)}, Level.PROBLEM, "4.0 GiB of 9.0 GiB", "image list"),  # F-15
    ("disk", {"disk": Capacity(19 * GIB, 90 * GIB)}, Level.WARNING, "19.0 GiB", "image list"),
    ("disk", {"disk": None}, Level.WARNING, "unknown", "doctor"),
    ("memory", {"memory": Capacity(1 * GIB, 2 * GIB)}, Level.WARNING, "1.0 GiB of 2.0 GiB", "free"),  # F-26
    ("ipv6", {"ipv6": False}, Level.PROBLEM, "off", "disable_ipv6=0"),
    ("bridge-filter", {"bridge_filter": True}, Level.WARNING, "may drop", "bridge-nf-call-iptables=0"),
    ("bridge-filter", {"bridge_filter": True, "forward_drop": True}, Level.PROBLEM, "Docker", "iptables=0"),  # F-47
    ("limits", {"limits": LimitFacts((256, 4096), 9999, 128)}, Level.WARNING, "256 files", "ulimit -n 4096"),  # F-46
    ("limits", {"limits": LimitFacts((1024, 4096), 500, 128)}, Level.WARNING, "500 processes", "prlimit"),
    ("limits", {"limits": LimitFacts((1024, 4096), 9999, 8)}, Level.WARNING, "inotify", "max_user_instances"),
    (  # F-46: 120 machines, 8 files each
        "class-limits",
        {"class_limits": ClassLimits(0, Supply(100, 1024))},
        Level.WARNING,
        "924 more files, and a class of 24 labs with 5 machines takes 960",
        "prlimit --nofile=16384:16384 --pid $(cat /run/libvirtd.pid)",
    ),
    ("class-limits", {"class_limits": ClassLimits(0, None, Supply(600, 1024))}, Level.WARNING, "480", "virtlogd.pid"),
    ("class-limits", {"class_limits": ClassLimits(tasks=Supply(200, 1000))}, Level.WARNING, "800 more", "pid_max"),
    ("class-limits", {"class_limits": ClassLimits(watches=Supply(110, 128))}, Level.WARNING, "18 more", "instances"),
    ("class-limits", {"class_limits": None}, Level.WARNING, "unknown", "doctor"),
    (
        "clone-engine",
        {"deliveries": dict.fromkeys(Delivery, "no room")},
        Level.WARNING,
        "labs boot, which takes minutes: no room",
        "libvirtd.log",
    ),
    ("apparmor", {"apparmor": False}, Level.WARNING, "off", "apparmor"),
    ("qemu-user", {"qemu_user": "root"}, Level.PROBLEM, "as root", "qemu.conf"),  # SEC-04
    ("home", {"closed_folder": Path("/root")}, Level.PROBLEM, '"/root"', "chmod o+x /root"),
]


@pytest.mark.parametrize(("code", "changes", "level", "says", "cure"), TROUBLES)
def test_each_trouble_is_told_with_its_cure(
    code: str, changes: dict[str, Any], level: Level, says: str, cure: str
) -> None:
    found = finding(code, **changes)
    assert found.level is level
    assert says in found.text
    assert cure in found.cure


def test_the_way_of_cloning_is_told() -> None:
    assert "by fifo; this host can do: fifo, copy" in finding("clone-engine").text
    only = {Delivery.FIFO: "broken", Delivery.REFLINK: "broken", Delivery.COPY: ""}
    assert "by copy; this host can do: copy" in finding("clone-engine", deliveries=only).text


def test_merging_is_a_choice_whose_danger_is_told() -> None:
    assert finding("ksm").cure == "sudo labctl doctor --ksm on"
    on = finding("ksm", merging=Merging(running=True, saved=3 * GIB))
    assert (on.level, on.cure) == (Level.OK, "sudo labctl doctor --ksm off")
    assert "saves 3.0 GiB" in on.text
    assert "exam" in on.text


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.WORKS])
def test_emulation_is_a_warning_with_its_reason(verdict: Verdict) -> None:  # F-48
    found = finding("accelerator", accelerator=Accelerator(Kind.TCG, verdict, "detail of QEMU"))
    assert found.level is Level.WARNING
    assert "12 times slower" in found.text
    assert Accelerator(Kind.TCG, verdict, "detail of QEMU").reason in found.text


def test_a_host_of_which_nothing_can_be_read_still_gives_every_finding() -> None:
    readable = {"home", "libvirt", "qemu", "missing"}
    nothing: dict[str, Any] = {name: None for name in vars(HEALTHY) if name not in readable}
    blind = replace(HEALTHY, **nothing)
    assert [each.code for each in find_all(blind)] == [each.code for each in find_all(HEALTHY)]
