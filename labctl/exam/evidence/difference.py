"""Two or three Trees of one machine to what was changed, and to a text in which a jury reads it."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from labctl.exam.evidence.tree import Entry, EntryKind, Tree
from labctl.language import _

CONTEXT = 3  # lines around a change
MOST_LINES = 2000  # of one file's difference
PASSWORDS = frozenset({"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"})
HASH = re.compile(r"^([^:\n]*:[!*]?)([^:*!\n][^:\n]*)", re.MULTILINE)
PEM_KEY = "PRIVATE KEY-----"  # of OpenSSH, PKCS #1 and PKCS #8 alike


class Sort(StrEnum):
    """How an entry differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RIGHTS = "rights"


@dataclass(frozen=True)
class Change:
    """One path that differs; `before` is None for what was added, `after` for what was removed."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def sort(self) -> Sort:
        """Return how it differs."""
        if self.before is None:
            return Sort.ADDED
        if self.after is None:
            return Sort.REMOVED
        mine, theirs = self.before.facts, self.after.facts
        return Sort.RIGHTS if (mine[0], *mine[4:]) == (theirs[0], *theirs[4:]) else Sort.CHANGED

    def to_dict(self) -> dict[str, JsonValue]:
        """Return it as JSON has it; keys and codes are stable."""
        return {
            "path": self.path, "change": str(self.sort),
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """What differs on one machine.

    `work` was changed since the candidate began; `early` before that, when labctl gave the machine what is its own.
    Without a tree of the start, all is `work`. `unread` says what could not be compared, and why.
    """

    node: str
    work: tuple[Change, ...]
    early: tuple[Change, ...] = ()
    unread: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, JsonValue]:
        """Return it as JSON has it."""
        return {
            "version": 1, "node": self.node, "work": [one.to_dict() for one in self.work],
            "early": [one.to_dict() for one in self.early], "unread": [*self.unread],
        }  # fmt: skip


def find_difference(node: str, golden: Tree, end: Tree, start: Tree | None = None) -> Difference:
    """Return what differs between the golden lab's machine and the candidate's in the end."""
    unread = tuple(dict.fromkeys((*golden.unread, *(start.unread if start else ()), *end.unread)))
    if start is None or not start.entries:
        return Difference(node, compare(golden, end), (), unread)
    return Difference(node, compare(start, end), compare(golden, start), unread)


def compare(before: Tree, after: Tree) -> tuple[Change, ...]:
    """Return the paths that differ, in their order; nothing where one of both could not be read at all."""
    if not before.entries or not after.entries:
        return ()
    changes = []
    for path in sorted(before.entries.keys() | after.entries.keys()):
        old, new = before.entries.get(path), after.entries.get(path)
        if (old and old.facts) != (new and new.facts):
            changes.append(Change(path, old, new))
    return tuple(changes)


def write_difference(difference: Difference) -> str:
    """Return the text, in the reader's language: what a machine wrote can do nothing to a terminal."""
    parts = [section(_("Since the candidate began"), difference.work)]
    if difference.early:
        parts.append(section(_("Before that, by labctl: what is this lab's own"), difference.early))
    if difference.unread:
        lines = "\n".join(f"  {visible(line)}" for line in difference.unread)
        parts.append(f"#### {_('Could not be compared')}\n\n{lines}\n")
    title = _("Configuration of {node}, compared with the golden lab").format(node=difference.node)
    return "\n".join([f"{title}\n", *parts])


def section(title: str, changes: Sequence[Change]) -> str:
    """Return the changes of one time under their title."""
    lines = [f"#### {title}", ""]
    if not changes:
        lines.append(_("Nothing was changed."))
    for change in changes:
        lines += [heading(change), *body(change), ""]
    return "\n".join(lines).rstrip() + "\n"


def heading(change: Change) -> str:
    """Return the line that says what became of a path."""
    words = {
        Sort.ADDED: _("added"), Sort.REMOVED: _("removed"), Sort.CHANGED: _("changed"), Sort.RIGHTS: _("other rights"),
    }  # fmt: skip
    return f"== {visible(change.path)} ({words[change.sort]})"


def body(change: Change) -> Iterator[str]:
    """Yield what differs: rights, where a link leads, the lines of a text, or the hashes of what is no text."""
    old, new = change.before, change.after
    sides = (("-", old), ("+", new))
    if rights(old) != rights(new):
        yield from (f"{sign} {rights(one)}" for sign, one in sides if one)
    if change.sort is Sort.RIGHTS or all(one is None or one.kind is not EntryKind.FILE for one in (old, new)):
        yield from (f"{sign} -> {visible(one.target)}" for sign, one in sides if one and one.target)
        return
    before, after = shown_text(old), shown_text(new)
    if before is None or after is None:
        for sign, one in sides:
            if one and one.kind is EntryKind.FILE:
                yield f"{sign} {_('{size} bytes').format(size=one.size)}  sha256:{one.sha256 or '?'}"
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "", "", lineterm="", n=CONTEXT)
    for number, line in enumerate(lines):
        if number >= MOST_LINES:
            yield _("(the rest is left out; the disk has it)")
            return
        if number > 1:  # the names of both files stand in the heading
            yield visible(line)


def rights(entry: Entry | None) -> str:
    """Return kind, mode and owner in a line; nothing for what is not there."""
    return f"{entry.kind} {entry.mode:04o} {entry.uid}:{entry.gid}" if entry else ""


def shown_text(entry: Entry | None) -> str | None:
    """Return the text of an entry without what must stay secret; empty for what is not there, None for no text."""
    if entry is None or entry.kind is not EntryKind.FILE:
        return ""
    if entry.text is None or PEM_KEY in entry.text:
        return None
    return HASH.sub(r"\1…", entry.text) if entry.path in PASSWORDS else entry.text


def visible(text: str) -> str:
    """Return a line in which every letter can be seen: others, such as escapes and turned directions, by number."""
    return "".join(letter if letter.isprintable() or letter == "\t" else escaped(letter) for letter in text)


def escaped(letter: str) -> str:
    """Return a letter by its number."""
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")
