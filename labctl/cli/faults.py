"""The verb family `fault`: list, inject, status, clear."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from pydantic import JsonValue
from rich.markup import escape

from labctl.classroom.wish import ForOwner
from labctl.cli.bringing import worst
from labctl.cli.labs import LABS_AT_ONCE
from labctl.cli.progress import choose_display
from labctl.cli.selection import CLASS, STUDENT, TOPOLOGY, require_labs, select_labs
from labctl.cli.show import print_failure
from labctl.cli.table import console, open_table
from labctl.cli.workplace import complete_labs, open_workplace
from labctl.errors import ExitCode, LabctlError, Refused
from labctl.faults import Diagnosis, FaultState, draw_faults, find_faults
from labctl.lab.own_values import read_own, read_owned
from labctl.lab.sabotage import Sabotage
from labctl.lab.site import home_folder
from labctl.lab.workplace import Workplace, shipped_catalogue
from labctl.language import _, current_language, ngettext
from labctl.shipped import shipped_folder
from labctl.topology.faults import Fault
from labctl.topology.load import find_topology, load_topology, read_template
from labctl.topology.model import Topology
from labctl.variants import drawn_faults

LAB = click.argument("lab", metavar=_("[LAB]"), required=False, default="", shell_complete=complete_labs)
R = TypeVar("R")
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


def complete_faults(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete the faults of the lab named before; nothing for one whose topology cannot be read."""
    try:
        names = [fault.id for fault in read_topology(str(ctx.params.get("lab") or "")).faults]
    except LabctlError:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


FAULTS = click.argument("faults", metavar=_("[FAULTS…]"), nargs=-1, shell_complete=complete_faults)


@click.group(help=_("Bring troubles about in a lab, for students to find and repair; for trainers."))
def fault() -> None:
    """Hold the fault verbs."""


def read_topology(word: str) -> Topology:
    """Return the topology of a lab, of a shipped name or of a file."""
    home = home_folder(os.environ)
    copy = home / "labs" / word / "topology.yml"
    if "/" in word or not copy.is_file():
        return load_topology(find_topology(word, shipped_folder("topologies")), shipped_catalogue())
    own = read_own(copy.parent)
    if own is None:
        return load_topology(copy, shipped_catalogue())
    return read_owned(home, read_template(copy), shipped_catalogue(), own).topology


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


@dataclass(frozen=True)
class Asked:
    """The labs that were asked for, and the faults.

    The first word is a lab; where labs are selected by class, student or topology, all words are faults.
    """

    words: Sequence[str]
    roster: Path | None
    student: str
    topology: str

    @property
    def several(self) -> bool:
        """Return whether labs are selected: then the error of one keeps no other."""
        return self.roster is not None or bool(self.student or self.topology)

    @property
    def selector(self) -> str:
        """Return the words that select the same labs again."""
        if not self.several:
            return self.words[0]
        given = (("--class", self.roster), ("--student", self.student), ("--topology", self.topology))
        return " ".join(f"{option} {value}" for option, value in given if value)

    @property
    def faults(self) -> tuple[str, ...]:
        """Return the faults that are named."""
        given = tuple(word for word in self.words if word)
        return given if self.several else given[1:]

    def find_labs(self, place: Workplace) -> tuple[str, ...]:
        """Return the labs. Raises a usage error where none was asked for, LabctlError where none is left."""
        names = () if self.several else tuple(word for word in self.words[:1] if word)
        return require_labs(select_labs(place, names, self.roster, self.student, self.topology))


def on_labs(asked: Asked, act: Callable[[Sabotage], R], *, as_json: bool) -> dict[str, R | LabctlError]:
    """Work on labs, several side by side; return what came of each. Raises the error of a lab that is alone."""
    with open_workplace() as place:
        labs = asked.find_labs(place)

        def work(lab: str) -> R | LabctlError:
            try:
                with Sabotage.open(place, lab, ForOwner(lab, display) if asked.several else display) as sabotage:
                    return act(sabotage)
            except LabctlError as exc:
                if not asked.several:
                    raise
                return exc

        title = _("faults of {lab}").format(lab=", ".join(labs))
        with choose_display(title, as_json=as_json) as display, ThreadPoolExecutor(LABS_AT_ONCE) as workers:
            return dict(zip(labs, workers.map(work, labs), strict=True))


def report_failure(lab: str, error: LabctlError, *, as_json: bool) -> ExitCode:
    """Say why nothing, or not all, was done in one of several labs."""
    if as_json:
        click.echo(json.dumps({"type": "result", "lab": lab, "error": error.message}, ensure_ascii=False))
    print_failure(lab, error)
    return error.exit_code


@fault.command(help=_("Bring faults about, those named or as many as asked for by a seed; print their tickets."))
@LAB
@FAULTS
@CLASS
@STUDENT
@TOPOLOGY
@click.option("--seed", metavar=_("TEXT"), default="", help=_("Draw by this seed: the same seed, the same faults."))
@click.option("--drawn", is_flag=True, help=_("Those that the lab's owner has drawn in their session."))
@click.option("--count", type=click.IntRange(1, 20), default=1, show_default=True, help=_("How many to draw."))
@click.option("--difficulty", type=click.IntRange(1, 3), help=_("Draw only faults of this difficulty."))
@JSON
def inject(  # noqa: PLR0913, PLR0917  one parameter for each option of the command line
    lab: str, faults: Sequence[str], roster: Path | None, student: str, topology: str, seed: str, drawn: bool,
    count: int, difficulty: int | None, as_json: bool,
) -> int:  # fmt: skip
    asked = Asked((lab, *faults), roster, student, topology)
    if [bool(asked.faults), bool(seed), drawn].count(True) != 1:
        raise click.UsageError(_("give the names of faults, or --seed to draw some, or --drawn"))

    def act(work: Sabotage) -> tuple[Fault, ...]:
        if drawn:
            found = own_faults(work.place, work.lab)
        elif asked.faults:
            found = find_faults(work.topology, asked.faults)
        else:
            found = draw_faults(work.topology, seed, count, difficulty)
        work.inject(found, seed)
        return found

    done = on_labs(asked, act, as_json=as_json)
    told: set[tuple[Fault, ...]] = set()
    codes: list[ExitCode] = []
    for name, found in done.items():
        if isinstance(found, LabctlError):
            codes.append(report_failure(name, found, as_json=as_json))
            continue
        report_injected(name, found, seed, as_json=as_json, tickets=found not in told)
        told.add(found)
        codes.append(ExitCode.DONE)
    if not as_json and told:
        click.echo(_("Try: {hint}").format(hint=f"labctl fault status {asked.selector}"), err=True)
    return worst(codes)


def report_injected(lab: str, found: Sequence[Fault], seed: str, *, as_json: bool, tickets: bool) -> None:
    """Print what was brought about in a lab, with the tickets where they were not printed for another one."""
    language = current_language()
    if as_json:
        items = [describe(one, language) for one in found]
        click.echo(json.dumps({"type": "result", "lab": lab, "seed": seed, "faults": items}, ensure_ascii=False))
        return
    for one in found if tickets else ():
        print_ticket(one, language)
    text = ngettext("{lab}: {count} fault injected", "{lab}: {count} faults injected", len(found))
    click.echo(text.format(lab=lab, count=len(found)))


def own_faults(place: Workplace, lab: str) -> tuple[Fault, ...]:
    """Return the faults that the owner of a lab has drawn. Raises Refused where there are none."""
    owned = place.load_owned(lab)
    found = find_faults(owned.topology, drawn_faults(owned.topology, owned.values or {}))
    if not found:
        text = _('the owner of "{lab}" has drawn no fault')
        raise Refused(text.format(lab=lab), hint=f"labctl variant show {lab}")
    return found


@fault.command(
    help=_("Say how injected faults stand. Exit code: 0 all repaired, 1 some not, 9 some could not be checked.")
)
@LAB
@CLASS
@STUDENT
@TOPOLOGY
@JSON
def status(lab: str, roster: Path | None, student: str, topology: str, as_json: bool) -> int:
    asked = Asked((lab,), roster, student, topology)
    done = on_labs(asked, lambda work: (work.diagnose(), work.present()), as_json=False)
    codes: list[ExitCode] = []
    for name, found in done.items():
        if isinstance(found, LabctlError):
            codes.append(report_failure(name, found, as_json=as_json))
            continue
        stands, stored = found
        if as_json:
            items = [
                {**report(one), "at": kept.at, "by": kept.who, "seed": kept.seed}
                for one in stands
                for kept in (stored[one.fault.id],)
            ]
            click.echo(json.dumps({"version": 1, "lab": name, "faults": items}, ensure_ascii=False))
        codes.append(code_of(stands))
    if not as_json:
        show({name: found[0] for name, found in done.items() if not isinstance(found, LabctlError)})
    return worst(codes)


@fault.command(help=_("Cure faults as their author would, all by default, and prove that they are gone."))
@LAB
@FAULTS
@CLASS
@STUDENT
@TOPOLOGY
@JSON
def clear(lab: str, faults: Sequence[str], roster: Path | None, student: str, topology: str, as_json: bool) -> int:
    asked = Asked((lab, *faults), roster, student, topology)

    def act(work: Sabotage) -> tuple[Diagnosis, ...]:
        there = work.present()
        named = [one.id for one in find_faults(work.topology, asked.faults)] if asked.faults else list(there)
        return work.clear(find_faults(work.topology, [name for name in named if name in there]))

    done = on_labs(asked, act, as_json=as_json)
    codes: list[ExitCode] = []
    for name, found in done.items():
        if isinstance(found, LabctlError):
            codes.append(report_failure(name, found, as_json=as_json))
            continue
        if as_json:
            result = {"type": "result", "lab": name, "faults": [report(one) for one in found]}
            click.echo(json.dumps(result, ensure_ascii=False))
        codes.append(code_of(found))
    if not as_json:
        show({name: found for name, found in done.items() if not isinstance(found, LabctlError)})
    return worst(codes)


def report(one: Diagnosis) -> dict[str, JsonValue]:
    """Return how a fault stands as `--json` shows it."""
    return {
        "id": one.fault.id, "node": one.fault.node, "state": str(one.state), "failing": list(one.failing),
        "regressed": list(one.regressed), "unknown": list(one.unknown),
    }  # fmt: skip


def show(found: Mapping[str, Sequence[Diagnosis]]) -> None:
    """Print how the faults of labs stand."""
    words = {
        FaultState.PRESENT: ("✘", "red", _("not repaired")),
        FaultState.REPAIRED: ("✔", "green", _("repaired")),
        FaultState.AROUND: ("~", "yellow", _("works again, the cause is still there")),
        FaultState.REGRESSED: ("✘", "red", _("repaired, but something else broke")),
        FaultState.UNKNOWN: ("?", "yellow", _("could not be checked")),
    }
    several = len(found) > 1
    table = open_table()
    for heading in (*([_("Lab")] if several else []), _("Fault"), _("Machine"), _("State"), _("Checks concerned")):
        table.add_column(heading)
    for lab, faults in found.items():
        for one in faults:
            sign, style, word = words[one.state]
            checks = ", ".join(one.failing or one.regressed or one.unknown) or "—"
            cells = (one.fault.id, one.fault.node, f"[{style}]{sign} {word}[/]", checks)
            table.add_row(*((lab,) if several else ()), *cells)
    if table.row_count:
        console().print(table)
    for lab in [lab for lab, faults in found.items() if not faults]:
        click.echo(_("{lab}: no fault was injected").format(lab=lab))


def code_of(found: Sequence[Diagnosis]) -> ExitCode:
    """Return the exit code that says how faults stand together."""
    states = {one.state for one in found}
    if states & {FaultState.PRESENT, FaultState.REGRESSED, FaultState.AROUND}:
        return ExitCode.FAILED
    return ExitCode.NOT_CHECKED if FaultState.UNKNOWN in states else ExitCode.DONE
