"""Shows whether the labs of a class fit: each resource with what a lab takes, what is free and how many labs fit."""

import click

from labctl.classroom.capacity import Forecast, Share, amount, resource_name
from labctl.cli.progress import clock
from labctl.cli.table import console, open_table
from labctl.language import _, decimal


def print_forecast(found: Forecast, existing: int) -> None:
    """Print a forecast; `existing` labs of the class are there already."""
    click.echo(found.explain())
    if found.wanted + existing == 1 and found.fits:
        return
    table = open_table()
    for heading in (_("Resource"), _("A lab takes"), _("Free"), _("Labs that fit"), ""):
        table.add_column(heading)
    for share in found.shares:
        table.add_row(*describe(share, found))
    console().print(table)
    if found.largest is not None:
        click.echo(_("the largest class that fits: {count} labs").format(count=existing + found.largest))
    if found.fits < found.wanted and found.mergeable:
        click.echo(_("Try: {hint}").format(hint=found.hint))
    for warning in warnings(found):
        click.secho(warning, fg="yellow")
    if found.seconds is None:
        click.echo(_("no estimate yet: this was never done on this host"))
    else:
        click.echo(_("estimate from this host's past: {time}").format(time=clock(found.seconds)))


def describe(share: Share, found: Forecast) -> tuple[str, ...]:
    """Return one row."""
    need = amount(share.resource, share.need)
    if share.further != share.need:
        need = _("{first}, then {further} (KSM)").format(first=need, further=amount(share.resource, share.further))
    fits = "—" if share.fits is None else str(share.fits)
    mark = ""
    if share == found.limiting:
        mark = _("← the limit")
    elif not share.refuses and found.slow:
        mark = _("slow beyond")
    return resource_name(share.resource), need, amount(share.resource, share.free), fits, mark


def warnings(found: Forecast) -> list[str]:
    """Return what does not refuse a class but should be known."""
    said = []
    if found.slow:
        text = _("{cpus} virtual processors on {cores} cores: slow when everybody works at once")
        said.append(text.format(cpus=found.cpus, cores=found.cores))
    if found.may_overflow:
        text = _("if every machine fills its memory, {wanted} labs take {full} GiB of the host's {total} GiB")
        gib = {"full": decimal(found.full_memory / 2**30), "total": decimal(found.total_memory / 2**30)}
        said.append(text.format(wanted=found.wanted, **gib))
    return said
