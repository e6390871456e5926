"""The verb family `checkpoint`: save, list, restore, rm."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from labctl.cli.progress import choose_display
from labctl.cli.stopping import stop_politely
from labctl.cli.table import console, open_table
from labctl.cli.typed import printable
from labctl.cli.workplace import accelerators, complete_labs, open_workplace
from labctl.errors import ExitCode
from labctl.lab.checkpoint import NAME, Checkpoint, checkpoints_of
from labctl.lab.keeping import Keeper, remove_checkpoint, save_checkpoint
from labctl.lab.rewind import Restored, restore_checkpoint
from labctl.lab.site import home_folder
from labctl.lab.wish import Stop
from labctl.language import _, ngettext


def complete_checkpoints(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete the checkpoints of the lab named before, from its folder."""
    home = home_folder(os.environ)
    found = home.glob(f"labs/{ctx.params.get('lab') or '*'}/checkpoints/*/manifest.json")
    names = {path.parent.name for path in found}
    return sorted(name for name in names if NAME.fullmatch(name) and name.startswith(incomplete))


def check_name(ctx: click.Context, param: click.Parameter, value: str) -> str:  # noqa: ARG001  click's signature
    """Return a checkpoint's name. Raises a usage error for a bad one."""
    if not NAME.fullmatch(value):
        text = _('"{name}" is not a name for a checkpoint: 1 to 31 small letters, digits and dashes')
        raise click.BadParameter(text.format(name=printable(value)))
    return value


LAB = click.argument("lab", metavar=_("LAB"), shell_complete=complete_labs)
NEW_NAME = click.argument("name", metavar=_("NAME"), callback=check_name)
KNOWN_NAME = click.argument("name", metavar=_("NAME"), callback=check_name, shell_complete=complete_checkpoints)
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


@click.group(help=_("Keep steps of a lab, machines running, and bring the lab back to them."))
def checkpoint() -> None:
    """Hold the checkpoint verbs."""


@contextmanager
def open_keeper(lab: str, title: str, *, as_json: bool = False) -> Iterator[Keeper]:
    """Give what works on the checkpoints of a lab, and show what it does."""
    stop = Stop()
    with open_workplace() as place, stop_politely(stop), choose_display(title, as_json=as_json) as display:
        yield Keeper(place, lab, accelerators(place), display, stop)


@checkpoint.command(help=_("Keep a lab as it is now, memory and disks."))
@LAB
@NEW_NAME
@click.option("--replace", is_flag=True, help=_("Replace the checkpoint that has this name."))
@JSON
def save(lab: str, name: str, replace: bool, as_json: bool) -> int:
    with open_keeper(lab, _("{lab}: keep {name}").format(lab=lab, name=name), as_json=as_json) as keeper:
        kept = save_checkpoint(keeper, name, replace=replace)
    if as_json:
        click.echo(json.dumps({"type": "result", **describe(kept.checkpoint), "seconds": round(kept.still, 1)}))
        return ExitCode.DONE
    size = kept.checkpoint.bytes() >> 20
    text = _('{lab}: kept as "{name}", {size} MiB; its machines stood still for {seconds:.0f} s')
    click.echo(text.format(lab=lab, name=name, size=size, seconds=kept.still))
    click.echo(_("Try: {hint}").format(hint=f"labctl checkpoint restore {lab} {name}"), err=True)
    return ExitCode.DONE


@checkpoint.command(help=_("Bring a whole lab back; what was done since is lost."))
@LAB
@KNOWN_NAME
@JSON
def restore(lab: str, name: str, as_json: bool) -> int:
    with open_keeper(lab, _("{lab}: back to {name}").format(lab=lab, name=name), as_json=as_json) as keeper:
        restored = restore_checkpoint(keeper, name)
    if as_json:
        failures = {node: error.message for node, error in restored.failures.items()}
        result = {"failed": failures, "silent": sorted(restored.silent), "cold": sorted(restored.cold)}
        click.echo(json.dumps({"type": "result", **describe(restored.checkpoint), **result}, ensure_ascii=False))
    else:
        report(lab, restored)
    return ExitCode.PARTLY if restored.failures or restored.silent else ExitCode.DONE


def report(lab: str, restored: Restored) -> None:
    """Print what became of each machine."""
    total = len(restored.nodes)
    count = total - len(restored.failures.keys() | restored.silent.keys())
    text = ngettext(
        '{lab}: back at "{name}"; {count} of {total} machine answers a login',
        '{lab}: back at "{name}"; {count} of {total} machines answer a login',
        total,
    )
    click.echo(text.format(lab=lab, name=restored.checkpoint.id, count=count, total=total))
    for node in sorted(restored.cold):
        click.echo(
            _("{node}: its memory does not fit this host any more; it booted from its kept disk").format(node=node)
        )
    for node, error in sorted({**restored.silent, **restored.failures}.items()):
        click.secho(f"✘ {node}: {error.message}", err=True, fg="red")
        click.echo("  " + _("Try: {hint}").format(hint=error.hint or f"labctl logs {lab} {node}"), err=True)


@checkpoint.command(name="list", help=_("List the checkpoints of a lab."))
@LAB
@JSON
def list_all(lab: str, as_json: bool) -> int:
    with open_workplace() as place:
        place.load_lab(lab)
        found = checkpoints_of(place, lab)
    if as_json:
        click.echo(json.dumps({"version": 1, "lab": lab, "checkpoints": [describe(one) for one in found]}))
        return ExitCode.DONE
    if not found:
        click.echo(_("{lab}: no checkpoint is kept yet").format(lab=lab))
        click.echo(_("Try: {hint}").format(hint=f"labctl checkpoint save {lab} step-1"), err=True)
        return ExitCode.DONE
    table = open_table()
    for heading in (_("Checkpoint"), _("Kept"), _("By"), _("Size"), _("Machines")):
        table.add_column(heading)
    for one in found:
        table.add_row(one.id, one.built, one.by, f"{one.bytes() / 2**20:.0f} MiB", ", ".join(one.nodes))
    console().print(table)
    return ExitCode.DONE


@checkpoint.command(help=_("Delete a checkpoint and nothing else."))
@LAB
@KNOWN_NAME
def rm(lab: str, name: str) -> int:
    with open_keeper(lab, lab) as keeper:
        remove_checkpoint(keeper, name)
    click.echo(_('{lab}: checkpoint "{name}" removed').format(lab=lab, name=name))
    return ExitCode.DONE


def describe(one: Checkpoint) -> dict[str, object]:
    """Return a checkpoint as `list --json` shows it; keys are stable."""
    return {
        "lab": one.lab, "name": one.id, "kept": one.built, "by": one.by, "bytes": one.bytes(),
        "topology": one.topology, "nodes": list(one.nodes),
    }  # fmt: skip
