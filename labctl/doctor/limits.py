"""The kernel's tables and libvirt's daemons to how much is left of the limits that a whole class can reach."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC, RUN, CGROUPS = Path("/proc"), Path("/run"), Path("/sys/fs/cgroup")
DAEMONS = ("virtqemud", "libvirtd")  # the modular daemon, where a distribution has gone that way, else the one for all

# What one machine of ours takes, measured on libvirt 9.0 with the devices of domain.xml.j2: in libvirtd a monitor, an
# agent's socket, an eventfd and two of BPF; in virtlogd a pipe and a file for each of two logs. A restore opens more.
LIBVIRT_FILES = 8
LOG_FILES = 4
TASKS = 8  # threads of QEMU and of libvirt for it: five were seen at rest; libvirtd.service counts with eight
NETWORK_WATCHES = 1  # inotify(7): dnsmasq, one for each network with DHCP, takes its instance while it is root
IDLE_FILES = 40  # what a daemon has open before the first machine


@dataclass(frozen=True)
class Supply:
    """How much of a limit is taken."""

    used: int
    limit: int

    @property
    def free(self) -> int:
        """Return what is left."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True)
class ClassLimits:
    """What is left for a class, and what one machine takes of it; a supply is None where the host does not tell.

    `libvirt_files` and `log_files` are open files of libvirt's daemon and of virtlogd, `tasks` are threads
    of the whole host, `watches` are root's inotify instances. `machines` counts QEMU's processes now,
    `daemon` is the name of libvirt's daemon here.
    """

    machines: int = 0
    libvirt_files: Supply | None = None
    log_files: Supply | None = None
    tasks: Supply | None = None
    watches: Supply | None = None
    files_each: int = LIBVIRT_FILES
    daemon: str = "libvirtd"


def read_class_limits(proc: Path = PROC, run: Path = RUN, cgroups: Path = CGROUPS) -> ClassLimits:
    """Read what is left; without root the daemons' open files and others' inotify instances stay unknown."""
    machines = len(find_guests(proc, run))
    name, daemon = find_libvirt(proc, run)
    logger = find_daemon("virtlogd", proc, run)
    files = _known(lambda: read_files(daemon, proc)) if daemon else None
    return ClassLimits(
        machines=machines,
        libvirt_files=files,
        log_files=_known(lambda: read_files(logger, proc)) if logger else None,
        tasks=_known(lambda: read_tasks(daemon, machines, proc, cgroups)),
        watches=_known(lambda: read_watches(proc)),
        files_each=files_each(files, machines),
        daemon=name,
    )


def files_each(files: Supply | None, machines: int) -> int:
    """Return how many files libvirt's daemon opens for one machine: as measured, or as seen here where that is more."""
    if files is None or not machines:
        return LIBVIRT_FILES
    return max(LIBVIRT_FILES, -(-max(0, files.used - IDLE_FILES) // machines))


def find_libvirt(proc: Path = PROC, run: Path = RUN) -> tuple[str, int | None]:
    """Return the name and process id of the daemon that runs the machines; None where it does not run."""
    found = ((name, find_daemon(name, proc, run)) for name in DAEMONS)
    return next(((name, pid) for name, pid in found if pid is not None), (DAEMONS[-1], None))


def find_daemon(name: str, proc: Path = PROC, run: Path = RUN) -> int | None:
    """Return the process id of a daemon of the system's libvirt, None where it does not run."""
    with suppress(OSError, ValueError):
        pid = int((run / f"{name}.pid").read_text(encoding="ascii"))
        if (proc / str(pid) / "comm").read_text(encoding="utf-8").strip() == name:
            return pid
    return None


def find_guests(proc: Path = PROC, run: Path = RUN) -> tuple[int, ...]:
    """Return the process ids of the machines that libvirt runs."""
    found = []
    for path in sorted((run / "libvirt" / "qemu").glob("*.pid")):
        with suppress(OSError, ValueError):
            pid = int(path.read_text(encoding="ascii"))
            # A pid file outlives its machine where libvirtd was killed, and the number may be somebody else's by now.
            if (proc / str(pid) / "comm").read_text(encoding="utf-8").startswith("qemu"):
                found.append(pid)
    return tuple(found)


def read_files(pid: int, proc: Path = PROC) -> Supply:
    """Read the open files of a process, and how many it may have. Raises OSError for somebody else's."""
    return Supply(len(list((proc / str(pid) / "fd").iterdir())), read_limit(pid, "Max open files", proc))


def read_limit(pid: int, name: str, proc: Path = PROC) -> int:
    """Return a soft limit from proc(5)'s table; an unlimited one as a very large number."""
    for line in (proc / str(pid) / "limits").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            soft = line.removeprefix(name).split()[0]
            return 2**62 if soft == "unlimited" else int(soft)
    raise ValueError(name)


def read_tasks(daemon: int | None, machines: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> Supply:
    """Return the tightest limit for threads: of the kernel, of QEMU's user, or of the daemon's control group."""
    running = int((proc / "loadavg").read_text(encoding="ascii").split()[3].partition("/")[2])
    kernel = proc / "sys" / "kernel"
    supplies = [Supply(running, _number(kernel / name)) for name in ("pid_max", "threads-max")]
    if daemon is not None:
        # The limit is counted by user, and machines inherit the daemon's.
        supplies.append(Supply(machines * TASKS, read_limit(daemon, "Max processes", proc)))
        with suppress(OSError, ValueError):  # no control group, or one without a limit ("max")
            group = (proc / str(daemon) / "cgroup").read_text(encoding="utf-8").rpartition("::/")[2].strip()
            supplies.append(Supply(_number(cgroups / group / "pids.current"), _number(cgroups / group / "pids.max")))
    return min(supplies, key=lambda supply: supply.free)


def read_watches(proc: Path = PROC) -> Supply:
    """Count root's inotify instances against its limit. Raises PermissionError for who may not look."""
    limit = _number(proc / "sys" / "fs" / "inotify" / "max_user_instances")
    return Supply(sum(_watches_of(process) for process in _processes_of_root(proc)), limit)


def _processes_of_root(proc: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise PermissionError
    for process in proc.iterdir():
        with suppress(OSError):  # it has ended
            if not process.name.isdecimal():
                continue
            # dnsmasq goes on as nobody, but what it took before stays on root's account.
            if process.stat().st_uid == 0 or (process / "comm").read_text(encoding="utf-8") == "dnsmasq\n":
                yield process


def _watches_of(process: Path) -> int:
    count = 0
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                count += str(descriptor.readlink()) == "anon_inode:inotify"
    return count


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _known(read: Callable[[], Supply]) -> Supply | None:
    with suppress(OSError, ValueError, IndexError):
        return read()
    return None
