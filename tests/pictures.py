"""Records a real run of labctl as the SVG of the documentation: `python -m tests.pictures FILE.svg WORDS…`."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118
LABCTL = Path(sys.executable).with_name("labctl")


def record(words: list[str]) -> str:
    """Return what a person's terminal shows of a run, with its colours."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [LABCTL, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, env=environment
    ) as child:
        os.close(theirs)
        shown = b""
        while chunk := read(ours):
            shown += chunk
    print(f"exit code {child.returncode}", file=sys.stderr)
    return shown.decode().replace("\r\n", "\n")


def read(descriptor: int) -> bytes:
    """Return more output, nothing once the other side has closed (Linux says so with EIO)."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def main(target: Path, words: list[str]) -> None:
    """Write the picture."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Text(f"$ labctl {' '.join(words)}", style="bold"))
        console.print(Text.from_ansi(record(words)))
        picture = console.export_svg(title="labctl")
    # Rich's picture would fetch its font from a server; the reader's own monospace font does as well.
    target.write_text(re.sub(r"\s*@font-face \{.*?\n    \}", "", picture, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
