"""What happens in an exam session to a chain of lines that nobody can change unseen, written before anything is done.

One line is one entry: JSON with the keys seq, time, boot, steady, who, act, step, candidate, facts, prev, hash. `hash`
is the SHA-256 of the line's other keys in canonical JSON, and `prev` the hash of the line before, so that the last hash
(the head) stands for the whole log. The log is the only memory of a session: `standing` folds it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import Refused
from labctl.exam.moments import Reading
from labctl.language import _

GENESIS = "0" * 64  # what comes before the first entry
KEYS = ("seq", "time", "boot", "steady", "who", "act", "step", "candidate", "facts", "prev")

Facts = Mapping[str, JsonValue]


class Act(StrEnum):
    """What is done in a session. The facts of each are described in docs and read in `standing`."""

    CREATE = "create"
    PREPARE = "prepare"
    RECETTE_AT_START = "recette at start"
    ISOLATION = "isolation"
    SEAL = "seal"
    OPEN = "open"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    EXTEND = "extend"
    MESSAGE = "message"
    INCIDENT = "incident"
    RESET = "reset"
    FREEZE = "freeze"
    THAW = "thaw"
    RECETTE = "recette"
    COLLECT = "collect"
    COPY = "copy"
    VERIFY = "verify"
    REPORT = "report"
    CLOSE = "close"
    PURGE = "purge"
    CLOCK = "clock"
    SUPERVISE = "supervise"


class Step(StrEnum):
    """Whether an entry comes before its act, after it, or is all there is to it."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    NOTED = "noted"


@dataclass(frozen=True)
class Entry:
    """One line of the log. `candidate` is a number, "" for the whole session; `hash` covers all but itself."""

    seq: int
    at: Reading
    who: str
    act: Act
    step: Step
    candidate: str = ""
    facts: Facts = field(default_factory=dict)
    prev: str = GENESIS
    hash: str = ""


class BrokenLog(Refused):
    """The log of a session is not what was written: `line` is the first that is wrong, from 1."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        text = _('the audit log "{path}" was changed: line {line} {reason}').format(path=path, line=line, reason=reason)
        super().__init__(text, hint=f"labctl exam verify {path.parent}")
        self.line = line


def plain(entry: Entry) -> dict[str, JsonValue]:
    """Return an entry as its line has it, without the hash."""
    return {
        "seq": entry.seq, "time": utc_text(entry.at.hour), "boot": entry.at.boot, "steady": round(entry.at.steady, 3),
        "who": entry.who, "act": entry.act, "step": entry.step, "candidate": entry.candidate,
        "facts": dict(entry.facts), "prev": entry.prev,
    }  # fmt: skip


def utc_text(moment: datetime) -> str:
    """Return a moment as the log has it: UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def canonical(data: Mapping[str, JsonValue]) -> bytes:
    """Return JSON of which there is only one for the same data."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def hash_of(entry: Entry) -> str:
    """Return the hash that an entry must have."""
    return hashlib.sha256(canonical(plain(entry))).hexdigest()


def line_of(entry: Entry) -> bytes:
    """Return the line of an entry, with its end."""
    return canonical({**plain(entry), "hash": entry.hash}) + b"\n"


def whole_lines(content: bytes) -> tuple[bytes, bytes]:
    """Return the lines that were written whole, and what a crash left of the last one: that was never acted on."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a log, each checked against the one before. Raises BrokenLog."""
    try:
        content, _torn = whole_lines(path.read_bytes())
    except FileNotFoundError:
        return
    yield from check_lines(path, content)


def check_lines(path: Path, content: bytes, after: Entry | None = None) -> Iterator[Entry]:
    """Yield the entries of whole lines, which go on after an entry that is known to be right. Raises BrokenLog."""
    last = after
    for text in content.splitlines():
        number = last.seq + 1 if last else 1
        try:
            entry = parse(text)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise BrokenLog(path, number, _("cannot be read")) from exc
        if entry.seq != number:
            raise BrokenLog(path, number, _("has the number {seq}").format(seq=entry.seq))
        if entry.prev != (last.hash if last else GENESIS):
            raise BrokenLog(path, number, _("does not follow the one before"))
        if entry.hash != hash_of(entry) or text + b"\n" != line_of(entry):
            raise BrokenLog(path, number, _("does not have its own hash"))
        last = entry
        yield entry


def parse(text: bytes) -> Entry:
    """Return the entry of a line as it claims to be. Raises ValueError, KeyError or TypeError."""
    data = json.loads(text)
    if set(data) != {*KEYS, "hash"}:
        raise KeyError(text)
    hour = datetime.fromisoformat(data["time"])
    if hour.utcoffset() is None:
        raise ValueError(text)
    at = Reading(hour, str(data["boot"]), float(data["steady"]))
    return Entry(
        seq=int(data["seq"]), at=at, who=str(data["who"]), act=Act(data["act"]), step=Step(data["step"]),
        candidate=str(data["candidate"]), facts=dict(data["facts"]), prev=str(data["prev"]), hash=str(data["hash"]),
    )  # fmt: skip


def follow(last: Entry | None, entry: Entry) -> Entry:
    """Return an entry with its place behind another one: number, link and hash."""
    placed = replace(
        entry, seq=last.seq + 1 if last else 1, at=round_reading(entry.at), facts=json.loads(canonical(entry.facts)),
        prev=last.hash if last else GENESIS,
    )  # fmt: skip
    return replace(placed, hash=hash_of(placed))


def round_reading(at: Reading) -> Reading:
    """Return a reading as precisely as a line keeps it, so that an entry is the same when it is read again."""
    return Reading(at.hour.astimezone(UTC), at.boot, round(at.steady, 3))


@contextmanager
def appending(path: Path) -> Iterator[Callable[[Entry], None]]:
    """Give what writes entries; they are on the disk when the block ends. The caller holds the session.

    What a crash left of a line goes first.
    """
    fresh = not path.exists()
    with path.open("ab", buffering=0) as stream:
        os.fchmod(stream.fileno(), 0o600)
        whole, torn = whole_lines(path.read_bytes())
        if torn:
            stream.truncate(len(whole))
        written = 0

        def write(entry: Entry) -> None:
            nonlocal written
            write_all(stream.fileno(), line_of(entry))
            written += 1

        try:
            yield write
        finally:
            if written:
                os.fdatasync(stream.fileno())
    if fresh:
        sync_folder(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes: write(2) may take fewer."""
    while content:
        content = content[os.write(descriptor, content) :]


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
