"""The verb family `variant`: list, show."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from pydantic import JsonValue
from rich.markup import escape

from labctl.cli.faults import read_topology
from labctl.cli.labs import LABS
from labctl.cli.planning import JSON, SESSION
from labctl.cli.selection import CLASS, STUDENT, TOPOLOGY, find_owners, require_labs, select_labs
from labctl.cli.table import console, open_table
from labctl.cli.workplace import complete_labs, complete_topologies, open_workplace
from labctl.errors import ExitCode
from labctl.faults import find_faults
from labctl.lab.lock import who
from labctl.lab.own_values import Owned, draw_owned
from labctl.lab.source import load_source
from labctl.lab.workplace import Workplace
from labctl.language import _, current_language, ngettext
from labctl.topology.faults import Fault
from labctl.topology.model import Topology
from labctl.topology.parts import whole_parts
from labctl.topology.spaces import Space, space_of
from labctl.topology.variants import AnyVariant, FaultVariant
from labctl.variants import drawn_faults, largest_class

NO_DEFAULT = "—"


@click.group(help=_("Show the values that differ from one owner to the next."))
def variant() -> None:
    """Hold the variant verbs."""


def complete_all(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[object]:
    """Complete labs and shipped topologies."""
    return [*complete_labs(ctx, param, incomplete), *complete_topologies(ctx, param, incomplete)]


@variant.command(
    name="list", help=_("List what may vary in a lab or a topology, and for how many owners it is enough.")
)
@click.argument("topology", metavar=_("LAB-OR-TOPOLOGY"), shell_complete=complete_all)
@JSON
def list_all(topology: str, as_json: bool) -> int:
    found, language = read_topology(topology), current_language()
    parts = whole_parts(found)
    spaces = {name: space_of(one, parts) for name, one in found.variants.items()}
    most = largest_class(found, spaces)
    if as_json:
        items = [describe(name, one, spaces[name], language) for name, one in found.variants.items()]
        data = {"version": 1, "topology": found.name, "variants": items, "most_owners": most}
        click.echo(json.dumps(data, ensure_ascii=False))
        return ExitCode.DONE
    if not found.variants:
        click.echo(_("{topology}: nothing varies from one owner to the next").format(topology=found.name))
        return ExitCode.DONE
    table = open_table(headings=(_("Name"), _("Type"), _("Meaning"), _("Values"), _("Without a session"), _("Unique")))
    for name, one in found.variants.items():
        default = str(getattr(one, "default", NO_DEFAULT))
        unique = _("yes") if one.unique else _("no")
        table.add_row(name, one.type, escape(one.title.pick(language)), str(spaces[name].size), default, unique)
    console().print(table)
    text = ngettext(
        "{topology}: at most {count} owner of a session has values of their own",
        "{topology}: at most {count} owners of a session have values of their own",
        most,
    )
    click.echo(text.format(topology=found.name, count=most))
    return ExitCode.DONE


def describe(name: str, one: AnyVariant, space: Space, language: str) -> dict[str, JsonValue]:
    """Return a variant as `--json` shows it."""
    default = getattr(one, "default", None)
    return {
        "name": name, "type": one.type, "title": one.title.pick(language), "size": space.size, "unique": one.unique,
        "default": default if default is None or isinstance(default, int) else str(default),
    }  # fmt: skip


@variant.command(
    help=_(
        "Show the values of owners, as their task may tell them. With --session and --topology they are drawn now, "
        "where they were not yet, and stay. --key is for trainers: it adds the answers."
    )
)
@LABS
@CLASS
@STUDENT
@TOPOLOGY
@SESSION
@click.option("--key", is_flag=True, help=_("The answer key: the drawn faults and their cures too. For trainers only."))
@JSON
def show(
    labs: Sequence[str], roster: Path | None, student: str, topology: str, session: str, key: bool, as_json: bool
) -> int:
    language = current_language()
    with open_workplace() as place:
        if session:
            found = draw_for(place, topology, session, find_owners(student, roster))
        else:
            wanted = require_labs(select_labs(place, labs, roster, student, topology))
            found = {lab: place.load_owned(lab) for lab in wanted}
        if key:
            for lab in found:
                place.store.add_event(lab, who(), "variant key")
    if as_json:
        items = [to_dict(lab, owned, language, key=key) for lab, owned in found.items()]
        click.echo(json.dumps({"version": 1, "labs": items}, ensure_ascii=False))
    else:
        for lab, owned in found.items():
            print_values(lab, owned, language, key=key)
    return ExitCode.DONE


def draw_for(place: Workplace, topology: str, session: str, owners: Sequence[str]) -> Mapping[str, Owned]:
    """Return what owners have in a session, by the names of their labs, which need not exist yet."""
    if not topology:
        raise click.UsageError(_("--session needs --topology: the name of a topology, or its file"))
    _path, template, base = load_source(topology)
    drawn = draw_owned(place, (template, base), place.catalogue, session, owners)
    return {f"{base.name}-{owner}": owned for owner, owned in drawn.items()}


def open_values(owned: Owned) -> list[tuple[str, AnyVariant, JsonValue]]:
    """Return what an owner may know: name, variant and value of each that is not to be found out."""
    variants = owned.topology.variants
    values: Mapping[str, JsonValue] = owned.values or {}
    return [
        (name, one, values.get(name, plain_default(one)))
        for name, one in variants.items()
        if not isinstance(one, FaultVariant)
    ]


def plain_default(one: AnyVariant) -> JsonValue:
    """Return the value of a lab that belongs to no session."""
    default = getattr(one, "default", None)
    return default if default is None or isinstance(default, int) else str(default)


def faults_of(owned: Owned) -> tuple[Fault, ...]:
    """Return the faults that an owner has drawn."""
    return find_faults(owned.topology, drawn_faults(owned.topology, owned.values or {}))


def to_dict(lab: str, owned: Owned, language: str, *, key: bool) -> dict[str, JsonValue]:
    """Return the values of one owner as `--json` shows them."""
    faults = faults_of(owned)
    found: dict[str, JsonValue] = {
        "lab": lab,
        "owner": owner_of(lab, owned.topology),
        "session": owned.own.session if owned.own else None,
        "values": [
            {"name": name, "title": one.title.pick(language), "value": value} for name, one, value in open_values(owned)
        ],
        "tickets": [fault.ticket.pick(language) for fault in faults],
    }
    if key:
        found["key"] = [
            {"fault": fault.id, "node": fault.node, "title": fault.title.pick(language), "cure": fault.remedy}
            for fault in faults
        ]
    return found


def owner_of(lab: str, topology: Topology) -> str:
    """Return the owner in a lab's name."""
    return lab.removeprefix(f"{topology.name}-")


def print_values(lab: str, owned: Owned, language: str, *, key: bool) -> None:
    """Print the values of one owner, the tickets that they get, and the answers where these are asked for."""
    session = owned.own.session if owned.own else ""
    said = _("{lab}, session {session}") if session else _("{lab}, without a session")
    click.secho(said.format(lab=lab, session=session), bold=True)
    for _name, one, value in open_values(owned):
        # One string each: Babel reads no call inside an f-string.
        text = _("{title}: {value}").format(title=one.title.pick(language), value=value)
        click.echo(f"  {text}")
    for fault in faults_of(owned):
        ticket, answer = _("Ticket"), _("Answer: {fault} on {node}: {title}")
        click.echo(f"  {ticket}: {fault.ticket.pick(language).strip()}")
        if key:
            text = answer.format(fault=fault.id, node=fault.node, title=fault.title.pick(language))
            click.echo(f"  {text}")
            click.echo("".join(f"      {line}\n" for line in fault.remedy.strip().splitlines()), nl=False)
