"""What the verbs of an exam session share: how one is found and opened, options, and results as they are printed."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
from pydantic import JsonValue

from labctl.cli.progress import choose_display
from labctl.cli.typed import printable
from labctl.cli.workplace import accelerators, open_hypervisor
from labctl.errors import ExitCode, LabctlError
from labctl.exam.allowed import allowed_names
from labctl.exam.conduct import Became, Conduct, Results
from labctl.exam.machines import HostConsoles, HostLabs
from labctl.exam.session import Session, find_session, list_sessions
from labctl.hypervisor.door import Hypervisor
from labctl.images.overlay import chain
from labctl.lab.site import home_folder
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Monitor

LENGTH = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,3})(?:min|m|$))?(?:(\d{1,5})s)?")


def complete_sessions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete the names of sessions."""
    return [name for name in list_sessions(home_folder(os.environ)) if name.startswith(incomplete)]


def complete_candidates(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete the candidates of the session named before."""
    try:
        session = find_session(home_folder(os.environ), str(ctx.params.get("session") or ""))
        return [number for number in session.read().candidates if number.startswith(incomplete)]
    except LabctlError:
        return []


def read_length(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:  # noqa: ARG001  click's signature
    """Return a length as people type it: 5 and 5m are minutes, 90s seconds, 1h30 an hour and a half."""
    if value is None:
        return None
    found = LENGTH.fullmatch(value.strip().casefold())
    if not found or not any(found.groups()):
        text = _('"{text}" is no length: type 5m, 90s or 1h30')
        raise click.BadParameter(text.format(text=printable(value)))
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


SESSION = click.argument("session", metavar=_("SESSION"), shell_complete=complete_sessions)
CANDIDATE = click.option(
    "--candidate", "numbers", multiple=True, metavar=_("NUMBER"), shell_complete=complete_candidates,
    help=_("Only this candidate; may be repeated, or several with commas. By default all."),
)  # fmt: skip
REASON = click.option("--reason", default="", metavar=_("TEXT"), help=_("Why; it is printed in the report."))
JSON = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))


def split(numbers: Sequence[str]) -> tuple[str, ...]:
    """Return candidates that were given one by one or with commas."""
    return tuple(part.strip() for number in numbers for part in number.split(",") if part.strip())


def open_session(name: str) -> Session:
    """Return a session of this installation."""
    return find_session(home_folder(os.environ), name)


@contextmanager
def open_room(name: str, *, as_json: bool = False) -> Iterator[tuple[Conduct, HostLabs]]:
    """Give what conducts a session on this host, and its labs, which can also be made anew."""
    session = open_session(name)
    with open_hypervisor() as machines, choose_display(name, as_json=as_json) as display:
        place = Workplace.open(machines, os.environ)
        labs = make_labs(place, machines, session, display)
        yield Conduct(session, labs, HostConsoles(place.home)), labs


@contextmanager
def open_conduct(name: str, title: str = "", *, as_json: bool = False) -> Iterator[Conduct]:
    """Give what conducts a session on this host, and show what it does."""
    session = open_session(name)
    with open_hypervisor() as machines, choose_display(title or name, as_json=as_json) as display:
        yield make_conduct(Workplace.open(machines, os.environ), machines, session, display)


def make_conduct(place: Workplace, machines: Hypervisor, session: Session, monitor: Monitor) -> Conduct:
    """Join a session with the labs of this host."""
    return Conduct(session, make_labs(place, machines, session, monitor), HostConsoles(place.home))


def make_labs(place: Workplace, machines: Hypervisor, session: Session, monitor: Monitor) -> HostLabs:
    """Return the labs of a session, held to the names that its exam allows."""
    allowed = allowed_names(session)
    return HostLabs(place, machines, session.folder, accelerators(place), monitor, allowed=allowed)


def watched_files(place: Workplace, session: Session) -> dict[str, Path]:
    """Return the files of labs that must not change while a session is sealed, by the names that are printed."""
    found: dict[str, Path] = {}
    for one in session.read().candidates.values():
        top = place.home / "labs" / one.lab
        found |= {f"{one.lab}/{name}": top / name for name in ("topology.yml", "variant.json")}
        for disk in sorted(top.glob("disks/*.qcow2")):
            base = chain(disk)[1:]
            manifest = base[0].parent.parent / "manifest.json" if base else None
            if manifest and manifest.exists():
                found[f"golden/{manifest.parent.name}/manifest.json"] = manifest
    return found


def print_results(results: Results, *, as_json: bool, done: str) -> ExitCode:
    """Print what became of each candidate; `done` is what those are told of whom it was done. Return the exit code."""
    if as_json:
        for number, result in results.items():
            line: dict[str, JsonValue] = {"type": "result", "candidate": number, "became": result.became}
            click.echo(json.dumps({**line, "reason": result.reason, "facts": dict(result.facts)}, ensure_ascii=False))
    else:
        for number, result in results.items():
            print_result(number, result.became, result.reason, done)
    bad = [one for one in results.values() if one.became in {Became.REFUSED, Became.FAILED}]
    if not bad:
        return ExitCode.DONE
    if len(bad) < len(results):
        return ExitCode.PARTLY
    return ExitCode.REFUSED if all(one.became is Became.REFUSED for one in bad) else ExitCode.FAILED


def print_result(number: str, became: Became, reason: str, done: str) -> None:
    """Print what became of one candidate."""
    if became is Became.DONE:
        click.echo(f"✔ {number}: {done}" + (f" ({reason})" if reason else ""))
    elif became is Became.ALREADY:
        click.echo(f"✔ {number}: " + _("nothing to do"))
    else:
        click.secho(f"✘ {number}: {reason}", err=True, fg="red")
