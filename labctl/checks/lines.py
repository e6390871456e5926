"""Untrusted output to short sentences that a terminal only shows."""

from labctl.language import _

LONGEST = 300  # characters


def first_line(text: str) -> str:
    """Return the first non-empty line: some programs explain below it at length."""
    lines = [line for line in text.splitlines() if line.strip()]
    return last_line(lines[0] if lines else "")


def last_line(text: str) -> str:
    """Return the last non-empty line, printable characters only."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else _("no message")


def printable(text: str, longest: int = LONGEST) -> str:
    """Return a text of one line that a terminal only shows."""
    return "".join(letter for letter in text.replace("\n", "; ") if letter.isprintable())[:longest]
