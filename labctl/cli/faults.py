"""The verb family `fault`: list, inject, status, clear."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import JsonValue
from rich.markup import escape

from labctl.cli.progress import choose_display
from labctl.cli.table import console, open_table
from labctl.cli.workplace import complete_labs, open_workplace
from labctl.errors import ExitCode
from labctl.faults import Diagnosis, FaultState, draw_faults, find_faults
from labctl.lab.sabotage import Sabotage
from labctl.lab.workplace import shipped_catalogue
from labctl.language import _, current_language, ngettext
from labctl.shipped import shipped_folder
from labctl.topology.faults import Fault
from labctl.topology.load import find_topology, load_topology
from labctl.topology.model import Topology

LAB = click.argument("lab", metavar=_("LAB"), shell_complete=complete_labs)
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


def complete_faults(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete the faults of the topology of the lab named before."""
    topology = str(ctx.params.get("lab") or "").rpartition("-")[0]
    try:
        path = find_topology(topology, shipped_folder("topologies"))
        names = [fault.id for fault in load_topology(path, shipped_catalogue()).faults]
    except Exception:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


FAULTS = click.argument("faults", metavar=_("[FAULTS…]"), nargs=-1, shell_complete=complete_faults)


@click.group(help=_("Bring troubles about in a lab, for students to find and repair; for trainers."))
def fault() -> None:
    """Hold the fault verbs."""


def read_topology(word: str) -> Topology:
    """Return the topology of a lab, of a shipped name or of a file."""
    copy = Path(os.environ.get("LABCTL_HOME") or "/var/lib/labctl") / "labs" / word / "topology.yml"
    path = copy if "/" not in word and copy.is_file() else find_topology(word, shipped_folder("topologies"))
    return load_topology(path, shipped_catalogue())


@fault.command(name="list", help=_("List the faults of a lab or a topology: they tell the answers."))
@click.argument("topology", metavar=_("LAB-OR-TOPOLOGY"), shell_complete=complete_labs)
@click.option("--tickets", is_flag=True, help=_("Print what users write about them instead, as students may read it."))
@JSON
def list_all(topology: str, tickets: bool, as_json: bool) -> int:
    found, language = read_topology(topology), current_language()
    if as_json:
        items = [describe(one, language) for one in found.faults]
        click.echo(json.dumps({"version": 1, "topology": found.name, "faults": items}, ensure_ascii=False))
        return ExitCode.DONE
    if not found.faults:
        click.echo(_("{topology}: no fault is written yet").format(topology=found.name))
        return ExitCode.DONE
    if tickets:
        for one in found.faults:
            print_ticket(one, language)
        return ExitCode.DONE
    table = open_table()
    for heading in (_("Fault"), _("Machine"), _("Difficulty"), _("Competencies"), _("What is wrong")):
        table.add_column(heading)
    for one in found.faults:
        level = "●" * one.difficulty + "○" * (3 - one.difficulty)
        table.add_row(one.id, one.node, level, " ".join(one.competencies), escape(one.title.pick(language)))
    console().print(table)
    text = ngettext("{topology}: {count} fault", "{topology}: {count} faults", len(found.faults))
    click.echo(text.format(topology=found.name, count=len(found.faults)))
    return ExitCode.DONE


def describe(one: Fault, language: str) -> dict[str, JsonValue]:
    """Return a fault as `--json` shows it."""
    return {
        "id": one.id, "node": one.node, "difficulty": one.difficulty, "competencies": list(one.competencies),
        "title": one.title.pick(language), "ticket": one.ticket.pick(language), "fixed": list(one.fixed),
    }  # fmt: skip


def print_ticket(one: Fault, language: str) -> None:
    """Print what a user wrote, and nothing that tells the answer."""
    click.secho(_("Ticket"), bold=True)
    click.echo(one.ticket.pick(language).strip() + "\n")


@fault.command(help=_("Bring faults about, those named or as many as asked for by a seed; print their tickets."))
@LAB
@FAULTS
@click.option("--seed", metavar=_("TEXT"), default="", help=_("Draw by this seed: the same seed, the same faults."))
@click.option("--count", type=click.IntRange(1, 20), default=1, show_default=True, help=_("How many to draw."))
@click.option("--difficulty", type=click.IntRange(1, 3), help=_("Draw only faults of this difficulty."))
@JSON
def inject(lab: str, faults: Sequence[str], seed: str, count: int, difficulty: int | None, as_json: bool) -> int:
    if bool(faults) == bool(seed):
        raise click.UsageError(_("give the names of faults, or --seed to draw some"))
    title = _("faults of {lab}").format(lab=lab)
    with (
        open_workplace() as place,
        choose_display(title, as_json=as_json) as display,
        Sabotage.open(place, lab, display) as work,
    ):
        topology = work.topology
        chosen = find_faults(topology, faults) if faults else draw_faults(topology, seed, count, difficulty)
        work.inject(chosen, seed)
    language = current_language()
    if as_json:
        items = [describe(one, language) for one in chosen]
        click.echo(json.dumps({"type": "result", "lab": lab, "seed": seed, "faults": items}, ensure_ascii=False))
        return ExitCode.DONE
    for one in chosen:
        print_ticket(one, language)
    text = ngettext("{lab}: {count} fault injected", "{lab}: {count} faults injected", len(chosen))
    click.echo(text.format(lab=lab, count=len(chosen)))
    click.echo(_("Try: {hint}").format(hint=f"labctl fault status {lab}"), err=True)
    return ExitCode.DONE


@fault.command(
    help=_("Say how injected faults stand. Exit code: 0 all repaired, 1 some not, 9 some could not be checked.")
)
@LAB
@JSON
def status(lab: str, as_json: bool) -> int:
    title = _("faults of {lab}").format(lab=lab)
    with (
        open_workplace() as place,
        choose_display(title, as_json=False) as display,
        Sabotage.open(place, lab, display) as work,
    ):
        found, stored = work.diagnose(), work.present()
    if as_json:
        items = [
            {
                **report(one),
                "at": stored[one.fault.id].at,
                "by": stored[one.fault.id].who,
                "seed": stored[one.fault.id].seed,
            }
            for one in found
        ]
        click.echo(json.dumps({"version": 1, "lab": lab, "faults": items}, ensure_ascii=False))
    else:
        show(lab, found)
    return code_of(found)


@fault.command(help=_("Cure faults as their author would, all by default, and prove that they are gone."))
@LAB
@FAULTS
@JSON
def clear(lab: str, faults: Sequence[str], as_json: bool) -> int:
    title = _("faults of {lab}").format(lab=lab)
    with (
        open_workplace() as place,
        choose_display(title, as_json=as_json) as display,
        Sabotage.open(place, lab, display) as work,
    ):
        there = work.present()
        named = [one.id for one in find_faults(work.topology, faults)] if faults else list(there)
        found = work.clear(find_faults(work.topology, [name for name in named if name in there]))
    if as_json:
        result = {"type": "result", "lab": lab, "faults": [report(one) for one in found]}
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        show(lab, found)
    return code_of(found)


def report(one: Diagnosis) -> dict[str, JsonValue]:
    """Return how a fault stands as `--json` shows it."""
    return {
        "id": one.fault.id, "node": one.fault.node, "state": str(one.state), "failing": list(one.failing),
        "regressed": list(one.regressed), "unknown": list(one.unknown),
    }  # fmt: skip


def show(lab: str, found: Sequence[Diagnosis]) -> None:
    """Print how faults stand."""
    if not found:
        click.echo(_("{lab}: no fault was injected").format(lab=lab))
        return
    words = {
        FaultState.PRESENT: ("✘", "red", _("not repaired")),
        FaultState.REPAIRED: ("✔", "green", _("repaired")),
        FaultState.AROUND: ("~", "yellow", _("works again, the cause is still there")),
        FaultState.REGRESSED: ("✘", "red", _("repaired, but something else broke")),
        FaultState.UNKNOWN: ("?", "yellow", _("could not be checked")),
    }
    table = open_table()
    for heading in (_("Fault"), _("Machine"), _("State"), _("Checks concerned")):
        table.add_column(heading)
    for one in found:
        sign, style, word = words[one.state]
        checks = one.failing or one.regressed or one.unknown
        table.add_row(one.fault.id, one.fault.node, f"[{style}]{sign} {word}[/]", ", ".join(checks) or "—")
    console().print(table)


def code_of(found: Sequence[Diagnosis]) -> int:
    """Return the exit code that says how faults stand together."""
    states = {one.state for one in found}
    if states & {FaultState.PRESENT, FaultState.REGRESSED, FaultState.AROUND}:
        return ExitCode.FAILED
    return ExitCode.NOT_CHECKED if FaultState.UNKNOWN in states else ExitCode.DONE
