"""The verb `password`: what people type at the screen of a Windows or a firewall; shown here and kept nowhere else."""

import json
from dataclasses import asdict

import click

from labctl.cli.table import console, open_table
from labctl.cli.workplace import complete_labs, complete_nodes, open_workplace, require_node
from labctl.errors import ExitCode, LabctlError
from labctl.lab.passwords import Password, read_passwords
from labctl.language import _


@click.command(
    help=_("Show the passwords of a lab's Windows machines, firewalls and domain, or of one machine: for trainers.")
)
@click.argument("lab", metavar=_("LAB"), shell_complete=complete_labs)
@click.argument("node", metavar=_("[NODE]"), required=False, default="", shell_complete=complete_nodes)
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def password(lab: str, node: str, as_json: bool) -> int:
    with open_workplace() as place:
        if node:
            require_node(place, lab, node)
        layout = place.layout(lab, place.load_lab(lab))
        found = read_passwords(layout.folders, (one for one in layout.nodes if node in {"", one.member}))
    if as_json:
        click.echo(
            json.dumps({"version": 1, "lab": lab, "passwords": [asdict(one) for one in found]}, ensure_ascii=False)
        )
    elif found:
        print_passwords(found)
    else:
        raise nothing(lab, node)
    return ExitCode.DONE


def print_passwords(found: tuple[Password, ...]) -> None:
    """Print one row for each password."""
    table = open_table(headings=(_("Machine"), _("Account"), _("Password"), _("Opens")))
    for column in table.columns[:3]:
        column.no_wrap = True  # they are there to be copied
    for one in found:
        table.add_row(one.node, one.account, one.password, one.opens)
    console().print(table)


def nothing(lab: str, node: str) -> LabctlError:
    """Return the error for machines without a password."""
    if node:
        text = _("labctl has drawn no password for {node}")
        return LabctlError(text.format(node=node), hint=f"labctl console {lab} {node}")
    text = _("labctl has drawn no password for a machine of {lab}")
    return LabctlError(text.format(lab=lab), hint=f"labctl status {lab}")
