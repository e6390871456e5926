"""The verbs that ask and put right what runs inside: check, configure."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from labctl.classroom.wish import ForOwner
from labctl.cli import show
from labctl.cli.labs import LABS, choose_nodes
from labctl.cli.planning import JSON
from labctl.cli.progress import choose_display
from labctl.cli.selection import CLASS, STUDENT, TOPOLOGY, require_labs, select_labs
from labctl.cli.student_view import print_student_view, student_dict
from labctl.cli.typed import printable
from labctl.cli.workplace import complete_labs, open_workplace
from labctl.errors import ExitCode, LabctlError
from labctl.lab.configure import configure_again
from labctl.lab.examining import Wanted, check_lab
from labctl.lab.workplace import Workplace
from labctl.language import _, current_language
from labctl.topology.model import Check, Topology
from labctl.topology.probes import HOST

LABS_AT_ONCE = 4


@click.command(help=_("Run the checks of labs. Exit code: 0 all passed, 1 some failed, 9 some could not be run."))
@LABS
@CLASS
@STUDENT
@TOPOLOGY
@click.option(
    "--node",
    metavar=_("NAMES"),
    default="",
    help=_("Only the checks that start from these machines, or from host, with commas."),
)
@click.option("--id", "ids", metavar=_("NAMES"), default="", help=_("Only these checks, with commas."))
@click.option(
    "--after-reboot", is_flag=True, help=_("Reboot machines first, and only run the checks meant for after it.")
)
@click.option("--student-view", is_flag=True, help=_("Show neither commands, nor output, nor what is expected."))
@click.option(
    "--hint",
    type=click.IntRange(1, 10),
    default=None,
    metavar="N",
    help=_("With the first N hints; shows the student's view."),
)
@JSON
def check(  # noqa: PLR0913, PLR0917  one parameter for each option of the command line
    labs: Sequence[str], roster: Path | None, student: str, topology: str, node: str, ids: str,
    after_reboot: bool, student_view: bool, hint: int | None, as_json: bool,
) -> int:  # fmt: skip
    with open_workplace() as place:
        names = require_labs(select_labs(place, labs, roster, student, topology))
        wanted = [choose_wanted(place, lab, node, ids, rebooted=after_reboot) for lab in names]
        title = _("checks of {lab}").format(lab=", ".join(names))
        with choose_display(title, as_json=False) as display, ThreadPoolExecutor(LABS_AT_ONCE) as workers:
            several = len(names) > 1
            asked = {
                one.lab: workers.submit(check_lab, place, one, ForOwner(one.lab, display) if several else display)
                for one in wanted
            }
            outcomes = {lab: done.result() for lab, done in asked.items()}
    language = current_language()
    for_students = student_view or hint is not None
    for lab, found in outcomes.items():
        if as_json:
            rows = [student_dict(one, language, hint or 0) if for_students else one.to_dict(language) for one in found]
            click.echo(json.dumps({"version": 1, "lab": lab, "checks": rows}, ensure_ascii=False))
        elif for_students:
            print_student_view(lab, found, language, hint or 0)
        elif not several:
            show.print_checks(lab, found, language)
    if several and not as_json and not for_students:
        show.print_check_grid(outcomes)
    return show.check_code([outcome for found in outcomes.values() for outcome in found])


def choose_wanted(place: Workplace, lab: str, nodes: str, ids: str, *, rebooted: bool) -> Wanted:
    """Return what is to be run in a lab. Raises LabctlError where nothing is meant for after a reboot."""
    topology = place.load_lab(lab)
    checks = [one for one in choose_checks(topology, nodes, ids) if one.after_reboot or not rebooted]
    if rebooted and not checks:
        text = _("{lab}: no check is meant for after a reboot")
        raise LabctlError(text.format(lab=lab), hint=f"labctl check {lab}")
    return Wanted(lab, topology, checks, rebooted)


def choose_checks(topology: Topology, nodes: str, ids: str) -> list[Check]:
    """Return the checks that were asked for, all by default. Raises a usage error for an unknown name."""
    wanted_nodes = choose_nodes(topology, nodes, beside=[HOST])
    wanted_ids = [name.strip() for name in ids.split(",") if name.strip()]
    known = [found.id for found in topology.checks]
    for name in wanted_ids:
        if name not in known:
            text = _('"{name}" is not a check of this lab: {names}')
            raise click.BadParameter(text.format(name=printable(name), names=", ".join(known)), param_hint="--id")
    return [
        found
        for found in topology.checks
        if (not wanted_nodes or found.origin in wanted_nodes) and (not wanted_ids or found.id in wanted_ids)
    ]


@click.command(help=_("Run the playbooks of a lab again on running machines; a second run changes nothing."))
@click.argument("lab", metavar=_("LAB"), shell_complete=complete_labs)
@click.option("--node", metavar=_("NAMES"), default="", help=_("Only these machines, with commas."))
@JSON
def configure(lab: str, node: str, as_json: bool) -> int:
    with open_workplace() as place:
        topology = place.load_lab(lab)
        nodes = choose_nodes(topology, node) or list(topology.nodes)
        title = _("configure {lab}").format(lab=lab)
        with choose_display(title, as_json=False) as display:
            report = configure_again(place, lab, topology, nodes, display)
    found = {
        name: {"ok": done.ok, "changed": done.changed, "changes": done.changes, "failed": not done.succeeded}
        for name, done in report.nodes.items()
    }
    if as_json:
        click.echo(json.dumps({"version": 1, "lab": lab, "nodes": found}, ensure_ascii=False))
    else:
        for name, done in report.nodes.items():
            text = _("{node}: {ok} tasks, {changed} changed") if done.succeeded else done.explain()
            click.echo(text.format(node=name, ok=done.ok, changed=done.changed) if done.succeeded else text)
    return ExitCode.FAILED if report.failed else ExitCode.DONE
