"""The worker's process: opens the installation of its environment and serves it until it is asked to end."""

import logging
import os
import pwd
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from labctl.errors import ExitCode, HostNotReady, LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.lab.lock import hold_lab
from labctl.lab.pace import Accelerators
from labctl.lab.site import DEFAULT_URI, home_folder
from labctl.lab.workplace import Workplace
from labctl.worker.bars import follow_bars
from labctl.worker.console_doors import LabDoors
from labctl.worker.console_room import Room
from labctl.worker.exam_watch import follow_exams
from labctl.worker.office import Office
from labctl.worker.serve import Server

SOCKET = "portal/worker.sock"  # below the home folder, where the environment does not say
ALONE = "portal"  # a lock of the host: no lab has this name, for want of a dash
TAKE_OVER = 25.0  # seconds for the worker before, whose supervisor was killed, to end
AGAIN = 5.0  # seconds between two tries to hear of libvirt's events
FIRST_LOOK = 10.0  # seconds for which requests wait until the labs were seen: none would seem to exist before
RENEW = 15.0  # seconds between two looks at whether they still come
LOG = logging.getLogger("labctl.worker")


def socket_path(environment: Mapping[str, str]) -> Path:
    """Return where the worker listens."""
    named = environment.get("LABCTL_PORTAL_WORKER")
    return Path(named) if named else home_folder(environment) / SOCKET


def allowed_users(environment: Mapping[str, str]) -> frozenset[int]:
    """Return the users who may ask: root, our own, and the one that the web process runs as."""
    found = {0, os.geteuid()}
    name = environment.get("LABCTL_PORTAL_WEB_USER", "")
    if name:
        found.add(int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid)
    return frozenset(found)


def suspend_after(environment: Mapping[str, str]) -> timedelta | None:
    """Return how long a lab may be unused before it is suspended, None for ever."""
    minutes = environment.get("LABCTL_PORTAL_SUSPEND_AFTER", "")
    return timedelta(minutes=int(minutes)) if minutes.isdigit() and int(minutes) else None


def hear(machines: Hypervisor, office: Office, stopping: threading.Event) -> None:
    """Pass libvirt's events on, from now or from when it can be reached first, and again after it was away."""
    listening, heard = ExitStack(), False
    while not stopping.is_set():
        again = ExitStack()
        try:
            again.enter_context(machines.watch(office.watch.note))
        except HostNotReady as exc:
            LOG.warning("%s", exc.message)
            heard = False
            stopping.wait(AGAIN)
            continue
        listening.close()  # only now: between two nothing is missed
        listening = again
        if not heard:
            office.watch.look_at()  # what happened until now was not heard
        troubles = office.watch.troubles
        stopping.wait(RENEW)
        heard = office.watch.troubles == troubles
    listening.close()


def serve(server: Server, office: Office) -> None:
    """Serve, once the labs were seen; whoever asks before waits in the socket's queue."""
    office.watch.looked.wait(FIRST_LOOK)
    server.serve()


def run(environment: Mapping[str, str], take_over: float = TAKE_OVER) -> None:
    """Serve until SIGTERM or SIGINT. Raises LabctlError where this installation cannot be served.

    `take_over` is for how many seconds a worker of the same home may go on.
    """
    stopping = threading.Event()
    with Hypervisor(environment.get("LABCTL_URI", DEFAULT_URI), connections=6) as machines:
        place = Workplace.open(machines, environment)
        alone = ExitStack()
        alone.enter_context(hold_lab(place.home, ALONE, "portal", take_over))
        warn = LOG.warning
        pace = Accelerators(place.home, lambda reason: warn("machines are emulated: %s", reason))
        office = Office(place, pace, Room(LabDoors(place, machines)), suspend_after(environment), links=machines)
        server = Server(office, socket_path(environment), allowed_users(environment))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_caught: stopping.set())
        office.open()
        bars = (place.home, lambda lab: office.cut(lab=lab), stopping.wait)
        threading.Thread(target=follow_bars, args=bars, name="bars", daemon=True).start()
        exams = (office.exams, office.look_at_exam, office.exam_changed, stopping.wait)
        threading.Thread(target=follow_exams, args=exams, name="exams", daemon=True).start()
        threading.Thread(target=hear, args=(machines, office, stopping), name="hear", daemon=True).start()
        threading.Thread(target=serve, args=(server, office), name="serve", daemon=True).start()
        stopping.wait()
        server.stop()
        office.close()
        alone.close()


def main(take_over: float = TAKE_OVER) -> None:
    """Run the worker; always ends the process, whatever hangs in libvirt."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="labctl worker: %(message)s")
    logging.getLogger("paramiko").setLevel(logging.ERROR)
    code: int = ExitCode.DONE
    try:
        run(os.environ, take_over)
    except LabctlError as exc:
        LOG.error("%s", exc.message)  # noqa: TRY400  a sentence for people, who can do nothing with its stack
        code = exc.exit_code
    sys.stderr.flush()
    os._exit(code)  # threads may be deep inside libvirt: the next worker takes up what they did


if __name__ == "__main__":
    main()
