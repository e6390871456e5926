"""Makes the image of a Windows from the school's own discs: checked, installed unattended, generalised, sealed."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from labctl.appliances.prepare import Leftovers, remove_killed
from labctl.errors import Interrupted, LabctlError
from labctl.hypervisor.console import Console
from labctl.hypervisor.firmware import check_firmware
from labctl.images.copying import copy_disk
from labctl.images.disc import write_disc
from labctl.images.folder import check_host, hash_file
from labctl.images.given import Given
from labctl.images.recipe import MediaRecipe
from labctl.images.steps import Steps
from labctl.images.store import Image, ImageStore
from labctl.images.windows_media import EVALUATION, Edition, check_drivers, choose_edition, read_editions
from labctl.lab.installation import ORDER, Installation, Phase
from labctl.lab.installing import follow
from labctl.lab.wish import Pace
from labctl.language import _
from labctl.monitor import Monitor
from labctl.plan.names import home_mark
from labctl.program import run
from labctl.render.windows.answers import LABEL, OPENSSH, Install, build_files
from labctl.render.windows.machine import InstallMachine, render_install
from labctl.render.windows.versions import WINDOWS, WindowsVersion

MEMORY = 4096  # MiB for an installation
GROWN = 30 << 30  # bytes: an installed Windows, and its copy without holes
CONVERT_SECONDS = 3600.0
LICENSED = 1  # SoftwareLicensingProduct.LicenseStatus
PNG = b"\x89PNG"
# How far the whole is when a phase begins.
FRACTIONS: Mapping[Phase, float] = dict(zip(ORDER, (0.1, 0.15, 0.45, 0.6, 0.75, 0.85), strict=True))


class Installer(Leftovers, Protocol):
    """The hypervisor, for a machine of our own that is of no lab."""

    def qemu_owner(self) -> tuple[int, int]: ...
    def define_domain(self, xml: str) -> None: ...
    def start_domain(self, name: str, lab: str) -> None: ...
    def open_console(self, name: str, lab: str, force: bool = False) -> Console: ...
    def take_picture(self, name: str, lab: str) -> bytes: ...


@dataclass(frozen=True)
class Request:
    """What a school gives: the discs, and the edition by any of its names ("" for the usual one).

    `product_key` is empty for media that need none; `openssh` is the installer of OpenSSH, if it is given.
    """

    recipe: MediaRecipe
    iso: Path
    drivers: Path
    edition: str = ""
    product_key: str = ""
    openssh: Path | None = None

    @property
    def version(self) -> WindowsVersion:
        """Return what is known of this version of Windows."""
        return WINDOWS[self.recipe.name]


@dataclass(frozen=True)
class Factory:
    """Where images of Windows are made: the hypervisor, the store, the prefix of names, and how fast guests run.

    `memory` is in MiB, `room` in bytes; `check` may raise, to stop.
    """

    machines: Installer
    images: ImageStore
    pace: Pace
    prefix: str = ""
    memory: int = MEMORY
    room: int = GROWN
    check: Callable[[], None] = lambda: None
    render: Callable[[InstallMachine, str], str] = render_install

    @property
    def mark(self) -> str:
        """Return the mark of the installation, on what it makes."""
        return home_mark(str(self.images.home))


def build_windows(factory: Factory, request: Request, monitor: Monitor) -> Image:
    """Return the image of a Windows, made from the school's discs.

    Raises InvalidFile for wrong discs, Refused without room, HostNotReady without firmware, programs or root's
    rights, LabctlError where the installation fails: its last screen and logs are then kept, and nothing else.
    """
    name, hardware = request.recipe.name, request.recipe.hardware
    check_firmware(secure_boot=hardware.secure_boot, tpm=hardware.tpm)
    edition = choose_edition(read_editions(request.iso), request.version, request.edition, request.iso)
    check_drivers(request.drivers, request.version)
    steps = Steps(monitor, name)
    steps.step = "media"
    with factory.images.workshop(name, monitor) as folder, steps.failing():
        remove_killed(factory.machines, factory.mark, factory.prefix)
        check_host(folder, factory.room + 2 * request.iso.stat().st_size, name)
        steps.tell("media", 0.01)
        digests = {"iso_sha256": hash_file(request.iso), "virtio_win_sha256": hash_file(request.drivers)}
        machine = prepare(factory, request, edition, folder)
        installation = Installation()
        with running(factory, machine, installation) as console:
            begin_phase(steps, installation.phase)
            follow(console, installation, factory.pace.factor, lambda phase: begin_phase(steps, phase), factory.check)
            check_sealed(installation)
        steps.tell("seal", 0.9)
        sealed = folder / "sealed.qcow2"
        # What Windows deleted takes no room any more, and nothing can be written behind the digest's back.
        run(["qemu-img", "convert", "-q", "-O", "qcow2", machine.disk, sealed], timeout=CONVERT_SECONDS)
        facts = {**digests, **installation.facts, **describe(edition)}
        image = factory.images.register(sealed, name, given_of(request, facts, digests["iso_sha256"]))
    steps.done()
    return image


def prepare(factory: Factory, request: Request, edition: Edition, folder: Path) -> InstallMachine:
    """Lay out the disk and the discs of an installation in a folder, for QEMU's user; return the machine."""
    folder.chmod(0o711)
    discs = (folder / "windows.iso", folder / "virtio-win.iso", folder / "answers.iso")
    copy_disk(request.iso, discs[0])  # a school's own file keeps its owner, and its folders stay closed
    copy_disk(request.drivers, discs[1])
    install = Install(
        request.version, edition.name, edition.language, request.product_key, openssh=request.openssh is not None
    )
    files: dict[str, bytes | Path] = dict(build_files(install))
    if request.openssh:
        files[f"labctl/{OPENSSH}"] = request.openssh
    write_disc(discs[2], files, LABEL)
    name, hardware = f"{factory.prefix}image-{request.recipe.name}", request.recipe.hardware
    machine = InstallMachine(
        name, folder, discs, factory.memory, secure_boot=hardware.secure_boot, tpm=hardware.tpm,
        online=request.openssh is None, home=factory.mark,
    )  # fmt: skip
    run(["qemu-img", "create", "-q", "-f", "qcow2", machine.disk, f"{request.version.disk}G"])
    user, group = factory.machines.qemu_owner()
    for file in (*discs, machine.disk):
        shutil.chown(file, user, group)
        file.chmod(0o600)
    return machine


@contextmanager
def running(factory: Factory, machine: InstallMachine, installation: Installation) -> Iterator[Console]:
    """Start the machine and give its serial port; it is gone with the block, and what it said of a failure stays."""
    machines = factory.machines
    machines.define_domain(factory.render(machine, factory.pace.accelerator))
    try:
        machines.start_domain(machine.name, machine.name)
        console = machines.open_console(machine.name, machine.name, force=True)
        try:
            yield console
        except Interrupted:
            raise
        except LabctlError as exc:
            kept = keep_traces(factory, machine, installation)
            text = _("its last screen, its console and the logs of Setup are in {folder}")
            exc.message += "\n" + text.format(folder=kept)
            exc.hint = exc.hint or f"ls {kept}"
            raise
        finally:
            console.close()
    finally:
        machines.remove_domain(machine.name, machine.name)


def keep_traces(factory: Factory, machine: InstallMachine, installation: Installation) -> Path:
    """Keep what tells why an installation failed, in a folder for root alone; return the folder."""
    folder = factory.images.home / "failed" / f"{machine.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(LabctlError):  # it may be off
        picture = factory.machines.take_picture(machine.name, machine.name)
        (folder / ("screen.png" if picture.startswith(PNG) else "screen.ppm")).write_bytes(picture)
    with suppress(OSError):
        shutil.copyfile(machine.serial_log, folder / "serial.log")
    (folder / "setup.log").write_text("\n".join(installation.logs) + "\n", encoding="utf-8")
    return folder


def begin_phase(steps: Steps, phase: Phase) -> None:
    """Tell that a phase of the installation begins."""
    steps.tell(f"windows {phase}", FRACTIONS[phase])


def check_sealed(installation: Installation) -> None:
    """Raise LabctlError where the machine switched itself off before its own word that it is sealed."""
    if installation.phase is not Phase.SEALED:
        text = _('the machine switched itself off in the phase "{phase}", before it was generalised')
        raise LabctlError(text.format(phase=installation.phase))


def describe(edition: Edition) -> dict[str, str | int]:
    """Return what the image tells of the edition that was installed."""
    return {"edition": edition.edition, "title": edition.title, "language": edition.language, "build": edition.build}


def given_of(request: Request, facts: Mapping[str, str | int], digest: str) -> Given:
    """Return where the image comes from. The days of an activated evaluation run from today; other editions have none.

    Where it is not activated, sysprep has set its time back, and it begins with the first start of a machine.
    """
    timed = dict(facts)
    if facts.get("licence") == LICENSED:
        timed["measured"] = datetime.now(UTC).date().isoformat()
    if not str(facts["edition"]).endswith(EVALUATION):
        timed = {name: value for name, value in facts.items() if name != "evaluation_days"}
    return Given(
        request.recipe.system, request.iso.name, digest, "iso", request.recipe.minimum_memory, request.recipe.hardware,
        timed,
    )  # fmt: skip
