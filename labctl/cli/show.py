"""Shows plans and outcomes as tables that can be read without colour."""

from collections.abc import Mapping, Sequence

import click
from rich.markup import escape

from labctl.checks.model import Outcome, Result
from labctl.classroom.capacity import Forecast
from labctl.cli.progress import clock
from labctl.cli.table import console, open_table
from labctl.errors import ExitCode, LabctlError
from labctl.language import _, ngettext
from labctl.plan.model import ActionKind, Plan, Reason


def action_name(kind: ActionKind) -> str:
    """Return what is done, for people."""
    return {
        ActionKind.BUILD_IMAGE: _("build the image"),
        ActionKind.REMOVE_DOMAIN: _("remove the machine"),
        ActionKind.REMOVE_NETWORK: _("remove the network"),
        ActionKind.CREATE_NETWORK: _("create the network"),
        ActionKind.CREATE_MACHINE: _("create the machine"),
        ActionKind.CLONE_MACHINE: _("clone the machine"),
        ActionKind.DEFINE_MACHINE: _("define the machine again"),
        ActionKind.START_MACHINE: _("start the machine"),
        ActionKind.CONFIGURE: _("configure"),
    }[kind]


def reason_name(reason: Reason) -> str:
    """Return why, for people."""
    return {
        Reason.MISSING: _("it does not exist"),
        Reason.STOPPED: _("it is stopped"),
        Reason.REBOOTED: _("the host was restarted"),
        Reason.PAUSED: _("it is paused"),
        Reason.CRASHED: _("it has crashed"),
        Reason.CHANGED: _("the topology has changed"),
        Reason.INACTIVE: _("it is not active"),
        Reason.DISK_MISSING: _("its disk is gone"),
        Reason.DISK_LOST: _("one of its disks is gone"),
        Reason.UNDEFINED: _("libvirt does not know it any more; its disk is kept"),
        Reason.NEW: _("it is new"),
        Reason.NOT_CONFIGURED: _("it was never configured to the end"),
        Reason.SERVICES_CHANGED: _("its services have changed"),
        Reason.NOT_IN_TOPOLOGY: _("the topology no longer names it"),
        Reason.REQUESTED: _("it was asked for"),
        Reason.OWN_VALUES: _("its owner has values of their own"),
    }[reason]


def print_plan(plan: Plan, seconds: float | None) -> None:
    """Print the actions of a plan with their reasons and an estimate."""
    if not plan.actions:
        click.echo(_("{lab}: nothing to do").format(lab=plan.lab))
        return
    table = open_table(_("Plan of {lab}").format(lab=plan.lab))
    for heading in (_("Action"), _("On"), _("Because")):
        table.add_column(heading)
    for action in plan.actions:
        why = reason_name(action.reason) + (" — " + _("its disk will be lost") if action.loses else "")
        table.add_row(action_name(action.kind), action.target, why, style="red" if action.loses else None)
    console().print(table)
    memory = sum(node.memory for node in plan.nodes)
    text = ngettext(
        "{count} machine, {memory} MiB of memory", "{count} machines, {memory} MiB of memory", len(plan.nodes)
    )
    click.echo(text.format(count=len(plan.nodes), memory=memory))
    if seconds is None:
        click.echo(_("no estimate yet: this was never done on this host"))
    else:
        click.echo(_("estimate from this host's past: {time}").format(time=clock(seconds)))


def print_class(plans: Sequence[Plan], new: Sequence[Plan], built: bool, fits: Forecast | None) -> None:
    """Print what a class needs: whether the golden lab is there, and how many of its new labs fit."""
    from labctl.cli.forecast import print_forecast  # it uses the tables of this module

    if new and not built:
        click.echo(_("the golden lab {id} is built first; labs are cloned from it").format(id=new[0].golden))
    if len(plans) > 1:
        text = _("{count} labs, {new} of them with machines to clone")
        click.echo(text.format(count=len(plans), new=len(new)))
    if fits:
        print_forecast(fits, existing=len(plans) - len(new))


def print_failure(subject: str, error: LabctlError, otherwise: str = "") -> None:
    """Print on stderr what failed and the command that helps; `otherwise` is for an error that names none."""
    click.secho(_("✘ {subject}: {message}").format(subject=subject, message=error.message), err=True, fg="red")
    if error.hint or otherwise:
        click.echo("  " + _("Try: {hint}").format(hint=error.hint or otherwise), err=True)


def print_failures(failed: Sequence[tuple[str, str, LabctlError]]) -> None:
    """Print a table of (student, machine, error), each with the command to type."""
    table = open_table()
    for heading in (_("Student"), _("Machine"), _("What happened"), _("Type")):
        table.add_column(heading, overflow="fold")
    for owner, node, error in failed:
        table.add_row(owner, node, escape(error.message.splitlines()[0]), error.hint, style="red")
    console().print(table)


def print_next(lab: str) -> None:
    """Say on stderr what can be typed next."""
    click.echo(_("Next:"), err=True)
    for command in (f"labctl check {lab}", f"labctl status {lab}", f"labctl ssh {lab} NODE", f"labctl down {lab}"):
        click.echo(f"  {command}", err=True)


RESULT_SIGNS = {Result.PASSED: ("✔", "green"), Result.FAILED: ("✘", "red"), Result.UNKNOWN: ("?", "yellow")}


def result_name(result: Result) -> str:
    """Return an outcome for people."""
    return {Result.PASSED: _("passed"), Result.FAILED: _("failed"), Result.UNKNOWN: _("could not be checked")}[result]


def print_checks(lab: str, outcomes: Sequence[Outcome], language: str) -> None:
    """Print the outcomes as a table, then what to look at for those that did not pass."""
    table = open_table(_("Checks of {lab}").format(lab=lab))
    for heading in (_("Check"), _("From"), _("Test"), _("Result"), _("Seen"), _("Competency")):
        table.add_column(heading)
    for outcome in outcomes:
        sign, style = RESULT_SIGNS[outcome.result]
        check = outcome.check
        table.add_row(
            check.id, check.origin, escape(check.title.pick(language)),
            f"[{style}]{sign} {result_name(outcome.result)}[/]", escape(seen_text(outcome)), check.competency,
        )  # fmt: skip
    console().print(table)
    for outcome in outcomes:
        if outcome.result is not Result.PASSED:
            sign = RESULT_SIGNS[outcome.result][0]
            click.echo(f"{sign} {outcome.check.id}: {outcome.text(language) or outcome.seen}")
            click.echo("    " + _("command: {command}").format(command=outcome.command))
    click.echo(count_checks(outcomes))


def seen_text(outcome: Outcome) -> str:
    """Return what was seen, and that it was not seen after a reboot where that is what the check is for."""
    if outcome.check.after_reboot and not outcome.rebooted:
        return outcome.seen + " — " + _("not tested after a reboot")
    return outcome.seen


def print_check_grid(outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Print one line for each lab: how many checks passed, and the names of those that did not."""
    table = open_table()
    for heading in (_("Lab"), _("Passed"), _("Points"), _("Not passed")):
        table.add_column(heading, overflow="fold")
    for lab, found in outcomes.items():
        passed = [outcome for outcome in found if outcome.result is Result.PASSED]
        # A line may end between two checks, not between a sign and its check.
        signs = (
            f"{RESULT_SIGNS[one.result][0]}\N{NO-BREAK SPACE}{one.check.id}"
            for one in found
            if one.result is not Result.PASSED
        )
        points = sum(one.check.points for one in passed), sum(one.check.points for one in found)
        table.add_row(lab, f"{len(passed)}/{len(found)}", f"{points[0]}/{points[1]}", "  ".join(signs))
    console().print(table)


def count_checks(outcomes: Sequence[Outcome]) -> str:
    """Return how many passed, and the points."""
    passed = [outcome for outcome in outcomes if outcome.result is Result.PASSED]
    unknown = sum(outcome.result is Result.UNKNOWN for outcome in outcomes)
    text = _("{passed} of {total} checks passed, {points} of {all_points} points").format(
        passed=len(passed), total=len(outcomes), points=sum(outcome.check.points for outcome in passed),
        all_points=sum(outcome.check.points for outcome in outcomes),
    )  # fmt: skip
    if unknown:
        text += "; " + _("{count} could not be checked").format(count=unknown)
    return text


def check_code(outcomes: Sequence[Outcome]) -> ExitCode:
    """Return 0 where all passed, 1 where some failed, 9 where none failed but some could not be checked."""
    results = {outcome.result for outcome in outcomes}
    if Result.FAILED in results:
        return ExitCode.FAILED
    return ExitCode.NOT_CHECKED if Result.UNKNOWN in results else ExitCode.DONE
