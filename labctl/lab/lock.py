"""One worker per lab: a flock that dies with its process, and says who holds it."""

import fcntl
import getpass
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from labctl.errors import Busy
from labctl.language import _
from labctl.store import now

NAME_PATIENCE = 0.5  # seconds
# Seconds between two tries, at first and at most: flock(2) has no time-out of its own. Labs that plan at the same time
# hold the host's lock for some hundredths.
FIRST_STEP, LAST_STEP = 0.01, 0.2
SUFFIX = ".lock"

ACTOR: ContextVar[str] = ContextVar("ACTOR", default="")


@contextmanager
def acting_for(person: str) -> Iterator[None]:
    """Work inside the block for a person who is not the one behind the process."""
    before = ACTOR.set(person)
    try:
        yield
    finally:
        ACTOR.reset(before)


def who() -> str:
    """Return the person whom this is done for: the one behind the process by default, through sudo too."""
    return ACTOR.get() or os.environ.get("SUDO_USER") or getpass.getuser()


def locks_folder(home: Path) -> Path:
    """Return where the lock files are."""
    return home / "locks"


def lock_file(home: Path, lab: str) -> Path:
    """Return the lock file of a lab."""
    return locks_folder(home) / f"{lab}{SUFFIX}"


@contextmanager
def hold_lab(home: Path, lab: str, verb: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lab for the length of the block. Raises Busy, naming the holder, after `patience` seconds."""
    path = lock_file(home, lab)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: removing a lock file lets two processes lock two different files of one name.
    with path.open("a+", encoding="utf-8") as stream:
        acquire(stream.fileno(), path, lab, patience)
        stream.truncate(0)
        json.dump({"pid": os.getpid(), "who": who(), "since": now(), "verb": verb}, stream)
        stream.flush()
        yield


def acquire(descriptor: int, path: Path, lab: str, patience: float) -> None:
    """Take the lock or raise Busy."""
    until, step = time.monotonic() + patience, FIRST_STEP
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= until:
                raise busy(path, lab) from exc
            time.sleep(step)
            step = min(2 * step, LAST_STEP)
        else:
            return


def busy(path: Path, lab: str) -> Busy:
    """Return the error that says who works on the lab, since when, and the process id."""
    holder = read_holder(path)
    text = _('another run works on the lab "{lab}": "{verb}" by {who} since {since} (pid {pid})')
    unknown = "?"
    return Busy(
        text.format(
            lab=lab, verb=holder.get("verb", unknown), who=holder.get("who", unknown),
            since=holder.get("since", unknown), pid=holder.get("pid", unknown),
        ),
        hint=f"labctl status {lab}",
    )  # fmt: skip


def read_holder(path: Path) -> dict[str, object]:
    """Return who holds a lock; the holder writes it a moment after the lock is its own."""
    until = time.monotonic() + NAME_PATIENCE
    while True:
        try:
            holder = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            holder = {}
        if holder or time.monotonic() > until:
            return dict(holder)
        time.sleep(NAME_PATIENCE / 10)


def is_held(home: Path, lab: str) -> bool:
    """Return whether a run holds the lab now."""
    try:
        with lock_file(home, lab).open("r", encoding="utf-8") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
