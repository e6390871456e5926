"""The verbs `exam status` and `exam supervise`: where a session stands, and who keeps its deadlines."""

import json
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import JsonValue

from labctl.cli.exam_board import print_board
from labctl.cli.exam_opening import JSON, complete_sessions, make_conduct, open_session
from labctl.cli.exam_supervisor import is_supervised, supervise
from labctl.cli.exams import exam, utc
from labctl.cli.workplace import open_hypervisor
from labctl.errors import ExitCode, LabctlError
from labctl.exam.audit import Act
from labctl.exam.board import Seen, make_board
from labctl.exam.rules import stage_text
from labctl.exam.session import Session, list_sessions
from labctl.exam.standing import CandidateStanding, Standing
from labctl.exam.supervise import read_beat
from labctl.lab.site import home_folder
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Silent

Machines = dict[str, dict[str, str]]


@exam.command(help=_("Show where a session stands: clocks, machines, unfinished acts. Without a name, all sessions."))
@click.argument("session", metavar=_("SESSION"), default="", shell_complete=complete_sessions)
@JSON
def status(session: str, as_json: bool) -> int:
    home = home_folder(os.environ)
    if not session:
        return list_all(home, as_json=as_json)
    found = open_session(session)
    standing, machines = found.read(), look(found)
    if as_json:
        data = describe(home, found, standing, machines, datetime.now(UTC))
        click.echo(json.dumps(data, ensure_ascii=False))
        return ExitCode.DONE
    print_standing(home, found, standing, machines)
    return ExitCode.DONE


def list_all(home: Path, *, as_json: bool) -> int:
    """Print the sessions that there are."""
    stages = {name: open_session(name).read() for name in list_sessions(home)}
    if as_json:
        sessions = [{"session": name, "stage": str(one.stage)} for name, one in stages.items()]
        click.echo(json.dumps({"version": 1, "sessions": sessions}))
        return ExitCode.DONE
    if not stages:
        click.echo(_("there is no exam session"))
        click.echo(_("Try: {hint}").format(hint="labctl exam prepare EXAM --candidates FILE"), err=True)
    for name, one in stages.items():
        click.echo(f"{name}: {stage_text(one.stage)}")
    return ExitCode.DONE


def look(session: Session) -> Machines:
    """Return the states of all machines; empty where libvirt does not answer: the clocks are what matters."""
    labs = [one.lab for one in session.read().candidates.values()]
    try:
        with open_hypervisor() as machines:
            conduct = make_conduct(Workplace.open(machines, os.environ), machines, session, Silent())
            return {lab: dict(states) for lab, states in conduct.labs.states(labs).items()}
    except LabctlError as exc:
        click.secho(_("Warning: {change}").format(change=exc.message), err=True, fg="yellow")
        return {}


def describe(
    home: Path, session: Session, standing: Standing, machines: Machines, now: datetime
) -> dict[str, JsonValue]:
    """Return a session as `--json` shows it."""
    beat = read_beat(home)
    seal = standing.last.get(Act.SEAL)
    listed: list[JsonValue] = [
        describe_candidate(standing, one, machines.get(one.lab, {}), now) for one in standing.candidates.values()
    ]
    begun: list[JsonValue] = [*sorted(standing.unfinished)]
    return {
        "version": 1, "session": session.name, "exam": standing.text("exam"), "number": standing.text("number"),
        "stage": standing.stage, "rehearsal": standing.rehearsal, "now": utc(now),
        "checksum": seal.facts.get("checksum") if seal else None, "head": standing.head, "entries": standing.seq,
        "clock_jumps": standing.jumps.total_seconds(), "unfinished": begun,
        "supervisor": {
            "alive": is_supervised(home), "pid": beat.pid if beat else None,
            "looked": utc(beat.looked) if beat else None,
        },
        "candidates": listed,
    }  # fmt: skip


def describe_candidate(
    standing: Standing, one: CandidateStanding, machines: dict[str, str], now: datetime
) -> dict[str, JsonValue]:
    """Return a candidate as `--json` shows them. No name."""
    clock, freezes = one.clock, standing.freeze_time(one.number, now)
    begun: list[JsonValue] = [*sorted(one.unfinished)]
    return {
        "number": one.number, "lab": one.lab, "readiness": one.readiness, "reason": one.reason,
        "phase": one.phase, "begun": utc(clock.begun) if clock else None,
        "deadline": utc(clock.deadline(now)) if clock else None,
        "seconds_left": round(clock.left(now).total_seconds(), 3) if clock else None,
        "freezes": utc(freezes) if freezes else None, "paused": one.paused, "frozen": one.frozen,
        "running": one.running, "closed": one.closed, "machines": {**machines}, "unfinished": begun,
    }  # fmt: skip


def print_standing(home: Path, session: Session, standing: Standing, machines: Machines) -> None:
    """Print the board of a session, and who keeps its deadlines."""
    now = datetime.now(UTC)
    states = {one.number: machines[one.lab] for one in standing.candidates.values() if one.lab in machines}
    print_board(make_board(session.name, standing, now, Seen(states, supervised=is_supervised(home))))
    tell_supervisor(home, now)


def tell_supervisor(home: Path, now: datetime) -> None:
    """Say who keeps the deadlines; that nobody does is an alert of the board."""
    beat = read_beat(home)
    if beat and is_supervised(home):
        ago = (now - beat.looked).total_seconds()
        click.echo(_("supervisor: at work (pid {pid}), looked {ago:.1f} s ago").format(pid=beat.pid, ago=max(ago, 0.0)))


@exam.command(
    name="supervise",
    help=_(
        "Keep the deadlines of all sessions, until it is stopped: freezes each candidate at the end of their own time. "
        "`start` runs one in the background where none is at work."
    ),
)
def supervise_all() -> int:
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    supervise(home_folder(os.environ), asked.is_set)
    return ExitCode.DONE
