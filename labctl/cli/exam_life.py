"""The verbs by which an exam session comes to its start: prepare, seal, open, start."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from labctl.cli.exam_opening import (
    CANDIDATE,
    JSON,
    SESSION,
    make_conduct,
    open_conduct,
    print_results,
    split,
    watched_files,
)
from labctl.cli.exam_proofs import make_proofs, probe_started
from labctl.cli.exam_supervisor import ensure_supervisor
from labctl.cli.exams import CANDIDATES, EXAM, exam, phase_name
from labctl.cli.progress import choose_display
from labctl.cli.stopping import stop_politely
from labctl.cli.workplace import accelerators, open_hypervisor
from labctl.errors import ExitCode, LabctlError, Refused
from labctl.exam.candidates import load_candidates
from labctl.exam.conduct import Conduct
from labctl.exam.load import find_exam, read_paper
from labctl.exam.model import Phase
from labctl.exam.papers import Source, describe, write_papers
from labctl.exam.prepare import Preparation, prepare
from labctl.exam.seal import open_seal, seal
from labctl.exam.session import Session, create_session, find_session
from labctl.exam.standing import Stage
from labctl.exam.start import start
from labctl.exam.workshop import HostWorkshop
from labctl.hypervisor.allow_list import require_program
from labctl.lab.site import home_folder
from labctl.lab.wish import Stop
from labctl.lab.workplace import Workplace, shipped_catalogue
from labctl.language import _
from labctl.shipped import shipped_folder

FULL_MINUTE = 60.0
MOST_SPREAD = 2.0  # seconds between the first machine and the last: more is said in red
PASSPHRASE = click.option(
    "--passphrase-file", "words", type=click.Path(path_type=Path), metavar=_("FILE"),
    help=_("Read the passphrase from the first line of this file; by default it is asked for."),
)  # fmt: skip


@exam.command(
    name="prepare",
    help=_(
        "Make the lab of every candidate, prove that each is right, and let it wait, paused. Again: mends what is not "
        "ready. With --rehearsal everything is marked as such, and --minute makes the time short."
    ),
)
@EXAM
@CANDIDATES
@click.option("--session", "name", default="", metavar=_("NAME"), help=_("Name of the session; that of the exam."))
@click.option("--spares", type=click.IntRange(0, 20), default=1, show_default=True, help=_("Ready labs beside these."))
@click.option("--rehearsal", is_flag=True, help=_("Nothing counts: for trying everything beforehand."))
@click.option(
    "--minute", type=click.FloatRange(0.1, FULL_MINUTE), default=FULL_MINUTE, metavar=_("SECONDS"),
    help=_("How long a minute lasts in a rehearsal; 60 seconds."),
)  # fmt: skip
@CANDIDATE
@JSON
def prepare_session(
    exam: str, roll: Path | None, name: str, spares: int, rehearsal: bool, minute: float, numbers: Sequence[str],
    as_json: bool,
) -> int:  # fmt: skip
    if roll is None:
        raise click.UsageError(_("--candidates is missing: labs depend on who is examined"))
    if minute != FULL_MINUTE and not rehearsal:
        raise click.UsageError(_("--minute needs --rehearsal: an exam has minutes of 60 seconds"))
    source = read_source(exam, roll)
    if source.paper.exam.internet:
        require_program()
    home = home_folder(os.environ)
    stop = Stop()
    with open_hypervisor() as machines, stop_politely(stop):
        place = Workplace.open(machines, os.environ)
        about = describe(source, rehearsal=rehearsal, minute=minute)
        session = create_session(home, name or source.paper.exam.name, about)
        if not session.read().stage.reached(Stage.SEALED) or session.read().stage.reached(Stage.OPEN):
            write_papers(session, source)
        else:
            refuse_sealed(session)
        with choose_display(session.name, as_json=as_json) as display:
            shop = HostWorkshop(place, session, source, spares, accelerators(place), display, stop)
            conduct = make_conduct(place, machines, session, display)
            results = prepare(Preparation(conduct, shop, make_proofs(place, session, display)), split(numbers))
    code = print_results(results, as_json=as_json, done=_("ready, paused"))
    warn_unknown(conduct)
    if not as_json and code is ExitCode.DONE:
        click.echo(_("Try: {hint}").format(hint=f"labctl exam seal {session.name}"), err=True)
    return code


def warn_unknown(conduct: Conduct) -> None:
    """Say which names that the exam allows nobody knows now: candidates cannot reach these."""
    unknown = [name for name, addresses in conduct.labs.pins().items() if not addresses]
    if unknown:
        text = _("the host finds no address of {names}: candidates cannot reach what has none when they start")
        change = text.format(names=", ".join(unknown))
        click.secho(_("Warning: {change}").format(change=change), err=True, fg="yellow")


def read_source(name: str, roll: Path) -> Source:
    """Return what a session is made from. Raises InvalidFile with all problems of a file."""
    shipped = shipped_folder("topologies")
    path = find_exam(name, shipped_folder("exams"))
    template = read_paper(path, shipped)
    paper = template.resolve(shipped_catalogue())
    if template.scenario is None:  # resolve has said so already
        raise LabctlError(_("the exam has no topology"), hint=f"labctl exam validate {name}")
    return Source(path, roll, template, template.scenario, paper, load_candidates(roll, paper.exam))


def refuse_sealed(session: Session) -> None:
    """Raise Refused where papers are sealed: preparing would write them again."""
    text = _('the session "{name}" is sealed: labs are made anew once it is open')
    raise Refused(text.format(name=session.name), hint=f"labctl exam open {session.name}")


def read_words(words: Path | None, *, confirm: bool) -> str:
    """Return a passphrase, from a file or from whoever sits there."""
    if words is not None:
        try:
            return words.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as exc:
            text = _('the passphrase cannot be read from "{path}"').format(path=words)
            raise LabctlError(text, hint=f"ls -l {words}") from exc
    return str(click.prompt(_("Passphrase"), hide_input=True, confirmation_prompt=confirm, err=True))


@exam.command(
    name="seal",
    help=_(
        "Encrypt the papers of a prepared session: nobody reads or changes them unseen. Without the passphrase they "
        "are lost. Prints the checksum for the proctor's sheet."
    ),
)
@SESSION
@PASSPHRASE
def seal_session(session: str, words: Path | None) -> int:
    with open_hypervisor() as machines:
        place = Workplace.open(machines, os.environ)
        found = find_session(place.home, session)
        sealed = found.read().stage.reached(Stage.SEALED)
        checksum = seal(found, "" if sealed else read_words(words, confirm=True), watched_files(place, found))
    click.echo(_("{name}: sealed; checksum {checksum}").format(name=session, checksum=checksum))
    click.echo(_("Try: {hint}").format(hint=f"labctl exam open {session}"), err=True)
    return ExitCode.DONE


@exam.command(name="open", help=_("Check the seal of a session, and decrypt its papers."))
@SESSION
@PASSPHRASE
@click.option(
    "--override", default="", metavar=_("REASON"), help=_("Open although something was changed; the reason is kept.")
)
def open_session_papers(session: str, words: Path | None, override: str) -> int:
    with open_hypervisor() as machines:
        place = Workplace.open(machines, os.environ)
        found = find_session(place.home, session)
        opened = found.read().stage.reached(Stage.OPEN)
        given = "" if opened else read_words(words, confirm=False)
        changes = open_seal(found, given, watched_files(place, found), override)
    for change in changes:
        click.secho(_("Warning: {change}").format(change=change), err=True, fg="yellow")
    click.echo(_("{name}: open").format(name=session))
    click.echo(_("Try: {hint}").format(hint=f"labctl exam start {session}"), err=True)
    return ExitCode.DONE


@exam.command(
    name="start",
    help=_(
        "Begin a phase for candidates, by default the work on the machines: links are pulled, then all machines run in "
        "one burst. The other phases are clocks; the recette lets frozen machines run again."
    ),
)
@SESSION
@CANDIDATE
@click.option(
    "--phase", type=click.Choice([str(one) for one in Phase]), default=str(Phase.PRACTICAL), show_default=True
)
@click.option("--no-supervisor", is_flag=True, help=_("Start none where none is at work: then nothing freezes."))
@JSON
def start_phase(session: str, numbers: Sequence[str], phase: str, no_supervisor: bool, as_json: bool) -> int:
    if not no_supervisor:
        find_session(home_folder(os.environ), session)
        ensure_supervisor(home_folder(os.environ))
    with open_conduct(session, as_json=as_json) as conduct:
        results, burst = start(conduct, split(numbers), Phase(phase))
        probe_started(conduct, results if burst and Phase(phase) is Phase.PRACTICAL else {})
    if burst and Phase(phase) is Phase.PRACTICAL:
        warn_unknown(conduct)
    done = _("{phase}: begun").format(phase=phase_name(Phase(phase)))
    code = print_results(results, as_json=as_json, done=done)
    if burst and not as_json:
        text = _("{count} machines began within {seconds:.2f} s")
        colour = "red" if burst.spread > MOST_SPREAD else None
        click.secho(text.format(count=burst.machines, seconds=burst.spread), err=True, fg=colour)
    return code
