"""Reads the end of a node's serial console log, for people: no control characters reach their terminal."""

import re
from pathlib import Path

from labctl.language import _

ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-_])")  # ECMA-48 control sequences
KEPT_BYTES = 65536


def read_console(path: Path) -> list[str]:
    """Return the last lines of the console, cleaned; none if there is no log yet."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - KEPT_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = (ESCAPES.sub("", line).replace("\r", "") for line in text.split("\n"))
    return ["".join(letter for letter in line if letter.isprintable()).rstrip() for line in lines if line.strip()]


def read_console_tail(path: Path, count: int = 8) -> str:
    """Return the last lines as a paragraph to put below an error, empty if the console said nothing."""
    lines = read_console(path)[-count:]
    if not lines:
        return ""
    return "\n" + "\n".join([_("last lines of its console:"), *(f"  | {line}" for line in lines)])
