"""A file that a person wrote to its text: at most 256 KiB of UTF-8, with nothing in it that hides from the reader."""

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from labctl.language import _
from labctl.topology.problems import Finding, Mark, Problem, ProblemsFound, Steps, nearest, quoted, where

LARGEST = 256 * 1024  # bytes

# Control characters, line ends that only some programs know, halves of surrogate pairs, and the marks
# that make a terminal show a text in another order than a program reads it.
FORBIDDEN = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"
FORBIDDEN_IN_FILE = re.compile(f"[{FORBIDDEN}]")
FORBIDDEN_IN_VALUE = re.compile(f"[{FORBIDDEN}\\r]")
LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Source:
    """A text file and its lines."""

    path: Path
    text: str
    lines: tuple[str, ...]

    def problem(self, mark: Mark, finding: Finding) -> Problem:
        """Return the finding at its place, with its source line."""
        source = self.lines[mark.line - 1] if 0 < mark.line <= len(self.lines) else ""
        way = where(finding.steps)
        return Problem(
            self.path, mark.line, mark.column, way, finding.expected, finding.found, finding.nearest, source
        )  # fmt: skip


def read_source(path: Path) -> Source:
    """Read a text file of at most 256 KiB.

    Raises ProblemsFound where it cannot be read, is no UTF-8 text or has characters that hide something.
    """
    raw = read_bytes(path)
    if b"\0" in raw:
        raise refuse(path, _("a text file"), _("a binary file"))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        text = raw.decode("utf-8-sig", errors="replace")
        lines = tuple(LINE_END.split(text))
        before = LINE_END.split(raw[: exc.start].decode("utf-8-sig", errors="replace"))
        finding = Finding((), _("text in UTF-8"), _("the byte {byte}").format(byte=f"0x{raw[exc.start]:02x}"))
        raise ProblemsFound(
            [Source(path, text, lines).problem(Mark(len(before), len(before[-1]) + 1), finding)]
        ) from exc
    return find_lines(path, text)


def find_lines(path: Path, text: str) -> Source:
    """Return a text as lines. Raises ProblemsFound for characters that nobody sees."""
    source = Source(path, text, tuple(LINE_END.split(text)))
    hidden = [
        source.problem(Mark(number, match.start() + 1), hidden_character((), match.group()))
        for number, line in enumerate(source.lines, start=1)
        if (match := FORBIDDEN_IN_FILE.search(line))
    ]
    if hidden:
        raise ProblemsFound(hidden)
    return source


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file, or raise ProblemsFound."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refuse(path, _("a file"), _("a folder"))
        if not stat.S_ISREG(mode):
            raise refuse(path, _("a regular file"), _("a device, pipe or socket"))
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError as exc:
        raise refuse(path, _("a file"), _("nothing"), near_file(path)) from exc
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise refuse(path, _("a file that can be read"), quoted(reason)) from exc
    if len(raw) > LARGEST:
        raise refuse(path, _("at most {size} KiB").format(size=LARGEST // 1024), _("a larger file"))
    return raw


def near_file(path: Path) -> str:
    """Return the file beside a missing one whose name looks most like it."""
    try:
        return nearest(path.name, [one.name for one in path.parent.iterdir()])
    except OSError:
        return ""


def refuse(path: Path, expected: str, found: str, near: str = "") -> ProblemsFound:
    """Return the error about a file as a whole."""
    return ProblemsFound([Problem(path, 0, 0, "", expected, found, near)])


def hidden_character(steps: Steps, character: str) -> Finding:
    """Return the finding about a control character."""
    found = _("the character U+{code}").format(code=f"{ord(character):04X}")
    return Finding(steps, _("visible text without control characters"), found)
