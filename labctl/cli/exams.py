"""The verb family `exam`: validate, plan; and where the verbs of a session are, each imported when it runs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import click
from pydantic import JsonValue
from rich.markup import escape

from labctl.cli.planning import JSON, count_checks, print_problems
from labctl.cli.table import console, open_table
from labctl.errors import ExitCode, LabctlError
from labctl.exam.candidates import Candidate, load_candidates
from labctl.exam.load import Paper, find_exam, load_paper
from labctl.exam.meaning import number_of
from labctl.exam.model import Phase
from labctl.exam.timetable import find_slots, whole_time
from labctl.lab.workplace import shipped_catalogue
from labctl.language import _, ngettext
from labctl.shipped import shipped_folder


def complete_exams(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[object]:  # noqa: ARG001  click's signature
    """Complete shipped exams, and files."""
    from click.shell_completion import CompletionItem

    names = sorted(path.stem for path in shipped_folder("exams").glob("*.yml"))
    return [*(CompletionItem(name) for name in names if name.startswith(incomplete)), CompletionItem("", type="file")]


EXAM = click.argument("exam", metavar=_("EXAM"), shell_complete=complete_exams)
CANDIDATES = click.option(
    "--candidates", "roll", type=click.Path(path_type=Path), metavar=_("FILE"),
    help=_("The list of candidates (CSV): number, and as wanted name, time_factor, pauses, language, own minutes."),
)  # fmt: skip


LATER: dict[str, str] = {
    "prepare": "labctl.cli.exam_life",
    "seal": "labctl.cli.exam_life",
    "open": "labctl.cli.exam_life",
    "start": "labctl.cli.exam_life",
    "status": "labctl.cli.exam_status",
    "pause": "labctl.cli.exam_acts",
    "resume": "labctl.cli.exam_acts",
    "extend": "labctl.cli.exam_acts",
    "message": "labctl.cli.exam_acts",
    "incident": "labctl.cli.exam_acts",
    "freeze": "labctl.cli.exam_acts",
    "recette": "labctl.cli.exam_proof",
    "collect": "labctl.cli.exam_proof",
    "verify": "labctl.cli.exam_proof",
    "report": "labctl.cli.exam_papers",
    "reset": "labctl.cli.exam_acts",
    "close": "labctl.cli.exam_acts",
    "supervise": "labctl.cli.exam_status",
    "purge": "labctl.cli.exam_proof",
}


class SessionVerbs(click.Group):
    """A group whose later verbs add themselves when their module is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of a session's life."""
        return [*super().list_commands(ctx), *(name for name in LATER if name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        if cmd_name in LATER:
            import_module(LATER[cmd_name])
        return super().get_command(ctx, cmd_name)


@click.group(cls=SessionVerbs, help=_("Check, prepare, hold and close practical exams (E6)."))
def exam() -> None:
    """Hold the exam verbs."""


@exam.command(help=_("Check exam files, or shipped exams, and a list of candidates; show every problem of each."))
@click.argument("exams", metavar=_("EXAMS…"), nargs=-1, required=True, shell_complete=complete_exams)
@CANDIDATES
def validate(exams: Sequence[str], roll: Path | None) -> int:
    code = ExitCode.DONE
    for name in exams:
        try:
            paper = read_exam(name)
            count = len(load_candidates(roll, paper.exam).listed) if roll else 0
        except LabctlError as exc:
            code = print_problems(exc)
        else:
            counts = [number_of(paper.exam), paper.topology.name, count_checks(len(paper.exam.recette))]
            counts += [count_candidates(count)] if roll else []
            click.echo(_("{path}: valid ({counts})").format(path=paper.path, counts=", ".join(counts)))
    return code


def read_exam(name: str) -> Paper:
    """Return the exam of a name or path."""
    return load_paper(find_exam(name, shipped_folder("exams")), shipped_catalogue(), shipped_folder("topologies"))


def count_candidates(count: int) -> str:
    """Return a number of candidates in words."""
    return ngettext("{count} candidate", "{count} candidates", count).format(count=count)


@exam.command(
    help=_(
        "Show the time that each candidate has in each phase; with --start, when it begins and ends. Changes nothing."
    )
)
@EXAM
@CANDIDATES
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]),
    metavar=_("TIME"),
    help=_("When the first phase begins, such as 2027-05-18T08:30, by the clock of this host."),
)
@JSON
def plan(exam: str, roll: Path | None, start: datetime | None, as_json: bool) -> int:  # fmt: skip
    if roll is None:
        raise click.UsageError(_("--candidates is missing: times depend on who is examined"))
    paper = read_exam(exam)
    listed = load_candidates(roll, paper.exam).listed
    begin = start.astimezone() if start else None
    if as_json:
        told = [describe(one, begin) for one in listed]
        data = {"version": 1, "exam": paper.exam.name, "number": number_of(paper.exam), "candidates": told}
        click.echo(json.dumps(data, ensure_ascii=False))
        return ExitCode.DONE
    print_plan(listed, begin)
    return ExitCode.DONE


def describe(one: Candidate, begin: datetime | None) -> dict[str, JsonValue]:
    """Return a candidate's times as `--json` shows them: seconds, and UTC where a start is given. No name."""
    phases: dict[str, JsonValue] = {}
    for slot in find_slots(one, begin or datetime.now(UTC)):
        hours: dict[str, JsonValue] = {"begins": utc(slot.begin), "ends": utc(slot.end)} if begin else {}
        phases[slot.phase] = {"seconds": (slot.end - slot.begin).total_seconds(), **hours}
    return {
        "number": one.number, "owner": one.slug, "time_factor": str(one.time_factor), "pauses": one.pauses,
        "phases": phases, "seconds": whole_time(one).total_seconds(),
    }  # fmt: skip


def utc(moment: datetime) -> str:
    """Return a moment as JSON has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def print_plan(listed: Sequence[Candidate], begin: datetime | None) -> None:
    """Print a table that fits 80 columns."""
    table = open_table(headings=(_("Candidate"), _("Factor"), *map(phase_name, Phase), _("Total")))
    for one in listed:
        slots = find_slots(one, begin) if begin else ()
        cells = [f"{slot.begin:%H:%M:%S}\n{slot.end:%H:%M:%S}" for slot in slots]
        cells = cells or [duration(one.times[phase]) for phase in Phase]
        table.add_row(escape(one.number), factor_text(one.time_factor), *cells, duration(whole_time(one)))
    console().print(table)


def phase_name(phase: Phase) -> str:
    """Return a phase in the reader's words."""
    return {
        Phase.PREPARATION: _("Preparation"),
        Phase.INTERVIEW: _("Interview"),
        Phase.PRACTICAL: _("Practical"),
        Phase.RECETTE: _("Recette"),
    }[phase]


def factor_text(factor: Fraction) -> str:
    """Return a factor as it was probably written: 4/3 or 1.33."""
    return str(factor) if factor.denominator < 10 else f"{float(factor):.6g}"  # noqa: PLR2004  a fraction by hand


def duration(length: timedelta) -> str:
    """Return a length as 1:20:00, rounded down to the second."""
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
