"""Carries out what was wished for one lab or a class, shows how far it is, and says what became of each lab."""

import json
from collections.abc import Sequence

import click

from labctl.classroom.labs import bring_up_labs, plan_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.cli import show
from labctl.cli.class_progress import choose_class_display
from labctl.cli.progress import Display, choose_display
from labctl.cli.stopping import stop_politely
from labctl.cli.workplace import accelerators
from labctl.errors import ExitCode, Interrupted, LabctlError
from labctl.lab.estimate import class_work, estimate_seconds
from labctl.lab.up import failed_nodes
from labctl.lab.wish import Progressed, Stop
from labctl.lab.workplace import Workplace
from labctl.language import _, ngettext
from labctl.plan.model import Plan
from labctl.plan.names import is_spare


def carry_out(place: Workplace, wish: ClassWish, *, as_json: bool) -> ExitCode:
    """Bring up what was asked for, show it, and return the exit code."""
    stop = Stop()
    with stop_politely(stop), open_display(place, wish, as_json=as_json) as display:
        results = bring_up_labs(place, wish, accelerators(place), display, stop)
    results, spares = (
        [one for one in results if not is_spare(one.owner)],
        [one for one in results if is_spare(one.owner)],
    )
    if len(wish.owners) == 1 and results and results[0].error:
        raise results[0].error
    codes = [report_lab(result, as_json=as_json, several=len(wish.owners) > 1) for result in results]
    if len(wish.owners) > 1 and not as_json:
        report_class(wish, results)
    codes += [report_lab(spare, as_json=as_json, several=True) for spare in spares]
    if (spares or not wish.owners) and not as_json:
        report_spares(spares)
    results += spares
    if any(isinstance(result.error, Interrupted) for result in results):
        raise Interrupted(_("stopped; what is done is kept"), hint=_("type the same command again to continue"))
    return worst(codes)


def open_display(place: Workplace, wish: ClassWish, *, as_json: bool) -> Display:
    """Return the display of one lab, with its nodes, or of a class, with its students."""
    topology = wish.topology.name
    if len(wish.owners) == 1:
        (plan,) = plan_labs(place, wish.topology, wish.owners, wish.own)
        return choose_display(plan.lab, as_json=as_json, estimate=estimate_seconds(plan, place.store))
    each = place.store.expected_seconds(class_work(topology))
    count = len(wish.owners) + (wish.spares or 0)
    title = _("{topology}: {count} labs").format(topology=topology, count=count)
    estimate = None if each is None else each * count
    return choose_class_display(title, count, as_json=as_json, estimate=estimate)


def report_class(wish: ClassWish, results: Sequence[LabResult]) -> None:
    """Print how many labs are ready, and a table of those that are not, each with the command to type."""
    ready = sum(result.ready for result in results) + len(wish.owners) - len(results)
    click.echo(_("{ready} of {total} labs ready").format(ready=ready, total=len(wish.owners)))
    ended = [result for result in results if not isinstance(result.error, Interrupted)]
    failed = [(result.owner, node, error) for result in ended for node, error in errors_of(result)]
    if failed:
        show.print_failures(failed)


def report_spares(spares: Sequence[LabResult]) -> None:
    """Print how many labs wait ready, and why the others are not."""
    ready = sum(spare.ready for spare in spares)
    click.echo(ngettext("{count} spare ready", "{count} spares ready", ready).format(count=ready))
    failed = [(spare.owner, node, error) for spare in spares for node, error in errors_of(spare)]
    if failed:
        show.print_failures(failed)


def errors_of(result: LabResult) -> list[tuple[str, LabctlError]]:
    """Return the nodes of a lab that failed, with their errors; "—" stands for the lab itself."""
    if result.error:
        return [("—", result.error)]
    if result.plan is None or result.progress is None:
        return []
    hint = f"labctl logs {result.plan.lab}"
    found = failed_nodes(result.plan, result.progress)
    return [(node, LabctlError(error.message, error.hint or f"{hint} {node}")) for node, error in found]


def report_lab(result: LabResult, *, as_json: bool, several: bool) -> ExitCode:
    """Print what one lab reached; return its exit code."""
    if result.plan is not None and result.progress is not None:
        return report_up(result.plan, result.progress, as_json=as_json, several=several)
    if as_json:
        message = result.error.message if result.error else ""
        click.echo(json.dumps({"type": "result", "owner": result.owner, "error": message}))
    return ExitCode.REFUSED if result.error and result.error.exit_code is ExitCode.REFUSED else ExitCode.FAILED


def report_up(planned: Plan, result: Progressed, *, as_json: bool, several: bool) -> ExitCode:
    """Print what `up` reached, and the errors with the command that helps; return the exit code."""
    ready = result.ready(planned)
    total = len(planned.nodes)
    if as_json:
        failures = {node: error.message for node, error in failed_nodes(planned, result)}
        click.echo(json.dumps({"type": "result", "lab": planned.lab, "ready": ready, "failed": failures}))
    elif not several:
        text = (
            _("{lab}: {ready} of {total} nodes ready")
            if result.changed
            else _("{lab}: nothing to do, {ready} of {total} nodes ready")
        )
        click.echo(text.format(lab=planned.lab, ready=len(ready), total=total))
        for node, error in failed_nodes(planned, result):
            show.print_failure(node, error, f"labctl logs {planned.lab} {node}")
        if not result.failures:
            show.print_next(planned.lab)
    if len(ready) == total:
        return ExitCode.DONE
    return ExitCode.PARTLY if ready else ExitCode.FAILED


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """Return one code for several labs: their common one, or partly done where they differ."""
    if not codes:
        return ExitCode.DONE
    return codes[0] if len(set(codes)) == 1 else ExitCode.PARTLY
