"""What is wrong with evidence or a log, by name: codes for programs, sentences for people."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from labctl.exam.evidence.difference import visible
from labctl.language import _


class Trouble(StrEnum):
    """What was found. PARTIAL is no change: it was never whole."""

    CHANGED = "changed"
    SIZE = "size"
    MISSING = "missing"
    ADDED = "added"
    LINK = "link"
    UNREADABLE = "unreadable"
    NO_MANIFEST = "no manifest"
    SIGNATURE = "signature"
    OTHER_KEY = "other key"
    PARTIAL = "partial"
    ENTRY_EDITED = "entry edited"
    ENTRY_REORDERED = "entry reordered"
    ENTRY_MISSING = "entry missing"
    ENTRY_ADDED = "entry added"
    ENTRY_UNREADABLE = "entry unreadable"
    LOG_CUT = "log cut"
    LOG_OTHER = "log of another head"
    EVIDENCE_MISSING = "evidence missing"
    OTHER_SESSION = "another session"


@dataclass(frozen=True)
class Finding:
    """One trouble. `path` is seen from the folder that was verified; `detail` has numbers or hashes."""

    trouble: Trouble
    path: str
    detail: str = ""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return it as JSON has it."""
        return {"trouble": str(self.trouble), "path": self.path, "detail": self.detail}

    def text(self) -> str:
        """Return the sentence, in the reader's language."""
        return sentence(self.trouble).format(path=visible(self.path), detail=visible(self.detail))


def sentence(trouble: Trouble) -> str:
    """Return the sentence of a trouble, with places for {path} and {detail}."""
    return {
        Trouble.CHANGED: _('"{path}" was changed: its SHA-256 is another one'),
        Trouble.SIZE: _('"{path}" was changed: it has {detail}'),
        Trouble.MISSING: _('"{path}" is missing'),
        Trouble.ADDED: _('"{path}" was added: no manifest lists it'),
        Trouble.LINK: _('"{path}" is no file any more'),
        Trouble.UNREADABLE: _('"{path}" cannot be read: {detail}'),
        Trouble.NO_MANIFEST: _('"{path}" is missing or no manifest of evidence'),
        Trouble.SIGNATURE: _('"{path}" does not have the signature of the session: it was changed'),
        Trouble.OTHER_KEY: _('"{path}" is another key than the one that was expected: {detail}'),
        Trouble.PARTIAL: _('"{path}" is not complete: it stopped at {detail}'),
        Trouble.ENTRY_EDITED: _('"{path}" was changed: entry {detail} does not have its own hash'),
        Trouble.ENTRY_REORDERED: _('"{path}" was changed: entry {detail} is not in its place'),
        Trouble.ENTRY_MISSING: _('"{path}" was changed: entry {detail} is missing'),
        Trouble.ENTRY_ADDED: _('"{path}" was changed: entry {detail} does not follow the one before'),
        Trouble.ENTRY_UNREADABLE: _('"{path}" was changed: line {detail} cannot be read'),
        Trouble.LOG_CUT: _('"{path}" was cut: {detail}'),
        Trouble.LOG_OTHER: _('"{path}" was written anew: {detail}'),
        Trouble.EVIDENCE_MISSING: _('"{path}" is missing: the log says that it was collected'),
        Trouble.OTHER_SESSION: _('"{path}" is of another session: {detail}'),
    }[trouble]
