"""Lock files of labs to labs to look at: the kernel tells when a run, of whatever process, takes or gives back a lab.

A trainer at a terminal works on the same labs as the portal does, and libvirt tells nothing of a run that only checks.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

from labctl.lab.lock import SUFFIX, is_held, locks_folder

TOLD = flags.MODIFY | flags.CLOSE_WRITE  # inotify(7); readers, as we are one, make no event of these
SETTLE = 0.05  # seconds in which several events of one lab become one look; a lock goes a moment after its file
AGAIN = 1.0  # seconds until a lab that is held is looked at again, whatever was told
LOG = logging.getLogger("labctl.worker")


class Runs:
    """Calls `changed` with a lab whenever a run begins or ends on it, from a thread of its own."""

    def __init__(self, home: Path, changed: Callable[[str], None]) -> None:
        self._home = home
        self._changed = changed
        self._held: set[str] = set()
        self._stop = os.eventfd(0)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen; where the host has no inotify left, say so once and do without."""
        try:
            told = watch_folder(locks_folder(self._home))
        except OSError as exc:
            LOG.warning("runs of the command line show after a minute only: %s", exc.strerror)
            return
        self._thread = threading.Thread(target=self._run, args=(told,), name="runs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        os.eventfd_write(self._stop, 1)
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self, told: INotify) -> None:
        with told:
            while True:
                ready = select.select([told, self._stop], [], [], AGAIN if self._held else None)[0]
                if self._stop in ready:
                    return
                names = set(self._held)
                if ready:
                    time.sleep(SETTLE)
                    names |= self._read(told)
                for name in sorted(names):
                    self._look(name)

    def _read(self, told: INotify) -> set[str]:
        """Return the labs whose lock files were written, or closed by a writer."""
        found = set()
        for event in told.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                found |= {path.stem for path in locks_folder(self._home).glob(f"*{SUFFIX}")}
            elif event.name.endswith(SUFFIX):
                found.add(event.name.removesuffix(SUFFIX))
        return found

    def _look(self, lab: str) -> None:
        held = is_held(self._home, lab)
        if held and lab in self._held:
            return  # somebody found it busy, and left
        (self._held.add if held else self._held.discard)(lab)
        self._changed(lab)  # also of a run that was over before it was seen


def watch_folder(folder: Path) -> INotify:
    """Return what tells of files that are written, or closed by a writer. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    told = INotify()
    try:
        told.add_watch(folder, TOLD)
    except OSError:
        told.close()
        raise
    return told
