"""The wish to merge the memory that clones share, or not to, to the kernel's settings for it, now and at each start.

Kernel samepage merging (KSM) keeps equal pages of all machines once: clones of one golden lab are then nearly
free. It has a side channel: writing to a merged page takes measurably longer than to one's own, so a machine can
find out what another one holds in memory (Suzaki et al., "Memory deduplication as a threat to the guest OS", 2011).
Therefore it is a choice, and off during an exam.
"""

import resource
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from labctl.doctor.limits import PROC, RUN, find_guests
from labctl.errors import HostNotReady, LabctlError, Refused
from labctl.language import _

KERNEL = Path("/sys/kernel/mm/ksm")
KEPT = Path("/etc/tmpfiles.d/labctl-ksm.conf")  # systemd-tmpfiles(8) writes its lines to the kernel at each start

# About 500 MiB/s, for 8 % of a processor: a class is merged while it comes up. With 20000 pages each 10 ms that was
# half a processor, and a class came up a fifth slower; the kernel's own 100 pages each 20 ms need 40 minutes.
SETTINGS: Mapping[str, str] = {"pages_to_scan": "3000", "sleep_millisecs": "20", "run": "1"}
APART = "2"  # stop, and give each machine its own pages again; 0 would leave merged what is merged

UNMEASURED = 0.45  # what a further lab costs of the first one's memory while nothing has been measured
LEAST = 0.25  # not less, whatever was measured: machines drift apart while people work on them
MEASURED_LABS = 3  # fewer say too little


@dataclass(frozen=True)
class Merging:
    """Kernel samepage merging: whether it runs, and the bytes that it saves now.

    `guests` are the resident bytes of all machines, merged pages counted for each, and `machines` their number.
    """

    running: bool
    saved: int
    guests: int = 0
    machines: int = 0


def read_merging(folder: Path = KERNEL, proc: Path = PROC, run: Path = RUN) -> Merging:
    """Read the state of kernel samepage merging. Raises OSError where the kernel has none."""
    sharing = int((folder / "pages_sharing").read_text(encoding="ascii"))
    guests = find_guests(proc, run)
    return Merging(
        running=(folder / "run").read_text(encoding="ascii").strip() == "1",
        saved=sharing * resource.getpagesize(),
        guests=sum(_resident(pid, proc) for pid in guests),
        machines=len(guests),
    )


def _resident(pid: int, proc: Path) -> int:
    with suppress(OSError, ValueError, IndexError):  # it has ended
        return int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return 0


def further_lab_cost(merging: Merging | None, machines: int) -> float:
    """Return what each lab after the first costs of the first one's memory, 1 without merging.

    Measured where three labs (of `machines` each) run: with resident bytes R of L equal labs, of which S are saved,
    the first costs R/L and all others together R - S - R/L, so each of them ((R - S) * L / R - 1) / (L - 1) of it.
    """
    if merging is None or not merging.running:
        return 1.0
    labs = merging.machines / max(1, machines)
    if labs < MEASURED_LABS or not merging.guests or not merging.saved:
        return UNMEASURED
    left = max(0, merging.guests - merging.saved) / merging.guests
    return min(1.0, max(LEAST, (left * labs - 1) / (labs - 1)))


def set_merging(on: bool, folder: Path = KERNEL, kept: Path = KEPT, *, room: int | None = None) -> bool:
    """Switch merging on or off, for now and for each start of the host; return whether that changed anything.

    Off gives every machine its own pages again: `room` is how many bytes of memory there are for them, what is
    available now by default. Raises Refused where they do not fit, HostNotReady where the kernel cannot merge or we
    are not root.
    """
    if not (folder / "run").exists():
        if not on:
            return _keep(kept, "")
        raise HostNotReady(_("this kernel cannot merge the memory that clones share (KSM)"), hint="uname -r")
    try:
        if on:
            lines = "".join(f"w {folder / name} - - - - {value}\n" for name, value in SETTINGS.items())
            changed = _switch_on(folder)
            return _keep(kept, lines) or changed
        changed = _switch_off(folder, room)
        return _keep(kept, "") or changed
    except PermissionError as exc:
        text = _("only root may switch KSM on or off")
        raise HostNotReady(text, hint=f"sudo labctl doctor --ksm {'on' if on else 'off'}") from exc
    except OSError as exc:
        text = _("KSM cannot be switched: {reason}").format(reason=exc.strerror)
        raise LabctlError(text, hint=f"cat {folder}/run") from exc


def _switch_on(folder: Path) -> bool:
    advisor = folder / "advisor_mode"  # since Linux 6.8; while it decides, pages_to_scan cannot be written
    if advisor.exists() and "[none]" not in advisor.read_text(encoding="ascii"):
        advisor.write_text("none", encoding="ascii")
    changed = False
    for name, value in SETTINGS.items():
        if (folder / name).read_text(encoding="ascii").strip() != value:
            (folder / name).write_text(value, encoding="ascii")
            changed = True
    return changed


def _switch_off(folder: Path, room: int | None) -> bool:
    merging = read_merging(folder)
    shared = int((folder / "pages_shared").read_text(encoding="ascii"))
    if not merging.running and not shared and not merging.saved:
        return False
    room = psutil.virtual_memory().available if room is None else room
    if merging.saved > room:
        text = _("{saved} MiB of memory are merged, and only {room} MiB are free to give each machine its own again")
        raise Refused(text.format(saved=merging.saved >> 20, room=max(0, room) >> 20), hint="labctl down LAB")
    (folder / "run").write_text(APART, encoding="ascii")
    return True


def _keep(kept: Path, lines: str) -> bool:
    """Make the file hold the lines, or be gone where there are none; return whether it had to be changed."""
    if not lines:
        existed = kept.exists()
        kept.unlink(missing_ok=True)
        return existed
    if kept.exists() and kept.read_text(encoding="utf-8") == lines:
        return False
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(lines, encoding="utf-8")
    kept.chmod(0o644)
    return True
