"""The verb `status`; it imports little, because it is typed often and answers in less than half a second."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from labctl.cli.typed import printable
from labctl.errors import ExitCode, LabctlError
from labctl.hypervisor.overview import Overview
from labctl.lab.lock import is_held
from labctl.lab.site import DEFAULT_URI, open_site
from labctl.lab.status import LabStatus, read_status
from labctl.language import _, ngettext
from labctl.plan.names import is_spare


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete lab names."""
    from labctl.cli.workplace import complete_labs

    return complete_labs(ctx, param, incomplete)


@click.command(help=_("Show labs, all by default, with the state of their machines and their last checks."))
@click.argument("labs", metavar=_("[LABS…]"), nargs=-1, shell_complete=complete)
@click.option(
    "--class", "roster", type=click.Path(path_type=Path), help=_("A class list (CSV): one lab for each student.")
)
@click.option("--student", default="", help=_("Only these students, with commas."))
@click.option("--topology", default="", help=_("Only labs of this topology."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def status(labs: Sequence[str], roster: Path | None, student: str, topology: str, as_json: bool) -> int:
    owners = read_owners(roster, student)
    with Overview(os.environ.get("LABCTL_URI", DEFAULT_URI), connections=1) as machines:
        site = open_site(machines, os.environ)
        found = read_status(site, lambda name: is_held(site.home, name), labs or None)
    refuse_unknown(labs, found)
    shown = [lab for lab in found if (not owners or lab.owner in owners) and (not topology or lab.topology == topology)]
    spares = [lab for lab in shown if is_spare(lab.owner) and lab.name not in labs]
    shown = [lab for lab in shown if lab not in spares]
    having = {lab.owner for lab in shown}
    without = [owner for owner in owners if owner not in having]
    if as_json:
        waiting = [lab.to_dict() for lab in spares]
        data = {"version": 1, "labs": [lab.to_dict() for lab in shown], "without": without, "spares": waiting}
        click.echo(json.dumps(data, ensure_ascii=False))
        return ExitCode.DONE
    from labctl.cli.board import print_status

    if shown or not spares:
        print_status(shown)
    if spares:
        ready = sum(lab.state == "ready" for lab in spares)
        click.echo(ngettext("{count} spare ready", "{count} spares ready", ready).format(count=ready))
        for lab in spares:
            if lab.state != "ready":
                click.echo(f"  {lab.name}: labctl status {lab.name}")
    if without:
        click.echo(_("no lab: {names}").format(names=", ".join(without)))
    return ExitCode.DONE


def read_owners(roster: Path | None, student: str) -> tuple[str, ...]:
    """Return the owners that --class and --student name, in order; none where neither is given."""
    if roster is None and not student:
        return ()
    from labctl.cli.selection import find_owners

    return find_owners(student, roster)


def refuse_unknown(names: Sequence[str], found: Sequence[LabStatus]) -> None:
    """Raise LabctlError for the first lab that was named and does not exist."""
    known = {lab.name for lab in found}
    for name in names:
        if name not in known:
            text = _('there is no lab "{lab}"')
            raise LabctlError(text.format(lab=printable(name)), hint="labctl status")
