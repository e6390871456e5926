"""The verb `competencies`: what the labs serve of the official list, and the gaps."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from labctl.cli.planning import JSON
from labctl.cli.table import PLAIN_WIDTH, console, open_table
from labctl.cli.workplace import complete_topologies
from labctl.competencies import Indicators, Session, Status, load_competencies, load_indicators, load_sessions
from labctl.errors import ExitCode
from labctl.lab.source import load_named
from labctl.lab.workplace import shipped_catalogue
from labctl.language import N_, _, current_language, ngettext
from labctl.shipped import shipped_folder
from labctl.topology.coverage import CORE, Coverage, Extent, cover, share_of
from labctl.topology.load import load_topology, shipped_topologies
from labctl.topology.model import Topology

SIGNS = {Extent.COVERED: ("✔", "green"), Extent.ANNOUNCED: ("!", "yellow"), Extent.GAP: ("○", "red")}
STATUS_NAMES: Mapping[Status, str] = {
    Status.OPEN_DATA: N_("published as open data"),
    Status.CORROBORATED: N_("found in several public copies"),
    Status.SINGLE_SOURCE: N_("found in one copy only, not whole"),
    Status.SLAM_COPY: N_("seen in a copy of the option SLAM only"),
    Status.NOT_FOUND: N_("not found"),
    Status.PROPOSAL: N_("labctl's own, not official"),
}


@dataclass(frozen=True)
class View:
    """What is shown: of which labs, and whether by the names of checks and faults or by their numbers."""

    labs: tuple[str, ...]
    named: bool
    details: bool


@click.command(
    help=_(
        "Show which labs, checks and faults serve each competency of the official list, and the gaps: of all shipped "
        "topologies, or of one."
    )
)
@click.option(
    "--topology", metavar=_("TOPOLOGY"), shell_complete=complete_topologies,
    help=_("Only this topology; its checks and faults are named."),
)  # fmt: skip
@click.option(
    "--details", is_flag=True,
    help=_("Name checks and faults, show all of block B1, the official indicators and labctl's own outcomes."),
)  # fmt: skip
@JSON
def competencies(topology: str | None, details: bool, as_json: bool) -> int:
    labs = load_shipped() if topology is None else [load_named(topology)[1]]
    coverage = cover(labs, load_competencies())
    names = tuple(lab.name for lab in labs)
    if as_json:
        click.echo(json.dumps(coverage_document(names, coverage), ensure_ascii=False))
    else:
        print_coverage(coverage, View(names, details or topology is not None, details))
    return ExitCode.DONE


def load_shipped() -> list[Topology]:
    """Return the topologies that labctl ships, by name."""
    catalogue = shipped_catalogue()
    return [load_topology(path, catalogue) for path in shipped_topologies(shipped_folder("topologies")).values()]


def coverage_document(labs: Sequence[str], coverage: Mapping[str, Coverage]) -> dict[str, object]:
    """Return the coverage as plain data."""
    newest = load_sessions()[0]
    blocks = [
        {
            "id": name, "title": one.competency.title, "exam": newest.exams.get(name),
            "core": name in CORE, **vars(share_of(coverage, name)),
        }
        for name, one in coverage.items()
        if name == one.competency.block
    ]  # fmt: skip
    return {
        "version": 1,
        "labs": list(labs),
        "sessions": [session_document(one) for one in load_sessions()],
        "blocks": blocks,
        "competencies": [competency_document(one) for one in coverage.values()],
    }


def session_document(session: Session) -> dict[str, object]:
    """Return a table of exam numbers as plain data."""
    return {
        "since": session.since, "until": session.until, "exams": dict(session.exams), "source": session.source,
    }  # fmt: skip


def competency_document(one: Coverage) -> dict[str, object]:
    """Return what serves a competency, and what shows it, as plain data."""
    found = load_indicators().get(one.competency.id)
    return {
        "id": one.competency.id,
        "block": one.competency.block,
        "title": one.competency.title,
        "status": one.competency.status,
        "source": one.competency.source,
        "extent": one.extent,
        "labs": list(one.labs),
        "checks": [{"lab": lab, "id": name} for lab, names in one.checks.items() for name in names],
        "faults": [{"lab": lab, "id": name} for lab, names in one.faults.items() for name in names],
        "indicators": indicators_document(found) if found else None,
    }


def indicators_document(found: Indicators) -> dict[str, object]:
    """Return what shows a competency as plain data; labctl's own outcomes stand apart, with a status of their own."""
    return {
        "status": found.status,
        "source": found.source,
        "official": list(found.official),
        "outcomes": {"status": Status.PROPOSAL, "items": [{"en": one.en, "fr": one.fr} for one in found.goals]},
    }


def print_coverage(coverage: Mapping[str, Coverage], view: View) -> None:
    """Print a table for each block, what the signs mean and how much of the core is covered."""
    screen = console()
    for name, one in coverage.items():
        if name == one.competency.block:
            print_block(screen, coverage, name, view)
    screen.print(
        _("✔ shown by a check or a fault   ! announced by a lab, shown by nothing   ○ gap: no lab serves it"),
        style="dim",
    )
    shares = [(block, share_of(coverage, block)) for block in CORE]
    counts = [
        _("{covered} of {total} in {block}").format(covered=share.covered, total=share.total, block=block)
        for block, share in shares
    ]
    text = _("Sub-competencies covered by {labs}: {counts}")
    labs = ", ".join(view.labs) or _("no lab")
    screen.print(escape(text.format(labs=labs, counts=", ".join(counts))), style="bold")


def print_block(screen: Console, coverage: Mapping[str, Coverage], block: str, view: View) -> None:
    """Print the heading of a block, its competencies and what is known of their official indicators."""
    title = coverage[block].competency.title
    screen.print(f"[bold]{block} · {escape(title)}[/]")
    share = share_of(coverage, block)
    covered = _("covered: {covered} of {total}").format(covered=share.covered, total=share.total)
    screen.print(f"{exam_line(block)} · {covered}")
    every = view.details or block in CORE
    shown = [one for one in lines_of(coverage, block) if every or is_served(one.competency.id, coverage)]
    if shown:
        screen.print(block_table(screen, shown, view))
    else:
        screen.print()
    hidden = share.total - sum(one.competency.is_part for one in shown)
    if hidden:
        text = ngettext(
            "{count} more sub-competency of {block}, which no lab serves: --details",
            "{count} more sub-competencies of {block}, which no lab serves: --details",
            hidden,
        )
        screen.print(text.format(count=hidden, block=block), style="dim")
    if view.details:
        print_indicators(screen, coverage, block)
    else:
        screen.print(indicators_line(block), style="dim")
    screen.print()


def exam_line(block: str) -> str:
    """Return the exam of a block in the newest session that is known, and what it was called before."""
    now, *before = load_sessions()
    words = [_("exam {number} (session {year})").format(number=now.exams[block], year=now.since)]
    for old in before:
        text = _("{number} in sessions {since} to {until}")
        words.append(text.format(number=old.exams[block], since=old.since, until=old.until))
    return ", ".join(words)


def lines_of(coverage: Mapping[str, Coverage], block: str) -> list[Coverage]:
    """Return the competencies of a block and their parts; the block itself too where something names it."""
    inside = [one for one in coverage.values() if one.competency.block == block]
    return [one for one in inside if one.competency.id != block or one.extent is not Extent.GAP]


def is_served(name: str, coverage: Mapping[str, Coverage]) -> bool:
    """Tell whether something serves a competency or a part of it."""
    inside = (one for other, one in coverage.items() if other == name or other.startswith(f"{name}."))
    return any(one.extent is not Extent.GAP for one in inside)


def block_table(screen: Console, shown: Sequence[Coverage], view: View) -> Table:
    """Return the table of a block, as wide as the screen up to what can be read with ease.

    All blocks get the same widths, so that the eye can go straight down.
    """
    table = open_table()
    table.width = min(screen.width, PLAIN_WIDTH)
    table.add_column(_("Code"), width=8, no_wrap=True)
    table.add_column(_("Competency"), ratio=4 if view.named else 3)
    if view.named:
        table.add_column(_("Checks"), ratio=4, overflow="fold")
        table.add_column(_("Faults"), ratio=3, overflow="fold")
    else:
        table.add_column(_("Labs"), ratio=2, overflow="fold")
        table.add_column(_("Checks"), width=9, justify="right")
        table.add_column(_("Faults"), width=6, justify="right")
    for one in shown:
        table.add_row(*cells(one, view), style=None if one.competency.is_part else "bold")
    return table


def cells(one: Coverage, view: View) -> Iterator[str]:
    """Yield the cells of a row."""
    name, title = one.competency.id, escape(one.competency.title)
    sign, style = SIGNS[one.extent]
    # Only parts can be gaps: few name a whole competency, and none has to.
    told = one.competency.is_part or one.extent is Extent.COVERED
    yield f"[{style}]{sign}[/] {name}" if told else f"  {name}"
    yield title
    if not one.competency.is_part and one.extent is Extent.GAP:
        return
    word = {Extent.GAP: _("gap"), Extent.ANNOUNCED: _("no check")}.get(one.extent, "")
    if view.named:
        if word and len(view.labs) > 1 and one.labs:
            word = f"{', '.join(one.labs)}: {word}"
        yield names_cell(one.checks, view) or (f"[{style}]{word}[/]" if word else "–")
        yield names_cell(one.faults, view) or ("" if word else "–")
    else:
        yield ", ".join(one.labs) or f"[{style}]{word}[/]"
        yield count_cell(one.checks)
        yield count_cell(one.faults)


def names_cell(served: Mapping[str, Sequence[str]], view: View) -> str:
    """Return ids of checks or faults, after the name of their lab where several are shown."""
    lines = [(f"{lab}: " if len(view.labs) > 1 else "") + ", ".join(names) for lab, names in served.items()]
    return "\n".join(lines)


def count_cell(served: Mapping[str, Sequence[str]]) -> str:
    """Return a number of checks or faults."""
    return str(sum(len(names) for names in served.values()) or "–")


def indicators_line(block: str) -> str:
    """Return in one line how well the official indicators of a block are attested."""
    by_status: dict[Status, list[str]] = {}
    for name, found in load_indicators().items():
        if load_competencies()[name].block == block:
            by_status.setdefault(found.status, []).append(name)
    words = (f"{', '.join(names)} {_(STATUS_NAMES[status])}" for status, names in by_status.items())
    return _("Official indicators: {words}").format(words=" · ".join(words))


def print_indicators(screen: Console, coverage: Mapping[str, Coverage], block: str) -> None:
    """Print where the titles of a block are from, then the official indicators and labctl's own outcomes."""
    whole = coverage[block].competency
    text = _("Titles: {status} ({source})")
    screen.print(escape(text.format(status=_(STATUS_NAMES[whole.status]), source=whole.source)), style="dim")
    for name, found in load_indicators().items():
        one = load_competencies()[name]
        if one.block == block:
            screen.print(f"\n[bold]{name} {escape(one.title)}[/]")
            head = _("Official indicators: {words}").format(words=_(STATUS_NAMES[found.status]))
            print_list(screen, head, found.official)
            if found.goals:
                own = _("Outcomes that machines can check: {status}").format(status=_(STATUS_NAMES[Status.PROPOSAL]))
                print_list(screen, own, [goal.pick(current_language()) for goal in found.goals])


def print_list(screen: Console, head: str, items: Sequence[str]) -> None:
    """Print items below a heading, wrapped within their indentation."""
    screen.print(Padding(escape(head), (0, 0, 0, 2)))
    grid = Table.grid(padding=(0, 1))
    for item in items:
        grid.add_row("-", escape(item))
    if items:
        screen.print(Padding(grid, (0, 0, 0, 4)))
