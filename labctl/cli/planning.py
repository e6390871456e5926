"""The verbs that look ahead and change nothing: validate, plan."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import click

from labctl.classroom.capacity import forecast
from labctl.classroom.labs import count_new, is_new, plan_labs
from labctl.cli import show
from labctl.cli.selection import CLASS, find_owners
from labctl.cli.typed import printable
from labctl.cli.workplace import complete_topologies, open_workplace
from labctl.errors import ExitCode, LabctlError
from labctl.golden import check_given, find_golden
from labctl.lab.estimate import estimate_seconds
from labctl.lab.own_values import assign_values, has_secret
from labctl.lab.source import load_named, load_source
from labctl.language import _, ngettext

TOPOLOGY = click.argument("topology", metavar=_("TOPOLOGY"), shell_complete=complete_topologies)
OWNERS = click.option(
    "--student", default="", help=_("Owners of the labs, with commas; `demo` by default. With --class, only these.")
)
SPARE = click.option(
    "--spare", type=click.IntRange(0, 999), metavar=_("NUMBER"),
    help=_("Keep so many ready labs for a reset or a latecomer; remembered. 0 keeps none. Alone: no other lab."),
)  # fmt: skip
SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


def read_session(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """Return the name of a session. Raises a usage error for one that could not be kept or shown."""
    if value and not SESSION_NAME.fullmatch(value):
        text = _('"{name}" is not a session: 1 to 60 letters, digits, dots, dashes and underscores')
        raise click.BadParameter(text.format(name=printable(value)))
    return value


def find_owners_or_spares(student: str, roster: Path | None, spare: int | None) -> tuple[str, ...]:
    """Return the owners that are named; nobody where only spares are asked for."""
    return () if spare is not None and roster is None and not student else find_owners(student, roster)


SESSION = click.option(
    "--session", default="", callback=read_session, metavar=_("NAME"),
    help=_("Draw values of their own for the owners, for this class session or exam; kept as long as the labs."),
)  # fmt: skip


@click.command(help=_("Check topology files, or shipped topologies, and show every problem of each."))
@click.argument("files", metavar=_("TOPOLOGIES…"), nargs=-1, required=True, shell_complete=complete_topologies)
def validate(files: Sequence[str]) -> int:
    code = ExitCode.DONE
    for name in files:
        try:
            path, topology = load_named(name)
        except LabctlError as exc:
            code = print_problems(exc)
        else:
            counts = [count_machines(len(topology.nodes)), count_checks(len(topology.checks))]
            counts += [count_faults(len(topology.faults))] if topology.faults else []
            click.echo(_("{path}: valid ({counts})").format(path=path, counts=", ".join(counts)))
    return code


def print_problems(exc: LabctlError) -> ExitCode:
    """Print what is wrong with one file of several, and return the exit code for it."""
    click.echo(exc.message)
    if exc.hint:
        click.echo(_("Try: {hint}").format(hint=exc.hint), err=True)
    return exc.exit_code


def count_machines(count: int) -> str:
    """Return a number of machines in words."""
    return ngettext("{count} machine", "{count} machines", count).format(count=count)


def count_checks(count: int) -> str:
    """Return a number of checks in words."""
    return ngettext("{count} check", "{count} checks", count).format(count=count)


def count_faults(count: int) -> str:
    """Return a number of faults in words."""
    return ngettext("{count} fault", "{count} faults", count).format(count=count)


@click.command(help=_("Show what `up` would do for each owner, and why. Nothing is written or changed."))
@TOPOLOGY
@OWNERS
@CLASS
@JSON
@SPARE
@click.option("--detailed-exitcode", is_flag=True, help=_("Exit with 8 where something would change."))
@click.option(
    "--session",
    default="",
    callback=read_session,
    metavar=_("NAME"),
    help=_("With the values that `up` would draw for the owners in this session; none is kept."),
)
def plan(
    topology: str, student: str, roster: Path | None, as_json: bool, spare: int | None, detailed_exitcode: bool,
    session: str,
) -> int:  # fmt: skip
    _path, template, loaded = load_source(topology)
    owners = find_owners_or_spares(student, roster, spare)
    with open_workplace() as place:
        own = assign_values(place, (template, loaded), place.catalogue, session, owners, keep=False)
        if own and as_json and not has_secret(place.home):
            click.echo(_("nothing was drawn here yet: the values in this plan are an example"), err=True)
        plans = plan_labs(place, loaded, owners, own)
        for planned in plans:
            if as_json:
                click.echo(planned.to_json())
            elif len(plans) == 1:
                show.print_plan(planned, estimate_seconds(planned, place.store))
        golden = find_golden(place, loaded)
        new = [planned for planned in plans if is_new(planned)]
        if new and golden is None:
            check_given(place, loaded)
        wanted = count_new(place, loaded, plans, spare)
        fits = forecast(place, loaded, wanted)
    if not as_json:
        show.print_class(plans, new, golden is not None, fits if wanted else None)
    elif fits and len(plans) > 1:
        click.echo(json.dumps(fits.to_dict(), ensure_ascii=False))
    if fits and fits.fits < wanted:
        return ExitCode.REFUSED
    changes = wanted or any(one.actions for one in plans)
    return ExitCode.CHANGES_PENDING if detailed_exitcode and changes else ExitCode.DONE
