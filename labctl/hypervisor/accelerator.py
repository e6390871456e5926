"""The host's /dev/kvm, and an image whose kernel may or may not start under it, to the accelerator to use.

/dev/kvm can open and still be useless: on some nested hosts a machine is created, the firmware runs, and a stock
kernel then hangs without a word. Only a kernel that speaks proves anything.
"""

import json
import os
import pwd
import re
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from labctl.errors import LabctlError
from labctl.language import _
from labctl.program import missing, run

QEMU = "qemu-system-x86_64"
QEMU_USER = "libvirt-qemu"
DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROBE_SECONDS = 15.0  # a working KVM needs 1 to 2 s; this only bounds the verdict on one that hangs
# What a kernel or its init writes first; GRUB's "Loading Linux 6.12…" is not among it. Under "quiet" the first sign
# is the reset of the terminal by systemd 257.
LINUX_SPEAKS = re.compile(rb"Linux version |\[ *\d+\.\d{6}\] |\[  OK  \] |systemd\[1\]|login: |\x1b\[!p\x1b\]104")
_ACCESS = 0o6  # read and write


class Kind(StrEnum):
    """What executes the guests' instructions, as libvirt and QEMU spell it."""

    KVM = "kvm"
    TCG = "tcg"


class Verdict(StrEnum):
    """Why an accelerator was chosen; kept in the cache, told in the reader's language."""

    WORKS = "works"
    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    FORBIDDEN_TO_QEMU = "forbidden-to-qemu"
    SILENT = "silent"
    REFUSED = "refused"
    NOT_PROBED = "not-probed"


# Deadlines are written for KVM. Under TCG one instruction becomes about ten, and a boot that takes 3 to 4 s was
# measured at 36 to 45 s.
FACTORS: Mapping[Kind, float] = {Kind.KVM: 1.0, Kind.TCG: 12.0}


@dataclass(frozen=True)
class Accelerator:
    """What runs the guests, why, and by how much to multiply every deadline; `detail` is what QEMU said, if it did."""

    kind: Kind
    verdict: Verdict
    detail: str = ""

    @property
    def factor(self) -> float:
        """Return the factor by which deadlines written for KVM are multiplied."""
        return FACTORS[self.kind]

    @property
    def reason(self) -> str:
        """Return the reason as a sentence in the reader's language."""
        match self.verdict:
            case Verdict.WORKS:
                return _("a Linux kernel starts under KVM")
            case Verdict.ABSENT:
                return _("this host has no /dev/kvm")
            case Verdict.FORBIDDEN:
                return _("you may not open /dev/kvm")
            case Verdict.FORBIDDEN_TO_QEMU:
                return _('the user "{user}", who runs the guests, may not open /dev/kvm').format(user=QEMU_USER)
            case Verdict.SILENT:
                return _("/dev/kvm opens, but a Linux kernel hangs under it")
            case Verdict.REFUSED:
                return _("/dev/kvm opens, but QEMU refuses to use it: {detail}").format(detail=self.detail)
            case Verdict.NOT_PROBED:
                return _("KVM has not been tried yet: there is no image to boot")


def probe_accelerator(
    home: Path, image: Path | None = None, *, device: Path = DEVICE, seconds: float = PROBE_SECONDS
) -> Accelerator:
    """Return the accelerator for this boot of the host, this QEMU and this kernel, from the cache if it is there.

    The first call with an image boots its kernel from a throw-away overlay: 1 to 2 s where KVM works, `seconds`
    where it hangs. Without an image nothing is booted, and the answer is TCG until there is one. The verdict is
    kept in HOME/accelerator.json. Raises HostNotReady where QEMU is not installed.
    """
    obstacle = find_obstacle(device)
    if obstacle is not None:
        return Accelerator(Kind.TCG, obstacle)
    cache, key = home / "accelerator.json", _key()
    known = _read(cache, key)
    if known is not None:
        return known
    if image is None:
        return Accelerator(Kind.TCG, Verdict.NOT_PROBED)
    accelerator = boot_under_kvm(image, seconds)
    if accelerator.verdict is not Verdict.REFUSED:  # quick to find again, and may be about this image only
        with suppress(OSError):  # who may not write there only probes again
            _write(cache, key, accelerator)
    return accelerator


def find_obstacle(device: Path = DEVICE) -> Verdict | None:
    """Return why KVM cannot even be tried, None where it can."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return Verdict.FORBIDDEN
    except OSError:
        return Verdict.ABSENT
    user = qemu_user()
    if user is not None and not _may_use(device, user):
        return Verdict.FORBIDDEN_TO_QEMU
    return None


def qemu_user() -> pwd.struct_passwd | None:
    """Return the user that libvirt's system daemon gives its guests, if we could become it."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(QEMU_USER)
    return None


def _may_use(device: Path, user: pwd.struct_passwd) -> bool:
    status = device.stat()
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode >> 6 & _ACCESS == _ACCESS)
    if status.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return bool(status.st_mode >> 3 & _ACCESS == _ACCESS)
    return bool(status.st_mode & _ACCESS == _ACCESS)


def boot_under_kvm(image: Path, seconds: float = PROBE_SECONDS) -> Accelerator:
    """Boot the image under KVM, as the user that runs guests, until Linux speaks on the serial port; change nothing."""
    drive = f"file={image},format={_format(image)},if=virtio,snapshot=on"
    argv = [
        QEMU, "-machine", "pc,accel=kvm", "-cpu", "host,migratable=on", "-m", "512", "-nodefaults", "-display", "none",
        "-serial", "stdio", "-no-reboot", "-sandbox", "on", "-drive", drive,
    ]  # fmt: skip
    user = qemu_user()
    with tempfile.TemporaryFile() as complaints:
        try:
            # not through labctl.program: it ends at the first good line, or by the clock if none comes
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd="/",
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=os.getgrouplist(user.pw_name, user.pw_gid) if user else None,
            )
        except FileNotFoundError as exc:
            raise missing(QEMU) from exc
        with child:
            try:
                verdict = _listen(child, time.monotonic() + seconds)
            finally:
                child.kill()
        complaints.seek(0)
        detail = complaints.read(500).decode(errors="replace").partition("\n")[0]
    kind = Kind.KVM if verdict is Verdict.WORKS else Kind.TCG
    return Accelerator(kind, verdict, detail if verdict is Verdict.REFUSED else "")


def _listen(child: "subprocess.Popen[bytes]", end: float) -> Verdict:
    assert child.stdout is not None  # PIPE
    heard = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            if not selector.select(left):
                break
            data = os.read(child.stdout.fileno(), 4096)
            if not data:
                return Verdict.REFUSED
            heard = heard[-4096:] + data
            if LINUX_SPEAKS.search(heard):
                return Verdict.WORKS
    return Verdict.SILENT


def _format(image: Path) -> str:
    """Return the format of one of our own images, by its first bytes; never used on what a student wrote."""
    with image.open("rb") as disk:
        return "qcow2" if disk.read(4) == b"QFI\xfb" else "raw"


def _key() -> dict[str, str]:
    """Return what a verdict holds for."""
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    version = run([QEMU, "--version"]).stdout.partition("\n")[0]
    return {"boot": boot, "qemu": version, "kernel": os.uname().release}


def _read(cache: Path, key: dict[str, str]) -> Accelerator | None:
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
        if known["key"] == key:
            return Accelerator(Kind(known["kind"]), Verdict(known["verdict"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a cache that cannot be read is no cache
    return None


def _write(cache: Path, key: dict[str, str], accelerator: Accelerator) -> None:
    text = json.dumps({"key": key, "kind": accelerator.kind, "verdict": accelerator.verdict}, indent=2)
    with tempfile.NamedTemporaryFile("w", dir=cache.parent, prefix=".accelerator-", delete=False) as draft:
        try:
            draft.write(text + "\n")
            draft.flush()
            os.fchmod(draft.fileno(), 0o644)
            os.fsync(draft.fileno())
            Path(draft.name).rename(cache)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise


def qemu_version() -> str:
    """Return QEMU's version, as ``7.2.22``, empty where it is not installed or does not say."""
    try:
        found = re.search(r"version (\d+(?:\.\d+)+)", run([QEMU, "--version"]).stdout)
    except (LabctlError, OSError):
        return ""
    return found.group(1) if found else ""
