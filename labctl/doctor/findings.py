"""Facts of the host to findings: what it can do, what it cannot, and the command that cures each problem."""

from dataclasses import dataclass
from enum import StrEnum

from labctl.doctor.facts import Capacity, Facts
from labctl.doctor.limits import LOG_FILES, NETWORK_WATCHES, TASKS, ClassLimits, Supply
from labctl.hypervisor.accelerator import QEMU_USER, Kind, Verdict
from labctl.language import _, decimal

GIB = 2**30
DISK_PROBLEM, DISK_WARNING = 5 * GIB, 20 * GIB  # an image and the overlays of one lab; those of a class
MEMORY_WARNING = 4 * GIB  # three small machines and the host
OPEN_FILES, PROCESSES, INOTIFY = 1024, 4096, 128
CLASS_LABS, CLASS_MACHINES = 24, 120  # the class that a host is measured against: 24 labs of 5 machines
FILES_ENOUGH, WATCHES_ENOUGH, TASKS_ENOUGH = 16384, 1024, 4194304  # what the cures raise the limits to


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing about the host.

    `code` is stable English; `text` is a sentence; `cure` a command to type, or empty; `automatic` says
    that `labctl doctor --fix` does the same.
    """

    code: str
    level: Level
    text: str
    cure: str = ""
    automatic: bool = False


def find_all(facts: Facts) -> tuple[Finding, ...]:
    """Return what there is to say about the host, in the order of a screen; the same facts give the same findings."""
    return tuple(judge(facts) for judge in _JUDGES)


def judge_programs(facts: Facts) -> Finding:
    """Judge whether all programs are installed."""
    if facts.missing:
        text = _("these packages are missing: {packages}").format(packages=", ".join(facts.missing))
        return Finding("programs", Level.PROBLEM, text, f"sudo apt-get install {' '.join(facts.missing)}")
    return Finding("programs", Level.OK, _("all programs that labctl runs are installed"))


def judge_libvirt(facts: Facts) -> Finding:
    """Judge whether libvirt answers."""
    libvirt = facts.libvirt
    if not libvirt.binding:
        text = _("Python cannot load libvirt: {detail}").format(detail=libvirt.message)
        return Finding("libvirt", Level.PROBLEM, text, "sudo apt-get install libvirt0 libvirt-daemon-system")
    if not libvirt.answers:
        return Finding("libvirt", Level.PROBLEM, libvirt.message, libvirt.hint)
    text = _("libvirt {version} answers, with hypervisor {hypervisor}")
    return Finding("libvirt", Level.OK, text.format(version=libvirt.versions[0], hypervisor=libvirt.versions[1]))


def judge_qemu(facts: Facts) -> Finding:
    """Judge whether QEMU is there."""
    if not facts.qemu:
        return Finding("qemu", Level.PROBLEM, _("QEMU is not installed"), "sudo apt-get install qemu-system-x86")
    return Finding("qemu", Level.OK, _("QEMU {version} is installed").format(version=facts.qemu))


def judge_accelerator(facts: Facts) -> Finding:
    """Judge what runs the guests' instructions, and why."""
    found = facts.accelerator
    if found is None:
        text = _("it is unknown whether KVM works here")
        return Finding("accelerator", Level.WARNING, text, "sudo labctl doctor")
    if found.kind is Kind.KVM:
        return Finding("accelerator", Level.OK, _("machines run under KVM: {reason}").format(reason=found.reason))
    text = _("machines run under TCG, about {factor:.0f} times slower than KVM: {reason}")
    text = text.format(factor=found.factor, reason=found.reason)
    if found.verdict is Verdict.FORBIDDEN_TO_QEMU:
        # measured with libvirt 9.0: it finds its knowledge of QEMU outdated each time
        text += " " + _("(libvirt also examines QEMU again before each request, which takes seconds)")
    automatic = found.verdict is Verdict.FORBIDDEN_TO_QEMU
    return Finding("accelerator", Level.WARNING, text, _ACCELERATOR_CURES[found.verdict], automatic)


_ACCELERATOR_CURES = {
    Verdict.WORKS: "",
    Verdict.ABSENT: "sudo modprobe -a kvm_intel kvm_amd",
    Verdict.FORBIDDEN: "sudo labctl doctor",
    Verdict.FORBIDDEN_TO_QEMU: "sudo sh -c 'chgrp kvm /dev/kvm && chmod 660 /dev/kvm'",
    Verdict.SILENT: "",
    Verdict.REFUSED: "",
    Verdict.NOT_PROBED: "labctl image build debian-13",
}


def judge_clone_engine(facts: Facts) -> Finding:
    """Judge whether machines can be frozen and cloned."""
    if not facts.libvirt.answers:
        text = _("whether machines can be saved and restored is unknown while libvirt does not answer")
        return Finding("clone-engine", Level.WARNING, text, facts.libvirt.hint)
    if facts.deliveries is None:
        text = _("libvirt can save and restore machines; the self-test of instant clones has not been run")
        return Finding("clone-engine", Level.OK, text, "sudo labctl doctor")
    from labctl.hypervisor.trial import best_delivery  # it needs libvirt, which this host has, since it answers

    best = best_delivery(facts.deliveries)
    if best is None:
        text = _("instant clones do not work here, so that labs boot, which takes minutes: {reason}")
        text = text.format(reason=next(iter(facts.deliveries.values())))
        return Finding("clone-engine", Level.WARNING, text, "sudo tail /var/log/libvirt/libvirtd.log")
    works = ", ".join(delivery.value for delivery, reason in facts.deliveries.items() if not reason)
    text = _("machines are cloned with their memory, by {best}; this host can do: {works}")
    return Finding("clone-engine", Level.OK, text.format(best=best.value, works=works))


def judge_disk(facts: Facts) -> Finding:
    """Judge the space for disks of machines."""
    if facts.disk is None:
        return _unknown("disk", _("the free disk space is unknown"))
    text = _("{free} GiB of {total} GiB are free for {home}")
    text = text.format(free=gib(facts.disk.free), total=gib(facts.disk.total), home=facts.home)
    return Finding("disk", _level(facts.disk.free, DISK_WARNING, DISK_PROBLEM), text, _when_low(facts.disk))


def _when_low(disk: Capacity) -> str:
    return "labctl image list" if disk.free < DISK_WARNING else ""


def judge_memory(facts: Facts) -> Finding:
    """Judge the memory and swap."""
    if facts.memory is None:
        return _unknown("memory", _("the memory is unknown"))
    text = _("{free} GiB of {total} GiB of memory are available, with {swap} GiB of swap")
    swap = facts.swap.total if facts.swap else 0
    text = text.format(free=gib(facts.memory.free), total=gib(facts.memory.total), swap=gib(swap))
    cure = "free -h" if facts.memory.free < MEMORY_WARNING else ""
    return Finding("memory", _level(facts.memory.free, MEMORY_WARNING), text, cure)


def judge_merging(facts: Facts) -> Finding:
    """Judge kernel samepage merging, which is a choice: it saves memory and has a side channel."""
    if facts.merging is None:
        return Finding("ksm", Level.OK, _("this kernel cannot merge the memory that clones share (KSM)"))
    if not facts.merging.running:
        text = _("KSM is off: clones do not share memory, as it should be during an exam")
        return Finding("ksm", Level.OK, text, "sudo labctl doctor --ksm on", automatic=True)
    text = _("KSM runs and saves {saved} GiB; during an exam it would let one machine guess at another's memory")
    return Finding("ksm", Level.OK, text.format(saved=gib(facts.merging.saved)), "sudo labctl doctor --ksm off")


def judge_ipv6(facts: Facts) -> Finding:
    """Judge IPv6, without which labctl cannot reach its machines."""
    if facts.ipv6 is None:
        return _unknown("ipv6", _("whether IPv6 is on is unknown"))
    if facts.ipv6:
        return Finding("ipv6", Level.OK, _("IPv6 is on: machines are reached by their link-local addresses"))
    text = _("IPv6 is off, but labctl reaches its machines by IPv6 link-local addresses")
    cure = "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0"
    return Finding("ipv6", Level.PROBLEM, text, cure)


def judge_bridges(facts: Facts) -> Finding:
    """Judge whether the host's packet filter stands between guests of one network."""
    cure = "sudo sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0"
    if facts.bridge_filter is None:
        return _unknown("bridge-filter", _("whether the host filters traffic inside bridges is unknown"))
    if not facts.bridge_filter:
        return Finding("bridge-filter", Level.OK, _("traffic inside a lab network does not pass the host's filter"))
    if facts.forward_drop:
        text = _("the host drops traffic between machines of one network (bridge-nf and FORWARD DROP, as Docker sets)")
        return Finding("bridge-filter", Level.PROBLEM, text, cure, automatic=True)
    text = _("traffic between machines of one network passes the host's filter, whose rules may drop it")
    return Finding("bridge-filter", Level.WARNING, text, cure, automatic=True)


def judge_limits(facts: Facts) -> Finding:
    """Judge the limits for open files, processes and inotify."""
    limits = facts.limits
    if limits is None:
        return _unknown("limits", _("the limits of this session are unknown"))
    inotify = limits.inotify_instances
    if limits.open_files[0] < OPEN_FILES:
        text = _("only {number} files may be open at once").format(number=limits.open_files[0])
        return Finding("limits", Level.WARNING, text, f"ulimit -n {min(limits.open_files[1], 65536)}")
    if limits.processes < PROCESSES:
        text = _("only {number} processes may run at once").format(number=limits.processes)
        return Finding("limits", Level.WARNING, text, f"sudo prlimit --pid $$ --nproc={4 * PROCESSES}")
    if inotify is not None and inotify < INOTIFY:
        text = _("only {number} programs of one user may watch files (inotify)").format(number=inotify)
        cure = f"sudo sysctl -w fs.inotify.max_user_instances={WATCHES_ENOUGH}"
        return Finding("limits", Level.WARNING, text, cure, automatic=True)
    return Finding("limits", Level.OK, _("the limits for open files, processes and inotify are high enough"))


def judge_class(facts: Facts) -> Finding:
    """Judge the limits that 24 labs of 5 machines would reach before the memory does, F-46."""
    limits = facts.class_limits
    if limits is None:
        return _unknown("class-limits", _("what limits a class is unknown while libvirt does not answer"))
    texts = {
        "libvirt": _("libvirt may open {free} more files, and a class of {labs} labs with 5 machines takes {need}"),
        "virtlogd": _("virtlogd may open {free} more files, and a class of {labs} labs with 5 machines takes {need}"),
        "tasks": _("{free} more threads may run, and a class of {labs} labs with 5 machines takes {need}"),
        "inotify": _("{free} more programs of root may watch files, and a class of {labs} labs takes {need} (dnsmasq)"),
    }
    for limit, (supply, need, cure) in class_needs(limits).items():
        if supply is not None and supply.free < need:
            text = texts[limit].format(free=supply.free, labs=CLASS_LABS, need=need)
            return Finding("class-limits", Level.WARNING, text, cure, automatic=True)
    text = _("the host's limits allow a class of {labs} labs with 5 machines; `labctl plan --class` tells about memory")
    return Finding("class-limits", Level.OK, text.format(labs=CLASS_LABS))


def class_needs(limits: ClassLimits) -> dict[str, tuple[Supply | None, int, str]]:
    """Return for each limit what is left of it, what the class would take, and the command that raises it."""
    files = f"sudo prlimit --nofile={FILES_ENOUGH}:{FILES_ENOUGH} --pid $(cat /run/{{}}.pid)"
    return {
        "libvirt": (limits.libvirt_files, CLASS_MACHINES * limits.files_each, files.format(limits.daemon)),
        "virtlogd": (limits.log_files, CLASS_MACHINES * LOG_FILES, files.format("virtlogd")),
        "tasks": (limits.tasks, CLASS_MACHINES * TASKS, f"sudo sysctl -w kernel.pid_max={TASKS_ENOUGH}"),
        "inotify": (
            limits.watches, CLASS_LABS * NETWORK_WATCHES,
            f"sudo sysctl -w fs.inotify.max_user_instances={WATCHES_ENOUGH}",
        ),
    }  # fmt: skip


def judge_apparmor(facts: Facts) -> Finding:
    """Judge whether guests are confined."""
    if facts.apparmor is None:
        return _unknown("apparmor", _("whether AppArmor is on is unknown"))
    if facts.apparmor:
        return Finding("apparmor", Level.OK, _("AppArmor is on and confines each machine"))
    text = _("AppArmor is off: only the user and the sandbox of QEMU keep a machine from the host")
    return Finding("apparmor", Level.WARNING, text, "sudo apt-get install apparmor")


def judge_qemu_user(facts: Facts) -> Finding:
    """Judge who runs the guests: never root, SEC-04."""
    if facts.qemu_user is None:
        return Finding("qemu-user", Level.OK, _("the user that runs machines is the distribution's choice"))
    if facts.qemu_user in {"root", "+0", "0"}:
        text = _("/etc/libvirt/qemu.conf runs machines as root: whoever breaks out of one owns the host")
        return Finding("qemu-user", Level.PROBLEM, text, "sudo sed -i '/^ *user *=/d' /etc/libvirt/qemu.conf")
    text = _('machines run as the user "{user}"').format(user=facts.qemu_user or QEMU_USER)
    return Finding("qemu-user", Level.OK, text)


def judge_home(facts: Facts) -> Finding:
    """Judge whether guests can reach their disks."""
    if facts.closed_folder is not None:
        text = _('the user "{user}", who runs machines, cannot enter the folder "{folder}"')
        text = text.format(user=QEMU_USER, folder=facts.closed_folder)
        return Finding("home", Level.PROBLEM, text, f"sudo chmod o+x {facts.closed_folder}", automatic=True)
    return Finding("home", Level.OK, _("machines can reach their disks in {home}").format(home=facts.home))


def judge_windows(facts: Facts) -> Finding:
    """Judge whether machines of Windows can be made, which is a choice: their programs are not installed for all."""
    if facts.windows_missing is None:
        return _unknown("windows", _("whether Windows can be installed here is unknown"))
    if facts.windows_missing:
        text = _("images of Windows, whose machines start by UEFI, need packages that are not installed: {packages}")
        packages = facts.windows_missing
        text = text.format(packages=", ".join(packages))
        return Finding("windows", Level.OK, text, f"sudo apt-get install {' '.join(packages)}")
    return Finding("windows", Level.OK, _("Windows can be installed from the school's discs (UEFI, secure boot, TPM)"))


def gib(size: int) -> str:
    """Return a size in bytes as GiB with one decimal."""
    return decimal(size / GIB)


def _unknown(code: str, text: str) -> Finding:
    return Finding(code, Level.WARNING, text, "sudo labctl doctor")


def _level(value: int, warning: int, problem: int = 0) -> Level:
    if value < problem:
        return Level.PROBLEM
    return Level.WARNING if value < warning else Level.OK


_JUDGES = (
    judge_programs,
    judge_libvirt,
    judge_qemu,
    judge_accelerator,
    judge_clone_engine,
    judge_disk,
    judge_memory,
    judge_merging,
    judge_ipv6,
    judge_bridges,
    judge_limits,
    judge_class,
    judge_apparmor,
    judge_qemu_user,
    judge_home,
    judge_windows,
)
