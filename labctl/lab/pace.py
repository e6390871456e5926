"""How fast guests run on this host, probed once, when the first image is there to boot."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from labctl.hypervisor.accelerator import probe_accelerator
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
                accelerator = probe_accelerator(self.home, image)
                self.found = Pace(accelerator.kind, accelerator.factor)
                if accelerator.kind != "kvm":
                    self.warn(accelerator.reason)
            return self.found
