"""The end of QEMU's own log to the words that say why a machine has crashed."""

import re
from pathlib import Path

QEMU_LOGS = Path("/var/log/libvirt/qemu")
TAIL = 8 << 10  # bytes
STARTED = ": starting up "
TOLD = re.compile(r"^(?:\S+ )?qemu-\S+: (?:terminating )?(.+)$")
LONGEST = 120  # characters


def find_cause(machine: str, logs: Path = QEMU_LOGS) -> str:
    """Return the last thing that QEMU said of a machine since its last start, "" where it said or we may see nothing.

    A process that is killed by SIGKILL, as the kernel does when memory runs out, has no last words.
    """
    try:
        with (logs / f"{machine}.log").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - TAIL))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        if STARTED in line:
            break
        if found := TOLD.match(line):
            words = "".join(letter if letter.isprintable() else "?" for letter in found[1])
            return words[:LONGEST]
    return ""
