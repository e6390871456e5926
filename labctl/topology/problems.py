"""Problems of a file that a person wrote: where they stand and the text that shows them all."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from labctl.errors import InvalidFile
from labctl.language import _, ngettext

Step = str | int
Steps = tuple[Step, ...]  # the way to a value: keys and list positions, such as ("nodes", "web", "routes", 0)

ECHO = 60  # characters of a found value that are shown
WINDOW = 110  # characters of a source line that are shown
LONGEST_TYPO = 64  # nobody mistypes a name of more characters; comparing them would only take time


@dataclass(frozen=True)
class Mark:
    """A place in a file; both numbers start at 1, the column counts characters. Line 0 is the file as a whole."""

    line: int
    column: int


@dataclass(frozen=True)
class Finding:
    """What is wrong with one value, before it is known where in the file the value stands.

    `expected` and `found` are text for people. `at_key` points at the key instead of the value.
    """

    steps: Steps
    expected: str
    found: str = ""
    nearest: str = ""
    at_key: bool = False


@dataclass(frozen=True)
class Problem:
    """A finding at its place: `where` is the way to it (`nodes.web.interfaces.lan`), `source` its line."""

    path: Path
    line: int
    column: int
    where: str
    expected: str
    found: str = ""
    nearest: str = ""
    source: str = ""

    def render(self) -> str:
        """Return one line of text, and the source line with a caret below where there is one."""
        place = f"{shown(str(self.path))}:{self.line}:{self.column}" if self.line else shown(str(self.path))
        head = ": ".join(part for part in (place, self.where, self.sentence()) if part)
        return "\n".join([head, *point_at(self.source, self.column)]) if self.line else head

    def sentence(self) -> str:
        """Return what was expected, what was found and the nearest name."""
        text = _("expected {expected}, found {found}") if self.found else _("expected {expected}")
        sentence = text.format(expected=self.expected, found=self.found)
        if self.nearest:
            sentence += _('; did you mean "{name}"?').format(name=shown(self.nearest, ECHO))
        return sentence


class ProblemsFound(InvalidFile):
    """A file has problems; `problems` has them one by one, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], hint: str = "") -> None:
        self.problems = tuple(sorted(problems, key=lambda one: (one.line, one.column, one.where)))
        super().__init__(render_problems(self.problems), hint)


def render_problems(problems: Sequence[Problem]) -> str:
    """Return the text of all problems, with their number at the end."""
    count = ngettext("{count} problem", "{count} problems", len(problems)).format(count=len(problems))
    return "\n".join([*(problem.render() for problem in problems), count])


def point_at(source: str, column: int) -> list[str]:
    """Return the source line, cut around the column if it is long, and the line with the caret."""
    start = max(0, column - 1 - WINDOW * 2 // 3) if len(source) > WINDOW else 0
    shown_part = source[start : start + WINDOW].replace("\t", " ")
    head, tail = ("…" if start else ""), ("…" if len(source) > start + WINDOW else "")
    before = head + safe(shown_part[: column - 1 - start])
    return [f"    {head}{safe(shown_part)}{tail}".rstrip(), f"    {' ' * width(before)}^"]


def width(text: str) -> int:
    """Return the number of terminal cells that a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def safe(text: str) -> str:
    """Return the text without characters that a terminal would act upon or hide."""
    return "".join(char if char.isprintable() or char in "\u00a0\u202f" else ascii(char)[1:-1] for char in text)


def shown(text: str, limit: int = 200) -> str:
    """Return a name safe to print, cut after `limit` characters."""
    return safe(text[:limit]) + ("…" if len(text) > limit else "")


def quoted(text: str) -> str:
    """Return a found text in quotes, safe to print and shortened."""
    return f'"{shown(text, ECHO)}"'


def describe(value: object) -> str:
    """Return what a value of the file is, for the "found" part of a sentence."""
    if value is None:
        return _("nothing")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _("the number {number}").format(number=shown(str(value), ECHO))
    if isinstance(value, str):
        return quoted(value) if value else _("an empty text")
    return _("a mapping") if isinstance(value, dict) else _("a list")


def where(steps: Steps) -> str:
    """Return the way to a value as people write it: nodes.web.routes[0].via."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{plain_key(step)}" for step in steps)
    return text.removeprefix(".")


def plain_key(key: str) -> str:
    """Return a key as it is if it looks like one, else quoted and safe."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key) else quoted(key)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that looks most like a mistyped one, empty if none does."""
    return _nearest(name, tuple(sorted(known))) if len(name) <= LONGEST_TYPO else ""


@cache
def _nearest(name: str, known: tuple[str, ...]) -> str:
    folded = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def listing(names: Iterable[str], limit: int = 12) -> str:
    """Return names as one enumeration, cut after `limit`."""
    words = [plain_key(name) for name in sorted(names)]
    return ", ".join([*words[:limit], *(["…"] if len(words) > limit else [])])
