"""The verb family `golden`: list, verify, rm."""

import json
from collections.abc import Sequence

import click

from labctl.cli import show
from labctl.cli.workplace import open_workplace
from labctl.errors import ExitCode, LabctlError
from labctl.golden import list_golden, remove_golden
from labctl.lab.frozen import Frozen
from labctl.lab.workplace import Workplace
from labctl.language import _


@click.group(help=_("List, verify and remove golden labs, from which labs are cloned."))
def golden() -> None:
    """Hold the golden verbs."""


@golden.command(name="list", help=_("List the golden labs."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def list_all(as_json: bool) -> int:
    with open_workplace() as place:
        found = list_golden(place)
    if as_json:
        listed = [
            {"id": one.id, "topology": one.topology, "built": one.built, "bytes": one.bytes(), "parts": one.parts}
            for one in found
        ]
        click.echo(json.dumps({"version": 1, "golden": listed}))
        return ExitCode.DONE
    if not found:
        click.echo(_("no golden lab is built yet"))
        click.echo(_("Try: {hint}").format(hint="labctl up dmz --student demo"), err=True)
        return ExitCode.DONE
    table = show.open_table()
    for heading in (_("Golden lab"), _("Topology"), _("Built"), _("Size")):
        table.add_column(heading)
    for one in found:
        table.add_row(one.id, one.topology, one.built, f"{one.bytes() / 2**20:.0f} MiB")
    show.console().print(table)
    return ExitCode.DONE


@golden.command(help=_("Compare golden labs with their manifests; all of them by default."))
@click.argument("ids", nargs=-1)
def verify(ids: Sequence[str]) -> int:
    with open_workplace() as place:
        for one in select(place, ids) if ids else list_golden(place):
            one.check()
            click.echo(_("{id}: intact").format(id=one.id))
    return ExitCode.DONE


@golden.command(help=_("Remove golden labs; one that a lab stands on is kept."))
@click.argument("ids", nargs=-1, required=True)
def rm(ids: Sequence[str]) -> int:
    with open_workplace() as place:
        for one in select(place, ids):
            remove_golden(place, one)
            click.echo(_("{id}: removed").format(id=one.id))
    return ExitCode.DONE


def select(place: Workplace, ids: Sequence[str]) -> list[Frozen]:
    """Return the golden labs of these ids. Raises LabctlError for an unknown one."""
    known = {one.id: one for one in list_golden(place)}
    for word in ids:
        if word not in known:
            raise LabctlError(_('there is no golden lab "{id}"').format(id=word), hint="labctl golden list")
    return [known[word] for word in ids]
