"""The worker's process: opens the installation of its environment and serves it until it is asked to end."""

import logging
import os
import pwd
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from labctl.errors import ExitCode, HostNotReady, LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.lab.pace import Accelerators
from labctl.lab.site import DEFAULT_URI, home_folder
from labctl.lab.workplace import Workplace
from labctl.worker.office import Office
from labctl.worker.serve import Server

SOCKET = "portal/worker.sock"  # below the home folder, where the environment does not say
AGAIN = 5.0  # seconds between two tries to hear of libvirt's events
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


def hear(machines: Hypervisor, office: Office, stopping: threading.Event) -> None:
    """Pass libvirt's events on, from now or from when it can be reached first."""
    while not stopping.is_set():
        try:
            with machines.watch(office.watch.note):
                office.watch.look_at()  # what happened until now was not heard
                stopping.wait()
        except HostNotReady as exc:
            LOG.warning("%s", exc.message)
            stopping.wait(AGAIN)


def run(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. Raises LabctlError where this installation cannot be served."""
    stopping = threading.Event()
    with Hypervisor(environment.get("LABCTL_URI", DEFAULT_URI), connections=6) as machines:
        place = Workplace.open(machines, environment)
        warn = LOG.warning
        office = Office(place, Accelerators(place.home, lambda reason: warn("machines are emulated: %s", reason)))
        server = Server(office, socket_path(environment), allowed_users(environment))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_caught: stopping.set())
        office.open()
        threading.Thread(target=hear, args=(machines, office, stopping), name="hear", daemon=True).start()
        threading.Thread(target=server.serve, name="serve", daemon=True).start()
        stopping.wait()
        server.stop()
        office.close()


def main() -> None:
    """Run the worker; always ends the process, whatever hangs in libvirt."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="labctl worker: %(message)s")
    logging.getLogger("paramiko").setLevel(logging.ERROR)
    code: int = ExitCode.DONE
    try:
        run(os.environ)
    except LabctlError as exc:
        LOG.error("%s", exc.message)  # noqa: TRY400  a sentence for people, who can do nothing with its stack
        code = exc.exit_code
    sys.stderr.flush()
    os._exit(code)  # threads may be deep inside libvirt: the next worker takes up what they did


if __name__ == "__main__":
    main()
