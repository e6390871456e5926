"""The lines of an audit log to what is wrong with them: edited, reordered, removed, added, or cut at the end."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labctl.exam.audit import GENESIS, Entry, hash_of, line_of, parse, whole_lines
from labctl.exam.evidence.findings import Finding, Trouble
from labctl.language import _


@dataclass(frozen=True)
class LogProof:
    """A log that was looked through: its entries as far as they could be read, its findings, its head."""

    path: str
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]

    @property
    def head(self) -> str:
        """Return the hash of the last entry."""
        return self.entries[-1].hash if self.entries else GENESIS

    def check_anchor(self, where: str, count: int, head: str) -> Iterator[Finding]:
        """Yield what contradicts that the log had so many entries with this head, as `where` says."""
        at = self.by_number.get(count)
        if count == 0 or (at is None and count < max(self.by_number, default=0)):
            return  # one that is missing in the middle is named already
        if at is None:
            numbers = _("{where} knows {count} entries, it has {found}")
            text = numbers.format(where=where, count=count, found=len(self.entries))
            yield Finding(Trouble.LOG_CUT, self.path, text)
        elif at.hash != head:
            text = _("{where} knows another hash of entry {count}").format(where=where, count=count)
            yield Finding(Trouble.LOG_OTHER, self.path, text)

    def check_head(self, head: str) -> Iterator[Finding]:
        """Yield what contradicts a head that somebody wrote down: on a sheet, often only its first digits."""
        wanted = "".join(head.split()).lower()
        if not any(entry.hash.startswith(wanted) for entry in self.entries):
            yield Finding(Trouble.LOG_CUT, self.path, _("no entry has the hash {head}").format(head=head))

    @property
    def by_number(self) -> Mapping[int, Entry]:
        """Return the entries by their numbers."""
        return {entry.seq: entry for entry in self.entries}


def prove_log(path: str, content: bytes) -> LogProof:
    """Return what is wrong with a log; the first cause is named, not all that follows from it."""
    whole, torn = whole_lines(content)
    findings: list[Finding] = []
    entries: list[Entry] = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = parse(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            findings.append(Finding(Trouble.ENTRY_UNREADABLE, path, str(number)))
            continue
        if entry.hash != hash_of(entry) or line + b"\n" != line_of(entry):
            findings.append(Finding(Trouble.ENTRY_EDITED, path, str(entry.seq)))
        entries.append(entry)
    findings += find_disorder(path, entries, unreadable=bool(findings))
    if torn and is_complete(torn):
        findings.append(Finding(Trouble.ENTRY_UNREADABLE, path, str(len(entries) + 1)))
    return LogProof(path, tuple(entries), tuple(findings))


def is_complete(line: bytes) -> bool:
    """Return whether a line without its end is a whole entry: a crash leaves half of one, which was never acted on."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def find_disorder(path: str, entries: Sequence[Entry], *, unreadable: bool) -> Iterator[Finding]:
    """Yield numbers that are missing, that come twice or out of order, and links that do not fit."""
    numbers = [entry.seq for entry in entries]
    present, last = set(numbers), max(numbers, default=0)
    missing = [number for number in range(1, last + 1) if number not in present]
    if not unreadable:
        yield from (Finding(Trouble.ENTRY_MISSING, path, str(number)) for number in missing)
    seen: set[int] = set()
    highest = 0
    for entry in entries:
        if entry.seq in seen:
            yield Finding(Trouble.ENTRY_ADDED, path, str(entry.seq))
        elif entry.seq < highest:
            yield Finding(Trouble.ENTRY_REORDERED, path, str(entry.seq))
        seen.add(entry.seq)
        highest = max(highest, entry.seq)
    if numbers != sorted(present) or missing or unreadable:
        return  # links are torn there by what was just told
    before = GENESIS
    for entry in entries:
        if entry.prev != before:
            yield Finding(Trouble.ENTRY_ADDED, path, str(entry.seq))
        before = entry.hash
