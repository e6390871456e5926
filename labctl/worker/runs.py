"""Lock files of labs to labs to look at: the kernel tells when a run, of whatever process, takes or gives back a lab.

A trainer at a terminal works on the same labs as the portal does, and libvirt tells nothing of a run that only checks.
"""

import ctypes
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from labctl.lab.lock import SUFFIX, is_held, locks_folder

MODIFIED, WRITER_LEFT, OVERFLOW = 0x2, 0x8, 0x4000  # inotify(7); readers, as we are one, make no event of these
HEAD = struct.Struct("iIII")  # watch, kind, cookie, length of the name
SETTLE = 0.05  # seconds in which several events of one lab become one look; a lock goes a moment after its file
AGAIN = 1.0  # seconds until a lab that is held is looked at again, whatever was told
LIBC = ctypes.CDLL(None, use_errno=True)
LOG = logging.getLogger("labctl.worker")


class Runs:
    """Calls `changed` with a lab whenever a run begins or ends on it, from a thread of its own."""

    def __init__(self, home: Path, changed: Callable[[str], None]) -> None:
        self._home = home
        self._changed = changed
        self._held: set[str] = set()
        self._told = -1
        self._stop = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="runs", daemon=True)

    def start(self) -> None:
        """Begin to listen; where the host has no inotify left, say so once and do without."""
        try:
            self._told = watch_folder(locks_folder(self._home))
        except OSError as exc:
            LOG.warning("runs of the command line show after a minute only: %s", exc.strerror)
            return
        self._thread.start()

    def stop(self) -> None:
        """End."""
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        try:
            while True:
                ready = select.select([self._told, self._stop], [], [], AGAIN if self._held else None)[0]
                if self._stop in ready:
                    return
                names = set(self._held)
                if ready:
                    time.sleep(SETTLE)
                    names |= self._read()
                for name in sorted(names):
                    self._look(name)
        finally:
            os.close(self._told)

    def _read(self) -> set[str]:
        """Return the labs whose lock files were written, or closed by a writer."""
        data, found = os.read(self._told, 64 << 10), set()
        while data:
            _watch, kind, _cookie, length = HEAD.unpack_from(data)
            name = data[HEAD.size : HEAD.size + length].rstrip(b"\0").decode(errors="replace")
            data = data[HEAD.size + length :]
            if kind & OVERFLOW:
                found |= {path.stem for path in locks_folder(self._home).glob(f"*{SUFFIX}")}
            elif name.endswith(SUFFIX):
                found.add(name.removesuffix(SUFFIX))
        return found

    def _look(self, lab: str) -> None:
        held = is_held(self._home, lab)
        if held and lab in self._held:
            return  # somebody found it busy, and left
        (self._held.add if held else self._held.discard)(lab)
        self._changed(lab)  # also of a run that was over before it was seen


def watch_folder(folder: Path) -> int:
    """Return a descriptor that tells of files that are written, or closed by a writer. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    told = int(LIBC.inotify_init1(os.O_CLOEXEC))
    if told < 0 or LIBC.inotify_add_watch(told, os.fsencode(folder), MODIFIED | WRITER_LEFT) < 0:
        number = ctypes.get_errno()
        if told >= 0:
            os.close(told)
        raise OSError(number, os.strerror(number))
    return told
