"""The host to what doctor knows of it; whatever cannot be read is None, and nothing here raises."""

import os
import pwd
import re
import resource
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from labctl.doctor.limits import ClassLimits, read_class_limits
from labctl.doctor.merging import Merging, read_merging
from labctl.errors import LabctlError
from labctl.hypervisor.accelerator import QEMU_USER, Accelerator, probe_accelerator, qemu_version
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.firmware import find_missing
from labctl.program import run

T = TypeVar("T")

# The programs that labctl runs, with the package of each on Debian 12, 13 and Ubuntu 24.04
PACKAGES = {
    "libvirtd": "libvirt-daemon-system",
    "virtlogd": "libvirt-daemon-system",
    "dnsmasq": "dnsmasq-base",
    "nft": "nftables",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "grub-mkimage": "grub-common",
    "ssh": "openssh-client",
    "dot": "graphviz",
}
GRUB_BIOS = "grub-pc-bin"
_GRUB_MODULE = Path("/usr/lib/grub/i386-pc/biosdisk.mod")
_SEARCHABLE = 0o1


@dataclass(frozen=True)
class LibvirtFacts:
    """Whether libvirt answers; `message` and `hint` say why not. `versions` are of libvirt and the hypervisor."""

    answers: bool
    versions: tuple[str, str] = ("", "")
    message: str = ""
    hint: str = ""
    binding: bool = True


@dataclass(frozen=True)
class Capacity:
    """A resource in bytes."""

    free: int
    total: int


@dataclass(frozen=True)
class LimitFacts:
    """What this process and its children may have: open files (soft, hard), processes, inotify instances."""

    open_files: tuple[int, int]
    processes: int
    inotify_instances: int | None


@dataclass(frozen=True)
class Facts:
    """What was read of the host; None for what could not be.

    `deliveries` says for each way of restoring a saved machine why it does not work, empty where it does.
    """

    home: Path
    libvirt: LibvirtFacts
    qemu: str
    accelerator: Accelerator | None
    missing: tuple[str, ...]
    disk: Capacity | None
    memory: Capacity | None
    swap: Capacity | None
    merging: Merging | None
    ipv6: bool | None
    bridge_filter: bool | None
    forward_drop: bool | None
    limits: LimitFacts | None
    class_limits: ClassLimits | None
    apparmor: bool | None
    qemu_user: str | None
    closed_folder: Path | None
    deliveries: Mapping[Delivery, str] | None
    windows_missing: tuple[str, ...] | None


def gather_facts(home: Path, uri: str, image: Path | None = None) -> Facts:
    """Read everything that doctor looks at; takes some seconds, changes nothing but the verdicts that it keeps.

    Where libvirt's QEMU answers, a tiny machine is saved and restored.
    """
    libvirt = read_libvirt(uri)
    return Facts(
        home=home,
        libvirt=libvirt,
        qemu=qemu_version(),
        accelerator=_or_none(lambda: probe_accelerator(home, image)),
        missing=find_missing_packages(),
        disk=_or_none(lambda: _disk(home)),
        memory=_or_none(_memory),
        swap=_or_none(_swap),
        merging=_or_none(read_merging),
        ipv6=_or_none(read_ipv6),
        bridge_filter=_or_none(read_bridge_filter),
        forward_drop=_or_none(read_forward_drop),
        limits=_or_none(read_limits),
        class_limits=read_class_limits() if libvirt.answers else None,
        apparmor=_or_none(read_apparmor),
        qemu_user=_or_none(read_qemu_user),
        closed_folder=_or_none(lambda: find_closed_folder(home)),
        deliveries=_or_none(lambda: read_deliveries(home, uri)) if libvirt.answers else None,
        windows_missing=_or_none(find_missing_for_windows),
    )


def _or_none(read: Callable[[], T]) -> T | None:
    """Read one fact, None where the host does not tell."""
    with suppress(OSError, ValueError, KeyError, LabctlError):
        return read()
    return None


def read_libvirt(uri: str) -> LibvirtFacts:
    """Ask libvirt for its versions."""
    try:
        from labctl.hypervisor.door import Hypervisor
    except ImportError as exc:  # the binding, or the library that it needs, is not installed
        return LibvirtFacts(answers=False, message=str(exc), binding=False)
    try:
        with Hypervisor(uri, connections=1) as hypervisor:
            versions = hypervisor.versions()
    except LabctlError as exc:
        return LibvirtFacts(answers=False, message=exc.message, hint=exc.hint)
    return LibvirtFacts(answers=True, versions=(versions.libvirt, versions.hypervisor))


def read_deliveries(home: Path, uri: str) -> Mapping[Delivery, str] | None:
    """Run the self-test of instant clones in the home folder; None where there is none yet, or no QEMU."""
    from labctl.hypervisor.door import Hypervisor
    from labctl.hypervisor.trial import find_deliveries

    if not uri.startswith("qemu") or not home.is_dir():
        return None
    with Hypervisor(uri, connections=1) as hypervisor:
        return find_deliveries(hypervisor, home, again=True)


def find_missing_packages(grub_module: Path = _GRUB_MODULE) -> tuple[str, ...]:
    """Return the Debian packages of the programs that are not installed, sorted."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = {package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None}
    if not grub_module.exists():
        missing.add(GRUB_BIOS)
    return tuple(sorted(missing))


def find_missing_for_windows() -> tuple[str, ...]:
    """Return the Debian packages that images of Windows need beside the others and the host lacks, sorted."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    wimlib = () if shutil.which("wimlib-imagex", path=path) else ("wimtools",)
    return tuple(sorted({*find_missing(secure_boot=True, tpm=True), *wimlib}))


def _disk(home: Path) -> Capacity:
    usage = shutil.disk_usage(_existing(home))
    return Capacity(free=usage.free, total=usage.total)


def _existing(home: Path) -> Path:
    return next(folder for folder in (home, *home.absolute().parents) if folder.exists())


def _memory() -> Capacity:
    memory = psutil.virtual_memory()
    return Capacity(free=memory.available, total=memory.total)


def _swap() -> Capacity:
    swap = psutil.swap_memory()
    return Capacity(free=swap.free, total=swap.total)


def read_ipv6(folder: Path = Path("/proc/sys/net/ipv6/conf")) -> bool:
    """Tell whether new bridges will have IPv6; a kernel without it has no such folder."""
    if not folder.is_dir():
        return False
    return all(
        (folder / name / "disable_ipv6").read_text(encoding="ascii").strip() == "0" for name in ("all", "default")
    )


def read_bridge_filter(folder: Path = Path("/proc/sys/net/bridge")) -> bool:
    """Tell whether frames between guests of one bridge pass the host's packet filter; no folder means they do not."""
    if not folder.is_dir():
        return False
    names = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
    return any((folder / name).read_text(encoding="ascii").strip() == "1" for name in names)


def read_forward_drop() -> bool:
    """Tell whether the host drops what it forwards unless a rule allows it, as Docker arranges. Needs root."""
    policies = run(["iptables", "-w", "2", "-S", "FORWARD"], timeout=10).stdout
    return "-P FORWARD DROP" in policies


def read_limits(inotify: Path = Path("/proc/sys/fs/inotify/max_user_instances")) -> LimitFacts:
    """Read the limits of this process; an unlimited one is told as a very large number."""
    soft, hard = (_limit(number) for number in resource.getrlimit(resource.RLIMIT_NOFILE))
    instances = _or_none(lambda: int(inotify.read_text(encoding="ascii")))
    return LimitFacts((soft, hard), _limit(resource.getrlimit(resource.RLIMIT_NPROC)[0]), instances)


def _limit(number: int) -> int:
    return 2**62 if number == resource.RLIM_INFINITY else number


def read_apparmor(switch: Path = Path("/sys/module/apparmor/parameters/enabled")) -> bool:
    """Tell whether the kernel confines programs by AppArmor."""
    return switch.exists() and switch.read_text(encoding="ascii").strip() == "Y"


def read_qemu_user(configuration: Path = Path("/etc/libvirt/qemu.conf")) -> str:
    """Return the user that runs guests, empty for the distribution's own choice."""
    found = re.findall(r'^\s*user\s*=\s*"([^"]*)"', configuration.read_text(encoding="utf-8"), re.MULTILINE)
    return str(found[-1]) if found else ""


def find_closed_folder(home: Path) -> Path | None:
    """Return the outermost folder on the way to the home's disks that the guests' user cannot search, else None."""
    user = pwd.getpwnam(QEMU_USER)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    way = [*reversed(home.absolute().parents), home.absolute()]
    return next((folder for folder in way if folder.exists() and not _may_search(folder, user.pw_uid, groups)), None)


def _may_search(folder: Path, uid: int, groups: Iterable[int]) -> bool:
    status = folder.stat()
    if status.st_uid == uid:
        return bool(status.st_mode >> 6 & _SEARCHABLE)
    if status.st_gid in groups:
        return bool(status.st_mode >> 3 & _SEARCHABLE)
    return bool(status.st_mode & _SEARCHABLE)
