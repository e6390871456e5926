"""The verbs of a lab's life: validate, plan, up, status, check, down."""

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from labctl.classroom.capacity import forecast
from labctl.classroom.labs import bring_up_labs, plan_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.cli import show
from labctl.cli.progress import choose_display
from labctl.cli.typed import printable
from labctl.cli.workplace import Accelerators, complete_labs, complete_topologies, open_workplace, split_owners
from labctl.errors import ExitCode, Interrupted, LabctlError
from labctl.golden import find_golden
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.configure import configure_again
from labctl.lab.down import take_down
from labctl.lab.estimate import estimate_seconds
from labctl.lab.lock import is_held
from labctl.lab.status import read_status
from labctl.lab.up import failed_nodes
from labctl.lab.wish import Progressed, Stop
from labctl.lab.workplace import Workplace, shipped_catalogue
from labctl.language import _, current_language, ngettext
from labctl.plan.model import ActionKind, Plan
from labctl.roster import load_roster
from labctl.shipped import shipped_folder
from labctl.topology.load import find_topology, load_topology
from labctl.topology.model import Check, Topology

TOPOLOGY = click.argument("topology", metavar=_("TOPOLOGY"), shell_complete=complete_topologies)
STUDENT = click.option("--student", default="", help=_("Owners of the labs, with commas; `demo` by default."))
CLASS = click.option(
    "--class", "roster", type=click.Path(path_type=Path), help=_("A class list (CSV): one lab for each student.")
)
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


def load_named(name: str) -> tuple[Path, Topology]:
    """Return the file and the topology of a name or path."""
    path = find_topology(name, shipped_folder("topologies"))
    return path, load_topology(path, shipped_catalogue())


@click.command(help=_("Check topology files, or shipped topologies, and show every problem of each."))
@click.argument("files", metavar=_("TOPOLOGIES…"), nargs=-1, required=True, shell_complete=complete_topologies)
def validate(files: Sequence[str]) -> int:
    code = ExitCode.DONE
    for name in files:
        try:
            path, topology = load_named(name)
        except LabctlError as exc:
            click.echo(exc.message)
            if exc.hint:
                click.echo(_("Try: {hint}").format(hint=exc.hint), err=True)
            code = exc.exit_code
        else:
            nodes, checks = count_machines(len(topology.nodes)), count_checks(len(topology.checks))
            click.echo(_("{path}: valid ({nodes}, {checks})").format(path=path, nodes=nodes, checks=checks))
    return code


def count_machines(count: int) -> str:
    """Return a number of machines in words."""
    return ngettext("{count} machine", "{count} machines", count).format(count=count)


def count_checks(count: int) -> str:
    """Return a number of checks in words."""
    return ngettext("{count} check", "{count} checks", count).format(count=count)


def find_owners(student: str, roster: Path | None) -> tuple[str, ...]:
    """Return the owners that --student and --class name, in order; `demo` where neither is given."""
    owners = [one.slug for one in load_roster(roster)] if roster else []
    if student or not owners:
        owners += split_owners(student or "demo")
    return tuple(dict.fromkeys(owners))


@click.command(help=_("Show what `up` would do for each owner, and why. Nothing is written or changed."))
@TOPOLOGY
@STUDENT
@CLASS
@JSON
@click.option("--detailed-exitcode", is_flag=True, help=_("Exit with 8 where something would change."))
def plan(topology: str, student: str, roster: Path | None, as_json: bool, detailed_exitcode: bool) -> int:
    _path, loaded = load_named(topology)
    owners = find_owners(student, roster)
    with open_workplace() as place:
        plans = plan_labs(place, loaded, owners)
        for planned in plans:
            if as_json:
                click.echo(planned.to_json())
            elif len(plans) == 1:
                show.print_plan(planned, estimate_seconds(planned, place.store))
        golden = find_golden(place, loaded)
        new = [planned for planned in plans if planned.actions_of(ActionKind.CLONE_MACHINE)]
        fits = forecast(place, loaded, len(new))
    if not as_json:
        show.print_class(plans, new, golden is not None, fits)
    if fits and fits[0] < len(new):
        return ExitCode.REFUSED
    return ExitCode.CHANGES_PENDING if detailed_exitcode and any(one.actions for one in plans) else ExitCode.DONE


@click.command(help=_("Bring up one lab per owner. Run it again at any time: it does what is missing."))
@TOPOLOGY
@STUDENT
@CLASS
@JSON
@click.option("--replace", is_flag=True, help=_("Accept that changed machines are made anew and lose their disks."))
def up(topology: str, student: str, roster: Path | None, as_json: bool, replace: bool) -> int:
    path, loaded = load_named(topology)
    wish = ClassWish(loaded, path, find_owners(student, roster), replace=replace)
    with open_workplace() as place:
        return carry_out(place, wish, as_json=as_json)


@click.command(help=_("Bring a lab, or some of its machines, back to the golden state. What was done there is lost."))
@click.argument("labs", nargs=-1, required=True, shell_complete=complete_labs)
@click.option("--node", default="", help=_("Only these machines, with commas."))
@JSON
def reset(labs: Sequence[str], node: str, as_json: bool) -> int:
    codes = []
    with open_workplace() as place:
        for lab in labs:
            topology = place.load_lab(lab)
            nodes = choose_nodes(topology, node) or list(topology.nodes)
            owner = lab.removeprefix(f"{topology.name}-")
            wish = ClassWish(topology, place.folders(lab).topology, (owner,), reset=tuple(nodes))
            codes.append(carry_out(place, wish, as_json=as_json))
    return worst(codes)


def carry_out(place: Workplace, wish: ClassWish, *, as_json: bool) -> ExitCode:
    """Bring up what was asked for, show it, and return the exit code."""
    stop = Stop()
    several = len(wish.owners) > 1
    title = f"{wish.topology.name}-{wish.owners[0]}"
    if several:
        title = _("{topology}: {count} labs").format(topology=wish.topology.name, count=len(wish.owners))
    estimate = None if several else estimate_seconds(plan_labs(place, wish.topology, wish.owners)[0], place.store)
    with stop_politely(stop), choose_display(title, as_json=as_json, estimate=estimate) as display:
        results = bring_up_labs(place, wish, Accelerators(place.home), display, stop)
    interrupted = [result.error for result in results if isinstance(result.error, Interrupted)]
    if interrupted or (len(results) == 1 and results[0].error):
        raise (interrupted[0] if interrupted else results[0].error or LabctlError(""))
    codes = [report_lab(result, as_json=as_json) for result in results]
    if several and not as_json:
        ready = sum(result.ready for result in results)
        click.echo(_("{ready} of {total} labs ready").format(ready=ready, total=len(results)))
    return worst(codes)


def report_lab(result: LabResult, *, as_json: bool) -> ExitCode:
    """Print what one lab reached; return its exit code."""
    if result.plan is not None and result.progress is not None:
        return report_up(result.plan, result.progress, as_json=as_json)
    message = result.error.message if result.error else ""
    if as_json:
        click.echo(json.dumps({"type": "result", "owner": result.owner, "error": message}))
    else:
        click.secho(f"✘ {result.owner}: {message}", err=True, fg="red")
        if result.error and result.error.hint:
            click.echo("  " + _("Try: {hint}").format(hint=result.error.hint), err=True)
    return ExitCode.FAILED


def report_up(planned: Plan, result: Progressed, *, as_json: bool) -> ExitCode:
    """Print what `up` reached, and the errors with the command that helps; return the exit code."""
    ready = result.ready(planned)
    total = len(planned.nodes)
    if as_json:
        failures = {node: error.message for node, error in failed_nodes(planned, result)}
        click.echo(json.dumps({"type": "result", "lab": planned.lab, "ready": ready, "failed": failures}))
    else:
        text = (
            _("{lab}: {ready} of {total} nodes ready")
            if result.changed
            else _("{lab}: nothing to do, {ready} of {total} nodes ready")
        )
        click.echo(text.format(lab=planned.lab, ready=len(ready), total=total))
        for node, error in failed_nodes(planned, result):
            click.secho(f"✘ {node}: {error.message}", err=True, fg="red")
            click.echo("  " + _("Try: {hint}").format(hint=error.hint or f"labctl logs {planned.lab} {node}"), err=True)
        if not result.failures:
            show.print_next(planned.lab)
    if len(ready) == total:
        return ExitCode.DONE
    return ExitCode.PARTLY if ready else ExitCode.FAILED


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """Return one code for several labs: partly done where some are ready."""
    if set(codes) <= {ExitCode.DONE}:
        return ExitCode.DONE
    return ExitCode.FAILED if set(codes) == {ExitCode.FAILED} else ExitCode.PARTLY


class stop_politely:  # noqa: N801  a context manager, read as a verb
    """While it lasts, the first Ctrl-C lets the current step end and the second one stops the process at once."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.asked = False

    def __enter__(self) -> None:
        self.before = {number: signal.signal(number, self.hear) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's signature
        """Take a signal."""
        if self.asked:
            click.echo("\n" + _("Stopped at once; type the same command again to continue."), err=True)
            sys.stderr.flush()
            # Threads may be deep inside libvirt: leaving now is as good as a crash, which `up` repairs.
            import os

            os._exit(ExitCode.INTERRUPTED)
        self.asked = True
        self.stop.ask()
        click.echo("\n" + _("Finishing the current step… Ctrl-C again stops at once."), err=True)


@click.command(help=_("Show all labs, or one, with the state of their machines and their last checks."))
@click.argument("lab", metavar=_("[LAB]"), required=False, default="", shell_complete=complete_labs)
@JSON
def status(lab: str, as_json: bool) -> int:
    with open_workplace() as place:
        labs = read_status(place, lambda name: is_held(place.home, name), lab)
    if lab and not labs:
        text = _('there is no lab "{lab}"')
        raise LabctlError(text.format(lab=printable(lab)), hint="labctl status")
    if as_json:
        click.echo(json.dumps({"version": 1, "labs": [found.to_dict() for found in labs]}, ensure_ascii=False))
    else:
        show.print_status(labs)
    return ExitCode.DONE


@click.command(help=_("Run the checks of a lab. Exit code: 0 all passed, 1 some failed, 9 some could not be run."))
@click.argument("lab", metavar=_("LAB"), shell_complete=complete_labs)
@click.option(
    "--node", metavar=_("NAMES"), default="", help=_("Only the checks that start from these machines, with commas.")
)
@click.option("--id", "ids", metavar=_("NAMES"), default="", help=_("Only these checks, with commas."))
@JSON
def check(lab: str, node: str, ids: str, as_json: bool) -> int:
    with open_workplace() as place:
        topology = place.load_lab(lab)
        chosen = choose_checks(topology, node, ids)
        logins = place.logins(lab, topology)
        with choose_display(_("checks of {lab}").format(lab=lab), as_json=False) as display:
            outcomes = run_checks(chosen, SshProber(place.guests, logins), display)
        whole = len(chosen) == len(topology.checks)
        place.store.save_outcomes(
            lab, [(found.check.id, str(found.result), found.to_dict("en")) for found in outcomes], whole=whole
        )
    language = current_language()
    if as_json:
        click.echo(
            json.dumps(
                {"version": 1, "lab": lab, "checks": [found.to_dict(language) for found in outcomes]},
                ensure_ascii=False,
            )
        )
    else:
        show.print_checks(lab, outcomes, language)
    return show.check_code(outcomes)


def choose_checks(topology: Topology, nodes: str, ids: str) -> list[Check]:
    """Return the checks that were asked for, all by default. Raises a usage error for an unknown name."""
    wanted_nodes = choose_nodes(topology, nodes)
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


def choose_nodes(topology: Topology, nodes: str) -> list[str]:
    """Return the machines that were asked for. Raises a usage error for an unknown name."""
    wanted = [name.strip() for name in nodes.split(",") if name.strip()]
    for name in wanted:
        if name not in topology.nodes:
            text = _('"{name}" is not a machine of this lab: {names}')
            message = text.format(name=printable(name), names=", ".join(topology.nodes))
            raise click.BadParameter(message, param_hint="--node")
    return wanted


@click.command(help=_("Remove labs: exactly what `up` made. Other machines and networks are never touched."))
@click.argument("labs", metavar=_("[LABS…]"), nargs=-1, shell_complete=complete_labs)
@click.option("--all", "everything", is_flag=True, help=_("Remove every lab of this installation; asks first."))
@click.option("-y", "--yes", is_flag=True, help=_("Do not ask."))
def down(labs: Sequence[str], everything: bool, yes: bool) -> int:
    with open_workplace() as place:
        wanted = list(dict.fromkeys(labs))
        if everything:
            wanted = [found.name for found in read_status(place, lambda _lab: False)]
            confirm_all(wanted, yes=yes)
        elif not wanted:
            raise click.UsageError(_("name a lab, or say --all"))
        for lab in wanted:
            with choose_display(lab, as_json=False) as display:
                removal = take_down(place, lab, display)
            if removal.empty:
                click.echo(_("{lab}: there is nothing to remove").format(lab=lab))
            else:
                text = _("{lab}: removed {machines} machines and {networks} networks")
                click.echo(text.format(lab=lab, machines=len(removal.domains), networks=len(removal.networks)))
    return ExitCode.DONE


def confirm_all(labs: Sequence[str], *, yes: bool) -> None:
    """Ask before everything goes. Raises Abort for anything but the number of labs."""
    if not labs or yes:
        return
    text = ngettext(
        "This removes {count} lab and all work on it: {names}",
        "This removes {count} labs and all work on them: {names}",
        len(labs),
    )
    click.echo(text.format(count=len(labs), names=", ".join(labs)))
    answer = click.prompt(_("Type the number of labs to go on:"), prompt_suffix=" ")
    if answer.strip() != str(len(labs)):
        raise click.Abort
