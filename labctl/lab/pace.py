"""How fast guests run on this host, probed once, when the first image is there to boot."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from labctl.hypervisor.accelerator import probe_accelerator
from labctl.images.overlay import chain
from labctl.images.store import ImageStore
from labctl.lab.wish import Pace


class Accelerators:
    """Probes the accelerator once per run; `warn` is told why guests are emulated, where they are."""

    def __init__(self, home: Path, warn: Callable[[str], None] = lambda _reason: None) -> None:
        self.home = home
        self.warn = warn
        self.found: Pace | None = None
        self.one = Lock()

    def __call__(self, image: Path) -> Pace:
        """Return the pace of guests here."""
        with self.one:  # machines boot side by side, and all ask
            if self.found is None:
                accelerator = probe_accelerator(self.home, find_linux(self.home, image))
                self.found = Pace(accelerator.kind, accelerator.factor)
                if accelerator.kind != "kvm":
                    self.warn(accelerator.reason)
            return self.found


def find_linux(home: Path, disk: Path | None = None) -> Path | None:
    """Return what the probe can boot: the disk itself, or an image of labctl's own where it stands on a school's media.

    The probe waits for what a Linux kernel writes to its serial port; a Windows says nothing there, under KVM either.
    """
    images = ImageStore(home).list_images()
    given = {image.path for image in images if image.given}
    if disk is not None and chain(disk)[-1] not in given:
        return disk
    return next((image.path for image in images if image.given is None), None)
