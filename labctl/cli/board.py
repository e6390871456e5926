"""Shows the state of labs: a table of machines for a few, a board of students and machines for a class."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from labctl.cli.table import console, open_table
from labctl.lab.status import LabStatus, NodeState, NodeStatus
from labctl.lab.words import LAB_WORDS, NODE_WORDS, why
from labctl.language import _, ngettext

FEW = 3  # labs that are shown machine by machine
SHOWN_LABS = 6  # named behind a reason that many share

HOUR, DAY = 60, 24 * 60  # minutes

# Signs differ in form: colour alone tells nothing.
NODE_SIGNS = {
    NodeState.READY: ("✔", "green"), NodeState.UNCONFIGURED: ("…", "yellow"), NodeState.SILENT: ("?", "yellow"),
    NodeState.PAUSED: ("‖", "yellow"), NodeState.STOPPED: ("■", "dim"), NodeState.CRASHED: ("✘", "red"),
    NodeState.MISSING: ("○", "red"), NodeState.RUNNING: ("▶", "green"),
}  # fmt: skip
LAB_SIGNS = {
    "ready": ("✔", "green"), "working": ("…", "yellow"), "partly": ("!", "yellow"), "stopped": ("■", "dim"),
    "failed": ("✘", "red"),
}  # fmt: skip


def age(made: str, now: datetime) -> str:
    """Return how long ago something was, in its largest unit; a dash where that is not known."""
    if not made:
        return "—"
    minutes = max(0, int((now - datetime.fromisoformat(made)).total_seconds() // 60))
    if minutes < HOUR:
        return _("{count} min").format(count=minutes)
    if minutes < 2 * DAY:
        return _("{count} h").format(count=minutes // HOUR)
    return _("{count} d").format(count=minutes // DAY)


def checks_passed(lab: LabStatus) -> str:
    """Return how many of the checks that were run have passed."""
    total = sum(lab.checks.values())
    return f"{lab.checks['passed']}/{total}" if total else "—"


def print_status(labs: Sequence[LabStatus], now: datetime | None = None) -> None:
    """Print a few labs machine by machine, many as one board for each topology."""
    if not labs:
        click.echo(_("no lab yet"))
        click.echo(_("Try: {hint}").format(hint="labctl up dmz --student demo"), err=True)
        return
    at = now or datetime.now(UTC)
    if len(labs) <= FEW:
        print_machines(labs, at)
        return
    for topology in sorted({lab.topology for lab in labs}):
        print_board(topology, [lab for lab in labs if lab.topology == topology], at)


def print_machines(labs: Sequence[LabStatus], now: datetime) -> None:
    """Print one row for each machine."""
    headings = (_("Lab"), _("State"), _("Machine"), _("State"), _("Address"), _("Checks"), _("Age"))
    table = open_table(headings=headings)
    for number in (0, 2, 4):
        table.columns[number].no_wrap = True  # names and addresses are there to be copied
    for lab in labs:
        head = (lab.name, _(LAB_WORDS[lab.state]))
        tail = (checks_passed(lab), age(lab.made, now))
        for number, node in enumerate(lab.nodes):
            sign, style = NODE_SIGNS[node.state]
            row = (node.name, f"[{style}]{sign} {_(NODE_WORDS[node.state][0])}[/]", node.address)
            first, last = (head, tail) if number == 0 else (("", ""), ("", ""))
            table.add_row(*first, *row, *last, end_section=number == len(lab.nodes) - 1)
        if not lab.nodes:
            table.add_row(*head, "—", "", "", *tail, end_section=True)
    console().print(table)
    for line in explain(labs):
        click.echo(line)


def print_board(topology: str, labs: Sequence[LabStatus], now: datetime) -> None:
    """Print one row for each lab of a topology and one column for each machine, then what is wrong and why."""
    members = list(dict.fromkeys(node.name for lab in labs for node in lab.nodes))
    title = ngettext("{topology}: {count} lab", "{topology}: {count} labs", len(labs))
    headings = (_("Student"), _("State"), *members, _("Checks"), _("Age"))
    table = open_table(title.format(topology=topology, count=len(labs)), headings)
    for column, heading in zip(table.columns, headings, strict=True):
        column.no_wrap = heading not in members  # a machine's words may take two lines, a name may not
    for lab in sorted(labs, key=lambda one: one.owner):
        sign, style = LAB_SIGNS[lab.state]
        nodes = {node.name: node for node in lab.nodes}
        cells = [board_cell(nodes.get(member)) for member in members]
        state = f"[{style}]{sign} {_(LAB_WORDS[lab.state])}[/]"
        table.add_row(lab.owner, state, *cells, checks_passed(lab), age(lab.made, now))
    console().print(table)
    for line in [*explain(labs), count_states(labs)]:
        click.echo(line)


def board_cell(node: NodeStatus | None) -> str:
    """Return a machine on the board: a sign, and a word unless it is ready."""
    if node is None:
        return "—"
    sign, style = NODE_SIGNS[node.state]
    if node.state is NodeState.READY:
        return f"[{style}]{sign}[/]"
    return f"[{style}]{sign} {_(NODE_WORDS[node.state][1])}[/]"


def explain(labs: Sequence[LabStatus]) -> list[str]:
    """Return one line for each reason, with those whom it concerns; what many share is told once."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for lab in labs:
        for node in lab.nodes:
            if reason := why(node):
                reasons.setdefault(reason, {}).setdefault(lab.owner, []).append(node.name)
    return [_("{said}: {why}").format(said=reason, why=list_machines(found)) for reason, found in reasons.items()]


def list_machines(found: Mapping[str, Sequence[str]]) -> str:
    """Return owners with their machines, the first few only."""
    shown = [f"{owner} ({', '.join(names)})" for owner, names in sorted(found.items())[:SHOWN_LABS]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (" " + _("and {count} more").format(count=more) if more else "")


def count_states(labs: Sequence[LabStatus]) -> str:
    """Return how many labs are in which state, on one line."""
    counts = {state: sum(lab.state == state for lab in labs) for state in LAB_SIGNS}
    text = _("{state}: {count}")
    return ", ".join(text.format(state=_(LAB_WORDS[state]), count=count) for state, count in counts.items() if count)
