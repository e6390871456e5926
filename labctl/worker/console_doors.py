"""A lab's node to its screen, its serial console and a shell on it: what consoles need of libvirt and SSH."""

import socket
from typing import Protocol

from labctl import ssh
from labctl.errors import LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.observed import DomainState
from labctl.worker.terminal import Stream

ON = frozenset({DomainState.RUNNING, DomainState.PAUSED})
LOGIN_SECONDS = 20.0  # an emulated guest takes a second or two


class Shell(Stream, Protocol):
    """A terminal whose size the machine is told."""

    def resize(self, columns: int, rows: int) -> None:
        """Tell the machine the size, in letters and lines."""
        ...


class Doors(Protocol):
    """The ways into machines. Every method raises LabctlError with a sentence for a person."""

    def open_graphics(self, lab: str, node: str) -> socket.socket:
        """Return a socket that speaks VNC; any number may be open at once."""
        ...

    def open_serial(self, lab: str, node: str, *, force: bool) -> Stream:
        """Return the serial console. Raises Busy where somebody else has it, unless `force` takes it."""
        ...

    def open_shell(self, lab: str, node: str) -> Shell:
        """Return a root shell in a terminal of its own."""
        ...

    def is_running(self, lab: str, node: str) -> bool:
        """Return whether the machine runs, or stands still. Raises HostNotReady where libvirt cannot be asked."""
        ...


class LabDoors:
    """The doors of an installation."""

    def __init__(self, place: Workplace, machines: Hypervisor) -> None:
        self._place = place
        self._machines = machines

    def open_graphics(self, lab: str, node: str) -> socket.socket:
        """Return a socket that speaks VNC."""
        return self._machines.open_graphics(*self._seated(lab, node))

    def open_serial(self, lab: str, node: str, *, force: bool) -> Stream:
        """Return the serial console."""
        return self._machines.open_console(*self._seated(lab, node), force=force)

    def open_shell(self, lab: str, node: str) -> Shell:
        """Return a root shell."""
        logins = self._place.logins(lab, self._place.load_lab(lab))
        if node not in logins:
            raise unknown(lab, node)
        return ssh.open_shell(logins[node], LOGIN_SECONDS)

    def is_running(self, lab: str, node: str) -> bool:
        """Return whether the machine runs, or stands still."""
        name, _seat = self._seated(lab, node)
        return any(one.name == name and one.state in ON for one in self._place.see(name).domains)

    def _seated(self, lab: str, node: str) -> tuple[str, str]:
        """Return libvirt's name of a machine, and the seat of its lab."""
        if node not in self._place.load_lab(lab).nodes:
            raise unknown(lab, node)
        seat = self._place.seat_of(lab)
        return f"{self._place.prefix}{seat}.{node}", seat


def unknown(lab: str, node: str) -> LabctlError:
    """Return the error for a machine that a lab does not have."""
    text = _('the lab "{lab}" has no machine "{node}"')
    return LabctlError(text.format(lab=lab, node=node), hint=f"labctl status {lab}")
