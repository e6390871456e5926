"""Tables that can be read without colour, on a terminal and in a log."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 120  # columns where stdout is no terminal: a table in a log must not wrap at 80


def console(*, stderr: bool = False) -> Console:
    """Return a console for results."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def open_table(title: str = "", headings: Iterable[str] = ()) -> Table:
    """Return an empty table; without vertical lines more fits on a screen, and a copy of it is still text."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table
