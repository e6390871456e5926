"""Labs whose owners are kept out from now on to consoles that end: at the freeze of an exam, within half a second."""

from collections.abc import Callable
from pathlib import Path

from labctl.lab.barring import barred_labs

LOOK = 0.25  # seconds; the one who bars is another process, and must not wait for this one


def follow_bars(home: Path, cut: Callable[[str], object], wait: Callable[[float], bool]) -> None:
    """End the consoles of each lab that becomes barred, until `wait` says that it is time to stop."""
    known: frozenset[str] = frozenset()
    while True:
        now = barred_labs(home)
        for lab in sorted(now - known):
            cut(lab)
        known = now
        if wait(LOOK):
            return
