"""The verbs of an exam session that prove and keep: recette, collect, verify, purge."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import JsonValue

from labctl.cli.exam_opening import CANDIDATE, JSON, SESSION, make_conduct, open_session, print_results, split
from labctl.cli.exam_proofs import make_proofs
from labctl.cli.exams import exam
from labctl.cli.progress import choose_display
from labctl.cli.typed import printable
from labctl.cli.workplace import open_hypervisor
from labctl.errors import ExitCode
from labctl.exam.conduct import Results, select
from labctl.exam.evidence.collecting import Collecting
from labctl.exam.evidence.verify import LOG, Verified, verify
from labctl.exam.proofs import LabProofs
from labctl.exam.purge import Retention, find_retention, finish_purges, purge_candidate, purge_session, refuse_purge
from labctl.exam.session import Session
from labctl.exam.standing import Standing
from labctl.hypervisor.door import Hypervisor
from labctl.lab.site import home_folder
from labctl.lab.workplace import Workplace
from labctl.language import _, ngettext


@dataclass(frozen=True)
class Desk:
    """All that the verbs of evidence work with."""

    place: Workplace
    machines: Hypervisor
    session: Session
    proofs: LabProofs
    collecting: Collecting


def on_desk(name: str, work: Callable[[Desk], Results], *, as_json: bool) -> Results:
    """Do something with a session on this host, and show how far it is."""
    session = open_session(name)
    with open_hypervisor() as machines, choose_display(name, as_json=as_json) as display:
        place = Workplace.open(machines, os.environ)
        conduct = make_conduct(place, machines, session, display)
        proofs = make_proofs(place, session, display)
        collecting = Collecting(place, conduct, proofs, machines, display)
        return work(Desk(place, machines, session, proofs, collecting))


@exam.command(
    name="recette",
    help=_(
        "Run the acceptance test on the machines of frozen candidates, and keep the results. Machines that stand still "
        "run for that long; what was frozen stays as it is."
    ),
)
@SESSION
@CANDIDATE
@JSON
def run_recette(session: str, numbers: Sequence[str], as_json: bool) -> int:
    results = on_desk(session, lambda desk: desk.collecting.recettes(split(numbers)), as_json=as_json)
    return print_results(results, as_json=as_json, done=_("checked"))


@exam.command(
    help=_(
        "Collect the evidence of frozen candidates: disks, differences of configuration, consoles, screens, results. "
        "It is signed and read-only. Again: goes on where it was stopped. Refused where the disk is too small."
    )
)
@SESSION
@CANDIDATE
@click.option(
    "--copy", "second", type=click.Path(path_type=Path, file_okay=False), metavar=_("FOLDER"),
    help=_("Also copy all to this folder, such as a disk of the school's, and compare it there."),
)  # fmt: skip
@click.option("--no-recette", is_flag=True, help=_("Do not run the acceptance test of those who have no results."))
@JSON
def collect(session: str, numbers: Sequence[str], second: Path | None, no_recette: bool, as_json: bool) -> int:
    results = on_desk(
        session, lambda desk: desk.collecting.collect(split(numbers), second, recette=not no_recette), as_json=as_json
    )
    code = print_results(results, as_json=as_json, done=_("collected"))
    if code is ExitCode.DONE and not as_json:
        found = open_session(session)
        click.echo(_("Head of the log, for the proctor's sheet: {head}").format(head=found.read().head))
        click.echo(_("Try: {hint}").format(hint=f"labctl exam verify {found.folder}"), err=True)
    return code


@exam.command(
    name="verify",
    help=_(
        "Verify evidence by its files alone, anywhere: a session's folder, a candidate's, or a copy of either. Tells "
        "by name what was changed, removed or added, and whether the audit log was. The name of a session does as well."
    ),
)
@click.argument("folder", metavar=_("FOLDER"), type=click.Path(path_type=Path))
@click.option("--head", default="", metavar=_("HASH"), help=_("Head of the log on the proctor's sheet, or its start."))
@click.option("--key", default="", metavar=_("FINGERPRINT"), help=_("Fingerprint of the key on the proctor's sheet."))
@JSON
def verify_folder(folder: Path, head: str, key: str, as_json: bool) -> int:
    found = verify(find_folder(folder), head=head, key=key)
    if as_json:
        click.echo(json.dumps(describe(found), ensure_ascii=False))
    else:
        print_verified(found)
    return ExitCode.DONE if found.ok else ExitCode.FAILED


def find_folder(folder: Path) -> Path:
    """Return the folder that is meant: a path that exists wins over the name of a session."""
    if folder.exists() or len(folder.parts) != 1:
        return folder
    named = home_folder(os.environ) / "exams" / folder
    return named if (named / LOG).exists() else folder


def describe(found: Verified) -> dict[str, JsonValue]:
    """Return what was found as JSON; keys are stable."""
    return {
        "version": 1, "folder": str(found.folder), "ok": found.ok, "candidates": [*found.candidates],
        "files": found.files, "bytes": found.bytes, "keys": [*found.keys], "head": found.head,
        "entries": found.entries, "findings": [one.to_dict() for one in found.findings],
    }  # fmt: skip


def print_verified(found: Verified) -> None:
    """Print what was found, and what is to be compared with paper."""
    for one in found.findings:
        click.secho(f"✘ {one.text()}", err=True, fg="red")
    count = len(found.candidates)
    text = ngettext(
        "{files} files of {count} candidate, {size} MiB", "{files} files of {count} candidates, {size} MiB", count
    )
    click.echo(text.format(files=found.files, count=count, size=found.bytes >> 20))
    if found.head:
        click.echo(_("audit log: {count} entries, head {head}").format(count=found.entries, head=found.head))
    for key in found.keys:
        click.echo(_("key: {key}").format(key=printable(key)))
    if found.ok:
        click.echo("✔ " + _("nothing was changed; compare head and key with the proctor's sheet"))


@exam.command(
    help=_(
        "Remove a session with all that was kept of it, or of one candidate. Asks; refused before the end of the "
        "retention without --early, and while candidates work. Nothing is ever removed by itself."
    )
)
@SESSION
@CANDIDATE
@click.option("--early", is_flag=True, help=_("Before the end of the retention."))
@click.option("--yes", is_flag=True, help=_("Do not ask."))
def purge(session: str, numbers: Sequence[str], early: bool, yes: bool) -> int:
    finish_purges(home_folder(os.environ))
    found = open_session(session)
    standing, now = found.read(), datetime.now(UTC)
    retention = find_retention(standing, now)
    refuse_purge(found, standing, retention, early=early)
    chosen = [one.number for one in select(standing, split(numbers))] if numbers else []
    if not yes:
        ask(found, standing, retention, chosen)
    for number in chosen:
        purge_candidate(found, number)
    if not chosen:
        purge_session(found, now)
    click.echo(_("{name}: removed").format(name=", ".join(chosen) or session))
    return ExitCode.DONE


def ask(session: Session, standing: Standing, retention: Retention, chosen: Sequence[str]) -> None:
    """Say what goes and how long it was to be kept, and let the name be typed. Raises Abort for another one."""
    names = ", ".join(chosen) or _("all {count} candidates").format(count=len(standing.candidates))
    day = retention.until.date().isoformat()
    click.echo(_("Evidence, frozen work and results of {names} go for good.").format(names=names), err=True)
    text = _("The retention ended on {day}.") if retention.over else _("It is to be kept until {day}.")
    click.echo(text.format(day=day), err=True)
    typed = click.prompt(_("Type the name of the session"), default="", show_default=False, err=True)
    if typed != session.name:
        raise click.Abort
