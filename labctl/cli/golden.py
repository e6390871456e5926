"""The verb family `golden`: list, show, verify, rm."""

import json
import os
from collections.abc import Sequence

import click

from labctl.cli.table import console, open_table
from labctl.cli.typed import printable
from labctl.cli.workplace import open_workplace
from labctl.errors import ExitCode, LabctlError
from labctl.golden import Freshness, Verdict, find_unused, find_users, judge, list_golden, remove_golden
from labctl.lab.frozen import Frozen, taken
from labctl.lab.site import home_folder
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.names import node_of_disk
from labctl.shipped import shipped_folder


def complete_golden(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete golden labs from their folders."""
    home = home_folder(os.environ)
    names = [path.parent.name for path in home.glob("golden/*/manifest.json")]
    return sorted(name for name in names if name.startswith(incomplete))


IDS = click.argument("ids", metavar=_("[GOLDEN LABS…]"), nargs=-1, shell_complete=complete_golden)
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


@click.group(help=_("List, show, verify and remove golden labs, from which labs are cloned."))
def golden() -> None:
    """Hold the golden verbs."""


@golden.command(name="list", help=_("List the golden labs, stale ones marked."))
@JSON
def list_all(as_json: bool) -> int:
    with open_workplace() as place:
        users = find_users(place)
        found = [(one, judge(place, one, shipped_folder("topologies"))) for one in list_golden(place)]
    if as_json:
        listed = [describe(one, verdict, users.get(one.id, ())) for one, verdict in found]
        click.echo(json.dumps({"version": 1, "golden": listed}))
        return ExitCode.DONE
    if not found:
        click.echo(_("no golden lab is built yet"))
        click.echo(_("Try: {hint}").format(hint="labctl up dmz --student demo"), err=True)
        return ExitCode.DONE
    table = open_table()
    for heading in (_("Golden lab"), _("Topology"), _("Built"), _("Size"), _("Used by"), _("State")):
        table.add_column(heading)
    for one, verdict in found:
        size, used = f"{one.bytes() / 2**20:.0f} MiB", str(len(users.get(one.id, ())))
        table.add_row(one.id, one.topology, one.built, size, used, state_words(verdict))
    console().print(table)
    return ExitCode.DONE


@golden.command(help=_("Show a golden lab, its users and what changed."))
@click.argument("ident", metavar=_("GOLDEN LAB"), shell_complete=complete_golden)
@JSON
def show(ident: str, as_json: bool) -> int:
    with open_workplace() as place:
        (one,) = select(place, [ident])
        verdict, users = judge(place, one, shipped_folder("topologies")), find_users(place).get(one.id, ())
    if as_json:
        click.echo(json.dumps({"version": 1, **describe(one, verdict, users)}))
        return ExitCode.DONE
    facts = open_table()
    for heading in (_("Golden lab"), one.id):
        facts.add_column(heading)
    facts.add_row(_("Topology"), one.topology)
    facts.add_row(_("Built"), one.built)
    facts.add_row(_("State"), state_words(verdict))
    if verdict.details:
        facts.add_row(_("Changed in the topology"), ", ".join(verdict.details))
    facts.add_row(_("Used by"), ", ".join(users) or _("none"))
    for name, value in (one.parts or {}).items():
        facts.add_row(part_name(name), value)
    console().print(facts)
    nodes = open_table()
    for heading in (_("Machine"), _("Disk"), _("Memory")):
        nodes.add_column(heading)
    for node in one.nodes:
        nodes.add_row(node, *(f"{size / 2**20:.0f} MiB" for size in sizes(one, node)))
    console().print(nodes)
    return ExitCode.DONE


@golden.command(help=_("Compare golden labs with their manifests; all of them by default."))
@IDS
def verify(ids: Sequence[str]) -> int:
    with open_workplace() as place:
        for one in select(place, ids) if ids else list_golden(place):
            one.check()
            click.echo(_("{id}: intact").format(id=one.id))
    return ExitCode.DONE


@golden.command(help=_("Remove golden labs that nothing stands on."))
@IDS
@click.option("--unused", is_flag=True, help=_("Those that are stale and that nothing stands on."))
@click.option("--all", "everything", is_flag=True, help=_("With --unused: those that are not stale, too."))
def rm(ids: Sequence[str], unused: bool, everything: bool) -> int:
    if bool(ids) == unused or (everything and not unused):
        raise click.UsageError(_("name golden labs, or say --unused, with or without --all"))
    with open_workplace() as place:
        wanted = select(place, ids)
        if unused:
            wanted = list(find_unused(place, shipped_folder("topologies"), everything=everything))
        for one in wanted:
            size = one.bytes() >> 20
            remove_golden(place, one)
            click.echo(_("{id}: removed, {size} MiB").format(id=one.id, size=size))
        if not wanted:
            click.echo(_("there is nothing to remove"))
    return ExitCode.DONE


def select(place: Workplace, ids: Sequence[str]) -> list[Frozen]:
    """Return the golden labs of these ids. Raises LabctlError for an unknown one."""
    known = {one.id: one for one in list_golden(place)}
    for word in ids:
        if word not in known:
            text = _('there is no golden lab "{id}"')
            raise LabctlError(text.format(id=printable(word)), hint="labctl golden list")
    return [known[word] for word in dict.fromkeys(ids)]


def describe(one: Frozen, verdict: Verdict, users: Sequence[str]) -> dict[str, object]:
    """Return a golden lab as `list --json` and `show --json` show it; keys are stable."""
    nodes = {node: dict(zip(("disk", "memory"), sizes(one, node), strict=True)) for node in one.nodes}
    return {
        "id": one.id, "topology": one.topology, "built": one.built, "bytes": one.bytes(), "parts": one.parts,
        "state": str(verdict.freshness), "changed": verdict.changed, "details": verdict.details,
        "used_by": users, "nodes": nodes,
    }  # fmt: skip


def sizes(one: Frozen, node: str) -> tuple[int, int]:
    """Return the bytes that a node's disks and memory take, 0 for one that is gone."""
    disks = sum(taken(path) for path in one.all_disks if node_of_disk(path) == node)
    state = one.state(node)
    return disks, taken(state) if state.exists() else 0


def state_words(verdict: Verdict) -> str:
    """Return for people whether a golden lab is current, and what changed."""
    match verdict.freshness:
        case Freshness.CURRENT:
            return _("current")
        case Freshness.UNKNOWN:
            return _("unknown")
        case Freshness.STALE:
            return _("stale: {parts}").format(parts=", ".join(map(part_name, verdict.changed)))


def part_name(name: str) -> str:
    """Return a part of a golden lab for people."""
    names = {
        "topology": _("topology"), "playbooks": _("playbooks"), "images": _("images"), "render": _("machines' format"),
    }  # fmt: skip
    return names.get(name, name)
