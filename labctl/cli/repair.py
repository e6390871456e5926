"""The verb `repair`."""

import json

import click

from labctl.cli.workplace import open_workplace
from labctl.errors import ExitCode
from labctl.lab.repair import Deed, Repair
from labctl.language import N_, _
from labctl.shipped import shipped_folder

SIGNS = {Deed.MENDED: "✔", Deed.FOUND: "→", Deed.LEFT: "–", Deed.BUSY: "…"}
WORDS = {Deed.MENDED: N_("mended"), Deed.FOUND: N_("to mend"), Deed.LEFT: N_("left"), Deed.BUSY: N_("busy")}


@click.command(
    help=_("Rebuild what was lost, from libvirt, and clear what crashes left. What is in use or of others stays.")
)
@click.option("--dry-run", is_flag=True, help=_("Show what would be done; change nothing."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def repair(dry_run: bool, as_json: bool) -> int:
    found = []
    with open_workplace() as place:
        for one in Repair(place, shipped_folder("topologies"), dry=dry_run).run():
            found.append(one)
            if not as_json:  # as it is done: libvirt may be the next thing that does not answer
                click.echo(f"{SIGNS[one.deed]} {_(WORDS[one.deed])}: {one.text}")
    if as_json:
        shown = [{"kind": one.kind, "subject": one.subject, "deed": one.deed, "text": one.text} for one in found]
        click.echo(json.dumps({"version": 1, "dry_run": dry_run, "found": shown}, ensure_ascii=False))
    elif not any(one.deed in {Deed.MENDED, Deed.FOUND} for one in found):
        click.echo(_("nothing to repair"))
    return ExitCode.DONE
