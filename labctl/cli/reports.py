"""The verb `report`: acceptance sheets, grids of classes and drafts of annex II.E, from what checks found before."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Timer

import click

from labctl.cli.selection import CLASS, TOPOLOGY
from labctl.cli.typed import printable
from labctl.cli.workplace import complete_labs, complete_topologies, open_workplace
from labctl.cli.writing import write_document
from labctl.errors import ExitCode, LabctlError
from labctl.lab.sheets import find_class_sheets, find_sheet
from labctl.lab.source import load_named
from labctl.lab.workplace import Workplace, shipped_catalogue
from labctl.language import LANGUAGES, _
from labctl.report import junit, record, spreadsheet
from labctl.report.annex import make_annex
from labctl.report.grid import make_grid
from labctl.report.page import render_annex, render_grid, render_sheet
from labctl.roster import load_roster

PATIENCE = 2.0  # seconds before somebody is told that it goes on


class Format(StrEnum):
    """What a document is written as."""

    HTML = "html"
    PDF = "pdf"
    JSON = "json"
    JUNIT = "junit"
    CSV = "csv"


SUFFIXES = {
    ".html": Format.HTML, ".htm": Format.HTML, ".pdf": Format.PDF, ".json": Format.JSON, ".xml": Format.JUNIT,
    ".csv": Format.CSV,
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """How a document is wanted: `target` is None for standard output, or for a PDF, a file named after its subject."""

    kind: Format
    language: str
    target: Path | None


@click.command(
    help=_(
        "Write the acceptance sheet of a lab, the grid of a class, or a draft of annex II.E, from the last results of "
        "`labctl check`. Nothing is checked anew."
    )
)
@click.argument("lab", metavar=_("[LAB]"), required=False, shell_complete=complete_labs)
@CLASS
@TOPOLOGY
@click.option(
    "--annex-ii-e", "annex", metavar=_("TOPOLOGY"), shell_complete=complete_topologies,
    help=_("Draft the attestation of annex II.E from a topology."),
)  # fmt: skip
@click.option(
    "--format",
    "kind",
    type=click.Choice([str(one) for one in Format]),
    help=_("By default that of FILE's name, else html."),
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar=_("FILE"),
    help=_("Write to this file. By default standard output; for pdf, a file named after the lab."),
)  # fmt: skip
@click.option("--language", type=click.Choice(LANGUAGES), default="fr", help=_("Language of the document; fr."))
def report(
    lab: str | None, roster: Path | None, topology: str, annex: str | None, kind: str | None, output: Path | None,
    language: str,
) -> int:  # fmt: skip
    if sum(one is not None for one in (lab, roster, annex)) != 1:
        raise click.UsageError(_("name one lab, or say --class or --annex-ii-e"))
    if topology and not roster:
        raise click.UsageError(_("--topology goes with --class"))
    wanted = Wanted(choose_format(kind, output), language, output)
    with told_when_slow():
        if annex is not None:
            report_annex(annex, wanted)
        else:
            with open_workplace() as place:
                if roster:
                    report_class(place, roster, topology, wanted)
                else:
                    report_lab(place, lab or "", wanted)
    return ExitCode.DONE


def choose_format(kind: str | None, output: Path | None) -> Format:
    """Return the format that was asked for, by name or by the file's. Raises a usage error where the two differ."""
    named = SUFFIXES.get(output.suffix.lower()) if output else None
    if kind and named and Format(kind) is not named:
        text = _('"{path}" is the name of another format than {format}')
        raise click.BadParameter(text.format(path=printable(str(output)), format=kind), param_hint="--output")
    return Format(kind) if kind else named or Format.HTML


@contextmanager
def told_when_slow() -> Iterator[None]:
    """Say once on stderr that the work goes on, if it does after two seconds."""
    timer = Timer(PATIENCE, lambda: click.echo(_("the document is being made…"), err=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def report_lab(place: Workplace, lab: str, wanted: Wanted) -> None:
    """Write the sheet of one lab."""
    sheet = find_sheet(place, lab, wanted.language)
    writers: dict[Format, Callable[[], str]] = {
        Format.JSON: lambda: record.write_sheet(sheet),
        Format.CSV: lambda: spreadsheet.write_sheet(sheet),
        Format.JUNIT: lambda: junit.write_suites([sheet]),
    }
    deliver(writers.get(wanted.kind, lambda: render_sheet(sheet))(), lab, wanted)


def report_class(place: Workplace, roster: Path, topology: str, wanted: Wanted) -> None:
    """Write the grid of a class. Raises LabctlError where nothing was ever checked."""
    found = find_class_sheets(place, load_roster(roster), topology, wanted.language)
    if not any(sheet.first for sheet in found.sheets):
        text = _("no check of a lab of this class was ever run")
        raise LabctlError(text, hint=f"labctl check --class {roster}")
    grid = make_grid(found.sheets, found.without, wanted.language)
    writers: dict[Format, Callable[[], str]] = {
        Format.JSON: lambda: record.write_grid(grid),
        Format.CSV: lambda: spreadsheet.write_grid(grid),
        Format.JUNIT: lambda: junit.write_suites(found.sheets),
    }
    deliver(writers.get(wanted.kind, lambda: render_grid(grid))(), roster.stem, wanted)


def report_annex(name: str, wanted: Wanted) -> None:
    """Write the draft of annex II.E for a topology."""
    if wanted.kind not in {Format.HTML, Format.PDF}:
        raise click.BadParameter(_("annex II.E is written as html or pdf"), param_hint="--format")
    _path, topology = load_named(name)
    annex = make_annex(topology, shipped_catalogue(), wanted.language)
    deliver(render_annex(annex), f"annexe-ii-e-{topology.name}", wanted)


def deliver(text: str, name: str, wanted: Wanted) -> None:
    """Write a document to the file that was named, to one named after its subject for a PDF, or to standard output."""
    target = wanted.target
    if wanted.kind is Format.PDF:
        from labctl.report.pdf import render_pdf

        content, target = render_pdf(text), target or Path(f"{name}.pdf")
    else:
        # Without the mark, Excel takes UTF-8 for Windows-1252.
        content = text.encode("utf-8-sig" if wanted.kind is Format.CSV else "utf-8")
    if target is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    write_document(target, content, wanted.kind)
    # A file that was named is told on stderr, as other verbs do. The name of one that was not is the result.
    click.echo(_("written: {path}").format(path=target) if wanted.target else str(target), err=bool(wanted.target))
