"""The verb `exam report`: sheets for candidates, proctors and the jury, from the log and the folder of a session."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from labctl.cli.exam_opening import CANDIDATE, SESSION, split
from labctl.cli.exams import exam
from labctl.cli.writing import write_document
from labctl.errors import ExitCode, LabctlError
from labctl.exam.audit import Act
from labctl.exam.documents.folder import FolderMaterial, read_names
from labctl.exam.documents.making import Kind, Maker, Wanted
from labctl.exam.session import Session, find_session
from labctl.lab.site import home_folder
from labctl.lab.workplace import shipped_catalogue
from labctl.language import LANGUAGES, _
from labctl.report.pdf import render_pdf
from labctl.shipped import shipped_folder

SUFFIXES = {".html": "html", ".htm": "html", ".pdf": "pdf"}


@exam.command(
    help=_(
        "Write the documents of an exam session: for candidates (without any name), for proctors and for the jury. "
        "Nothing is checked anew. Without --document and --candidate, all that can be made; with --candidate alone, "
        "that candidate's."
    )
)
@SESSION
@click.option(
    "--document", "kinds", multiple=True, type=click.Choice([str(one) for one in Kind]),
    help=_("Only this document; may be repeated."),
)  # fmt: skip
@CANDIDATE
@click.option(
    "--format", "kind", type=click.Choice(["pdf", "html"]), help=_("By default that of FILE's name, else pdf.")
)
@click.option(
    "--language", type=click.Choice(LANGUAGES),
    help=_("Language of the documents; fr, and for a candidate's sheet that of the candidate."),
)  # fmt: skip
@click.option(
    "--address", default="", metavar="URL", help=_("The portal's address, to be printed on candidates' sheets.")
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar=_("PATH"),
    help=_("Write into this folder, or a single document to this file. By default the session's folder of documents."),
)  # fmt: skip
def report(
    session: str, kinds: Sequence[str], numbers: Sequence[str], kind: str | None, language: str | None, address: str,
    output: Path | None,
) -> int:  # fmt: skip
    found = find_session(home_folder(os.environ), session)
    maker = open_maker(found, address)
    wanted = list(maker.choose([Kind(one) for one in kinds], split(numbers)))
    suffix = choose_suffix(kind, output, len(wanted))
    written = write_all(maker, wanted, language, suffix, output or found.documents, strict=bool(kinds))
    note_written(found, written)
    return ExitCode.DONE


def open_maker(session: Session, address: str) -> Maker:
    """Return what makes the documents of a session as it stands now."""
    catalogue = shipped_catalogue()
    material = FolderMaterial(session, catalogue, shipped_folder("topologies"))
    return Maker(
        session.name, session.read(), material, catalogue, datetime.now(UTC), read_names(session), address
    )  # fmt: skip


def choose_suffix(kind: str | None, output: Path | None, count: int) -> str:
    """Return pdf or html, as it was said or as the file is called. Raises a usage error where they differ."""
    named = SUFFIXES.get(output.suffix.lower()) if output and not output.is_dir() else None
    if named and count != 1:
        text = _("a file holds one document, and {count} are wanted: name a folder").format(count=count)
        raise click.BadParameter(text, param_hint="--output")
    if named and kind and named != kind:
        text = _('"{path}" is the name of another format than {format}').format(path=output, format=kind)
        raise click.BadParameter(text, param_hint="--output")
    return named or kind or "pdf"


def write_all(
    maker: Maker, wanted: Sequence[Wanted], language: str | None, suffix: str, target: Path, *, strict: bool
) -> list[Path]:
    """Write documents and print where each is. One that cannot be made is told; asked for by name, it is an error."""
    written = []
    for one in wanted:
        spoken = language or (one.candidate.language if one.candidate and one.kind is Kind.CANDIDATE else "") or "fr"
        try:
            page = maker.render(one, spoken)
        except LabctlError as exc:
            if strict:
                raise
            click.echo(_("left out: {name}: {reason}").format(name=name_of(one), reason=exc.message), err=True)
            continue
        path = target if target.suffix.lower() in SUFFIXES else target / one.file_name(spoken, suffix)
        make_folder(path.parent)
        write_document(path, render_pdf(page) if suffix == "pdf" else page.encode(), suffix)
        click.echo(str(path))
        sys.stdout.flush()  # a class takes a minute: each is told when it is there
        written.append(path)
    return written


def name_of(one: Wanted) -> str:
    """Return a document as people ask for it."""
    return f"{one.kind} {one.candidate.number}" if one.candidate else str(one.kind)


def make_folder(folder: Path) -> None:
    """Make a folder for documents, closed to others: names are on them. Raises LabctlError where it cannot be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        text = _('"{path}" cannot be made: {error}').format(path=folder, error=exc.strerror)
        raise LabctlError(text, hint=f"ls -ld {folder.parent}") from exc


def note_written(session: Session, written: Sequence[Path]) -> None:
    """Write into the log which documents were made."""
    if written:
        session.note(Act.REPORT, documents=[path.name for path in written])
