"""The supervisor as a process: started in the background where none is at work, and run in the foreground."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from labctl.cli.exam_opening import make_conduct
from labctl.cli.workplace import open_hypervisor
from labctl.crew import Crew
from labctl.errors import HostNotReady
from labctl.exam.conduct import Conduct
from labctl.exam.evidence.watching import watch_flows
from labctl.exam.moments import Clock, HostClock
from labctl.exam.session import exams_folder, find_session, list_sessions
from labctl.exam.standing import Stage
from labctl.exam.supervise import Supervisor, only_one, read_beat
from labctl.lab.site import ensure_home
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Progress
from labctl.shipped import shipped_folder

WAIT, LOOK = 15.0, 0.1  # seconds for a new supervisor to look for the first time
WORKERS = 8
PROGRAM = "from labctl.cli.main import main; main(['exam', 'supervise'])"


def is_supervised(home: Path, clock: Clock | None = None) -> bool:
    """Return whether a supervisor is at work."""
    beat = read_beat(home)
    return beat is not None and beat.alive((clock or HostClock()).read())


def ensure_supervisor(home: Path) -> None:
    """Start a supervisor that outlives this command, where none is at work. Raises HostNotReady where it does not."""
    if is_supervised(home):
        return
    path = exams_folder(home) / "supervisor.log"
    with path.open("ab") as log:
        path.chmod(0o600)
        argv = [sys.executable, "-P", "-c", PROGRAM]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
        subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment, cwd="/"
        )
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if is_supervised(home):
            click.echo(_("a supervisor is at work now; its log: {path}").format(path=path), err=True)
            return
        time.sleep(LOOK)
    text = _("no supervisor comes to work: nothing would freeze by itself")
    raise HostNotReady(text, hint=f"labctl exam supervise; tail {path}")


class Teller:
    """Prints what fails, one line each; what goes well is in the log of its session."""

    def tell(self, event: Event) -> None:
        """Print a failure."""
        if event.progress is Progress.FAILED:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            click.echo(f"{moment} {event.subject} {event.step}: {event.detail}", err=True)


def supervise(home: Path, stopped: Callable[[], bool]) -> None:
    """Supervise all sessions of an installation until somebody stops it. Raises Busy where another one does."""
    ensure_home(home)
    with only_one(home), open_hypervisor() as machines, ExitStack() as watches, Crew(max_workers=WORKERS) as crew:
        place = Workplace.open(machines, os.environ)
        clock, teller = HostClock(), Teller()
        known: dict[str, Conduct] = {}

        def open_all() -> list[Conduct]:
            for name in list_sessions(home):
                if name not in known:
                    session = find_session(home, name, clock)
                    if session.read().stage.reached(Stage.STARTED):
                        known[name] = make_conduct(place, machines, session, teller)
                        watches.enter_context(watch_flows(place, session, shipped_folder("topologies"), teller))
            return list(known.values())

        Supervisor(home, clock, open_all, crew, teller).run(stopped)
