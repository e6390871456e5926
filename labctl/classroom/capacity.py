"""Turns a golden lab, a class and the host as it is into how many labs fit, and why no more do."""

import psutil

from labctl.golden import find_golden
from labctl.lab.frozen import Frozen
from labctl.lab.workplace import Workplace
from labctl.topology.model import Topology

RESERVE = 1 << 30  # bytes of memory that stay the host's
QEMU_BYTES = 100 << 20  # a restored machine's process beyond its guest's memory, measured on QEMU 7.2 under TCG


def lab_memory(golden: Frozen) -> int:
    """Return the bytes of memory that one lab takes at first: what its nodes had saved, and QEMU's own."""
    states = list(golden.state("x").parent.glob("*.save"))
    return sum(path.stat().st_size for path in states) + len(states) * QEMU_BYTES


def forecast(place: Workplace, topology: Topology, wanted: int) -> tuple[int, int] | None:
    """Return how many of the wanted labs fit, and the bytes that each takes; None before the golden lab exists."""
    golden = find_golden(place, topology)
    if golden is None:
        return None
    need = lab_memory(golden)
    room = psutil.virtual_memory().available - RESERVE
    return min(wanted, max(0, room // need)), need
