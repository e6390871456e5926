"""Tells whether a process that was noted down still lives: ids come again, after a reboot all of them."""

from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return the kernel's name for the time since the host was started."""
    return BOOT_ID.read_text(encoding="ascii").strip()


def birth(pid: int) -> str:
    """Return what tells a process from another one of the same id: its start, in ticks, and the boot; "" for none."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, proc(5)
    return "" if state in {"Z", "X"} else f"{fields[18]}@{read_boot_id()}"


def lives(pid: int, born: str) -> bool:
    """Return whether the process that had this id and birth is still there."""
    return bool(born) and birth(pid) == born
