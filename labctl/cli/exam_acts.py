"""The verbs of a proctor while candidates work: pause, resume, extend, message, incident, freeze, close."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import click

from labctl.cli.exam_opening import (
    CANDIDATE,
    JSON,
    REASON,
    SESSION,
    open_conduct,
    open_room,
    open_session,
    print_results,
    read_length,
    split,
)
from labctl.cli.exams import exam
from labctl.errors import ExitCode
from labctl.exam import acts, rehearsing
from labctl.exam.freezing import freeze
from labctl.exam.giving_up import give_up, refuse_begun
from labctl.exam.rehearsing import Fault
from labctl.exam.resetting import reset
from labctl.exam.session import list_sessions
from labctl.language import _

FAULTS: Mapping[str, Fault] = {
    "power-cut": Fault.POWER_CUT, "pull-cable": Fault.CABLE_OUT, "plug-cable": Fault.CABLE_IN,
    "break-freeze": Fault.FREEZE, "kill-supervisor": Fault.SUPERVISOR,
}  # fmt: skip
OF_MACHINES = frozenset({Fault.POWER_CUT, Fault.CABLE_OUT, Fault.CABLE_IN})


@exam.command(help=_("Stop the clocks of candidates, and their machines."))
@SESSION
@CANDIDATE
@REASON
@JSON
def pause(session: str, numbers: Sequence[str], reason: str, as_json: bool) -> int:
    with open_conduct(session, as_json=as_json) as conduct:
        results = acts.pause(conduct, split(numbers), reason)
    return print_results(results, as_json=as_json, done=_("paused"))


@exam.command(help=_("Let paused candidates go on, all at the same instant."))
@SESSION
@CANDIDATE
@REASON
@JSON
def resume(session: str, numbers: Sequence[str], reason: str, as_json: bool) -> int:
    with open_conduct(session, as_json=as_json) as conduct:
        results = acts.resume(conduct, split(numbers), reason)
    return print_results(results, as_json=as_json, done=_("goes on"))


@exam.command(
    help=_("Give candidates more time in their phase, such as 5m, 90s or 1h30. Work that was frozen goes on with it.")
)
@SESSION
@click.argument("length", metavar=_("LENGTH"), callback=read_length)
@CANDIDATE
@REASON
@JSON
def extend(session: str, length: timedelta, numbers: Sequence[str], reason: str, as_json: bool) -> int:
    with open_conduct(session, as_json=as_json) as conduct:
        results = acts.extend(conduct, split(numbers), length, reason)
    return print_results(results, as_json=as_json, done=_("{length} more").format(length=length))


@exam.command(help=_("Tell candidates something, on their pages. It is kept in the log."))
@SESSION
@click.argument("text", metavar=_("TEXT"))
@CANDIDATE
def message(session: str, text: str, numbers: Sequence[str]) -> int:
    with open_conduct(session) as conduct:
        acts.message(conduct, split(numbers), text)
    click.echo(_("written"))
    return ExitCode.DONE


@exam.command(
    help=_(
        "Write down what happened, such as a fire alarm, with the time that it is worth. In a rehearsal, --fault lets "
        "something happen, so that there is something to deal with."
    )
)
@SESSION
@click.argument("text", metavar=_("TEXT"))
@CANDIDATE
@click.option(
    "--compensation", callback=read_length, metavar=_("LENGTH"), help=_("Time that is given for it, such as 5m.")
)
@click.option("--fault", type=click.Choice(list(FAULTS)), help=_("Let this happen, in a rehearsal."))
@click.option("--machine", "node", default="", metavar=_("MACHINE"), help=_("The machine that it happens to."))
@JSON
def incident(
    session: str, text: str, numbers: Sequence[str], compensation: timedelta | None, fault: str | None, node: str,
    as_json: bool,
) -> int:  # fmt: skip
    if fault:
        if compensation:
            raise click.UsageError(_("the compensation of a fault is an incident of its own"))
        return let_happen(session, text, split(numbers), FAULTS[fault], node=node, as_json=as_json)
    if node:
        raise click.UsageError(_("--machine goes with --fault"))
    with open_conduct(session, as_json=as_json) as conduct:
        results = acts.note_incident(conduct, split(numbers), text, compensation or timedelta())
    if not results and not as_json:
        click.echo(_("written"))
    return print_results(results, as_json=as_json, done=_("written"))


def let_happen(session: str, text: str, numbers: Sequence[str], fault: Fault, *, node: str, as_json: bool) -> int:
    """Let something happen in a rehearsal."""
    if bool(node) is not (fault in OF_MACHINES):
        raise click.UsageError(_("a power cut or a cable needs one --machine, other faults have none"))
    if len(numbers) != (0 if fault is Fault.SUPERVISOR else 1):
        raise click.UsageError(_("this fault needs one --candidate; the supervisor is nobody's own, and has none"))
    with open_room(session, as_json=as_json) as (conduct, labs):
        if fault is Fault.SUPERVISOR:
            rehearsing.kill_supervisor(conduct, labs.place.home, text)
        elif fault is Fault.FREEZE:
            rehearsing.break_freeze(conduct, numbers[0], text)
        else:
            rehearsing.break_machine(conduct, labs, fault, numbers[0], node, text)
    if not as_json:
        click.echo(_("it has happened, and is written down"))
    return ExitCode.DONE


@exam.command(
    name="freeze",
    help=_("Freeze the work of candidates now: consoles cut, machines stopped together, disks and memory copied."),
)
@SESSION
@CANDIDATE
@REASON
@click.option("--run-on", is_flag=True, help=_("Let the machines run on afterwards, to show the work."))
@click.confirmation_option("--yes", prompt=_("Freeze now? Candidates cannot go on working."), help=_("Do not ask."))
@JSON
def freeze_work(session: str, numbers: Sequence[str], reason: str, run_on: bool, as_json: bool) -> int:
    said = acts.refuse_no_reason(reason)
    with open_conduct(session, as_json=as_json) as conduct:
        results = freeze(conduct, split(numbers), said, run_on=run_on)
    return print_results(results, as_json=as_json, done=_("frozen"))


@exam.command(
    name="reset",
    help=_("Make machines of a candidate anew while they work, for a reason; what was done on them is lost."),
)
@SESSION
@CANDIDATE
@click.option("--node", "nodes", multiple=True, metavar=_("MACHINE"), help=_("Only this machine; may be repeated."))
@REASON
@click.confirmation_option("--yes", prompt=_("What was done on these machines is lost. Go on?"), help=_("Do not ask."))
def reset_machines(session: str, numbers: Sequence[str], nodes: Sequence[str], reason: str) -> int:
    said, chosen = acts.refuse_no_reason(reason), split(numbers)
    if len(chosen) != 1:
        raise click.UsageError(_("a reset needs one --candidate"))
    with open_room(session) as (conduct, labs):
        result = reset(conduct, labs, chosen[0], split(nodes), reason=said, own=False)
    return print_results({chosen[0]: result}, as_json=False, done=_("made anew"))


@exam.command(
    help=_(
        "End the exam of candidates whose work is frozen; with the last, the session. Removes nothing, but for "
        "--give-up: it ends a session in which nobody has begun, and removes the labs that were made for it."
    )
)
@SESSION
@CANDIDATE
@click.option(
    "--give-up", "gives_up", is_flag=True, help=_("End a session that never started; its labs are removed. Asks first.")
)
@REASON
@click.option("--yes", is_flag=True, help=_("Do not ask."))
@JSON
def close(session: str, numbers: Sequence[str], gives_up: bool, reason: str, yes: bool, as_json: bool) -> int:
    if gives_up and numbers:
        raise click.UsageError(_("a session is given up as a whole: leave --candidate out"))
    if gives_up:
        return give_session_up(session, reason, yes=yes, as_json=as_json)
    with open_conduct(session, as_json=as_json) as conduct:
        results = acts.close(conduct, split(numbers))
        standing = conduct.session.read()
    code = print_results(results, as_json=as_json, done=_("ended"))
    if not as_json:
        click.echo(_("head of the log: {head}").format(head=standing.head), err=True)
    return code


def give_session_up(name: str, reason: str, *, yes: bool, as_json: bool) -> int:
    """End a session that never started, once a person has said so."""
    said, session = acts.refuse_no_reason(reason), open_session(name)
    refuse_begun(session.read(), name)
    text = _('Give up the session "{name}"? The labs made for it are removed; its log, papers and evidence stay.')
    if not yes:
        click.confirm(text.format(name=name), abort=True, err=True)
    others = tuple((other, open_session(other).read()) for other in list_sessions(session.folder.parent.parent))
    with open_room(name, as_json=as_json) as (conduct, labs):
        results = give_up(conduct, labs, said, tuple(one for one in others if one[0] != name))
        standing = conduct.session.read()
    code = print_results(results, as_json=as_json, done=_("ended"))
    if not as_json:
        click.echo(_("head of the log: {head}").format(head=standing.head), err=True)
    return code
