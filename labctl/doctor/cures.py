"""A host to what was cured there: only what is safe, automatic and changes nothing the second time."""

import grp
import os
import resource
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl.doctor.facts import find_closed_folder, read_bridge_filter
from labctl.doctor.findings import CLASS_MACHINES, FILES_ENOUGH, INOTIFY, TASKS_ENOUGH, WATCHES_ENOUGH, class_needs
from labctl.doctor.limits import CGROUPS, PROC, RUN, ClassLimits, find_daemon, read_class_limits
from labctl.doctor.merging import KEPT, KERNEL, set_merging
from labctl.errors import HostNotReady, LabctlError
from labctl.hypervisor.accelerator import DEVICE, Verdict, find_obstacle
from labctl.language import _

READ_AND_WRITE = 0o660
SEARCHABLE = 0o001


@dataclass(frozen=True)
class Host:
    """The places of the host that are looked at and changed; tests have their own. `home` is that of labctl."""

    home: Path
    proc: Path = PROC
    run: Path = RUN
    cgroups: Path = CGROUPS
    merging: Path = KERNEL
    merging_kept: Path = KEPT
    settings_kept: Path = Path("/etc/sysctl.d/60-labctl.conf")  # sysctl.d(5): applied at each start
    device: Path = DEVICE
    device_group: str = "kvm"

    def read_limits(self) -> ClassLimits:
        """Return what is left for a class."""
        return read_class_limits(self.proc, self.run, self.cgroups)


def cure_all(host: Host, *, merging: bool = True) -> Iterator[str]:
    """Cure what can be cured, and tell each change in a sentence once it is done.

    `merging` switches KSM on, which is for lessons and not for exams. What the host cannot do is left as it is,
    for the findings to tell. Raises HostNotReady where we are not root, LabctlError for a change that fails.
    """
    if os.geteuid() != 0:
        raise HostNotReady(_("only root may change the host"), hint="sudo labctl doctor --fix")
    try:
        for cure in (cure_device, cure_bridges, cure_watches, cure_threads, cure_files, cure_folders):
            yield from cure(host)
        if merging and (host.merging / "run").exists():
            yield from cure_merging(host)
    except OSError as exc:
        text = _('"{path}" cannot be changed: {reason}')
        raise LabctlError(
            text.format(path=exc.filename or "rlimit", reason=exc.strerror), hint="labctl doctor"
        ) from exc


def cure_merging(host: Host) -> Iterator[str]:
    """Switch KSM on, now and at each start."""
    if set_merging(True, host.merging, host.merging_kept):
        text = _("KSM is on, now and after each start of the host ({path}); off for an exam: {command}")
        yield text.format(path=host.merging_kept, command="sudo labctl doctor --ksm off")


def cure_device(host: Host) -> Iterator[str]:
    """Let the group of those who run machines use KVM, as Debian's udev rule does."""
    if find_obstacle(host.device) is not Verdict.FORBIDDEN_TO_QEMU:
        return
    try:
        group = grp.getgrnam(host.device_group).gr_gid
    except KeyError:
        return
    os.chown(host.device, -1, group)
    host.device.chmod(stat.S_IMODE(host.device.stat().st_mode) | READ_AND_WRITE)
    yield _('the group "{group}" may use {path}').format(group=host.device_group, path=host.device)


def cure_bridges(host: Host) -> Iterator[str]:
    """Take the host's packet filter out of bridges; not for the next start, where Docker would set it again."""
    folder = host.proc / "sys" / "net" / "bridge"
    if not read_bridge_filter(folder):
        return
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        (folder / name).write_text("0", encoding="ascii")
    yield _("traffic inside bridges no longer passes the host's filter, until the next start")


def cure_watches(host: Host) -> Iterator[str]:
    """Raise the number of inotify instances, now and at each start."""
    limits = host.read_limits()
    short = (
        limits is not None and limits.watches is not None and limits.watches.free < class_needs(limits)["inotify"][1]
    )
    few = read_number(host, "fs.inotify.max_user_instances")
    if few is not None and (few < INOTIFY or (short and few < WATCHES_ENOUGH)):
        yield from raise_setting(host, "fs.inotify.max_user_instances", WATCHES_ENOUGH)


def cure_threads(host: Host) -> Iterator[str]:
    """Raise the number of threads of the host, now and at each start."""
    limits = host.read_limits()
    few = read_number(host, "kernel.pid_max")
    if limits.tasks is None or few is None or few >= TASKS_ENOUGH:
        return
    if limits.tasks.free < class_needs(limits)["tasks"][1]:
        yield from raise_setting(host, "kernel.pid_max", TASKS_ENOUGH)


def read_number(host: Host, name: str) -> int | None:
    """Return a sysctl, None where this kernel or container has none."""
    try:
        return int(setting_file(host, name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def setting_file(host: Host, name: str) -> Path:
    """Return where a sysctl is written."""
    return host.proc.joinpath("sys", *name.split("."))


def raise_setting(host: Host, name: str, value: int) -> Iterator[str]:
    """Write a sysctl, and its line in the file that is read at each start."""
    setting_file(host, name).write_text(str(value), encoding="ascii")
    kept = host.settings_kept.read_text(encoding="utf-8").splitlines() if host.settings_kept.exists() else []
    others = [line for line in kept if line.partition("=")[0].strip() != name]
    host.settings_kept.parent.mkdir(parents=True, exist_ok=True)
    host.settings_kept.write_text("\n".join([*others, f"{name} = {value}"]) + "\n", encoding="utf-8")
    host.settings_kept.chmod(0o644)
    yield _("{name} is {value}, now and after each start of the host").format(name=name, value=value)


def cure_files(host: Host) -> Iterator[str]:
    """Let libvirt's daemons open enough files for a class, until they are started again."""
    limits = host.read_limits()
    needs = class_needs(limits)
    for name, code in ((limits.daemon, "libvirt"), ("virtlogd", "virtlogd")):
        supply, need, _cure = needs[code]
        pid = find_daemon(name, host.proc, host.run)
        if pid is None or supply is None or supply.free >= need or supply.limit >= FILES_ENOUGH:
            continue
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES_ENOUGH, max(hard, FILES_ENOUGH)))
        text = _("{name} may open {count} files, enough for {machines} machines, until it is started again")
        yield text.format(name=name, count=FILES_ENOUGH, machines=CLASS_MACHINES)


def cure_folders(host: Host) -> Iterator[str]:
    """Let the machines' user walk to their disks; it can list nothing on the way."""
    while (folder := find_closed(host.home)) is not None:
        before = stat.S_IMODE(folder.stat().st_mode)
        folder.chmod(before | SEARCHABLE)
        if find_closed(host.home) == folder:  # closed to that user in another way: by its group or an access list
            folder.chmod(before)
            return
        yield _('others may walk through "{folder}" (o+x), not list it').format(folder=folder)


def find_closed(home: Path) -> Path | None:
    """Return the next folder that the machines' user cannot enter; None where there is no such user either."""
    try:
        return find_closed_folder(home)
    except KeyError:
        return None
