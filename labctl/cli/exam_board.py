"""The board of an exam session to a table that fits 80 columns and can be read without colour."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labctl.cli.exams import phase_name
from labctl.cli.table import console, open_table
from labctl.exam.board import Alert, Board, Row, clock_text
from labctl.exam.standing import Frozen, Readiness
from labctl.language import _, ngettext

# Signs differ in form: colour alone tells nothing.
SIGNS: Mapping[str, tuple[str, str]] = {
    "running": ("✔", "green"), "paused": ("‖", "yellow"), "stopped": ("■", "dim"), "crashed": ("✘", "red"),
    "missing": ("○", "red"),
}  # fmt: skip


def print_board(board: Board, to: Console | None = None) -> None:
    """Print the board: one row for each candidate, then the reasons that are too long for it."""
    shown = to or console()
    shown.print(escape(title(board)), style="bold")
    for alert in board.alerts:
        shown.print(alert_text(alert))
    shown.print(make_table(board.rows))
    for line in explain(board.rows):
        shown.print(escape(line))
    shown.print(escape(legend()), style="dim")


def title(board: Board) -> str:
    """Return the first line: which session, how far, by whose clock."""
    count = ngettext("{count} candidate", "{count} candidates", len(board.rows)).format(count=len(board.rows))
    parts = [board.session, board.stage_words, count, f"{board.now.astimezone():%H:%M:%S}"]
    return " – ".join([*([_("REHEARSAL")] if board.rehearsal else []), *parts])


def make_table(rows: Sequence[Row]) -> Table:
    """Return the table; alerts may take several lines, a number or a clock may not."""
    table = open_table(
        headings=(_("Candidate"), _("Phase"), _("Left"), _("Ends"), _("Machines"), _("Cons."), _("Alerts"))
    )
    table.padding = (0, 1, 0, 0)  # every column counts: alerts get what is left
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[0].no_wrap = False  # a long number may, where nothing else does
    for number in (2, 5):
        table.columns[number].justify = "right"
    for row in rows:
        table.add_row(*cells(row))
    return table


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of one candidate."""
    return (
        escape(row.number),
        phase_text(row),
        left_text(row),
        f"{row.deadline.astimezone():%H:%M:%S}" if row.deadline else "",
        machines_text(row.machines),
        "—" if row.consoles is None else str(row.consoles),
        "\n".join(map(alert_text, row.alerts)),
    )


def phase_text(row: Row) -> str:
    """Return where a candidate is: their lab, the phase, or that they are frozen or have ended."""
    if row.closed:
        return _("ended")
    if row.frozen in {Frozen.YES, Frozen.FAILED} and row.left is None:
        return _("frozen")
    return phase_name(row.phase) if row.phase else readiness_text(row.readiness)


def readiness_text(readiness: Readiness) -> str:
    """Return what is known of a lab before anything has begun."""
    return {
        Readiness.NONE: _("not prepared"),
        Readiness.READY: _("lab ready"),
        Readiness.REPAIRED: _("lab repaired"),
        Readiness.SPARE: _("spare lab used"),
        Readiness.FAILED: _("no lab"),
    }[readiness]


def left_text(row: Row) -> str:
    """Return the clock, with a sign where it stands or is over."""
    if row.left is None:
        return ""
    text = clock_text(row.left)
    if row.paused:
        return f"[yellow]‖ {text}[/]"
    return f"[red]{text}[/]" if text.startswith("−") else text


def machines_text(machines: Mapping[str, str]) -> str:
    """Return how many machines are in which state; a dash where nobody looked."""
    counts = Counter(machines.values())
    known = [(*SIGNS[state], counts[state]) for state in SIGNS if counts[state]]
    other = sum(count for state, count in counts.items() if state not in SIGNS)
    parts = [f"[{style}]{count}{sign}[/]" for sign, style, count in known] + ([f"{other}?"] if other else [])
    return " ".join(parts) or "—"


def alert_text(alert: Alert) -> str:
    """Return an alert; what must be acted on has a mark of its own."""
    return f"[bold red]! {escape(alert.text)}[/]" if alert.urgent else escape(alert.text)


def explain(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the reasons behind alerts, what many share once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for alert in row.alerts:
            if alert.why:
                reasons.setdefault((alert.text, alert.why), []).append(row.number)
    for (text, why), numbers in reasons.items():
        yield _("{numbers}: {text}: {why}").format(numbers=", ".join(numbers), text=text, why=why)


def legend() -> str:
    """Return what the signs of machines mean."""
    return _("Machines: ✔ run, ‖ stand still, ■ off, ✘ crashed, ○ missing")
