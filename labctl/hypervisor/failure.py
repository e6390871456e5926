"""libvirt's errors to the errors that labctl tells people about."""

import errno

import libvirt

from labctl.checks.lines import printable
from labctl.errors import HostNotReady, LabctlError, Refused
from labctl.hypervisor.daemon import restart_command, start_command
from labctl.language import _

_FORBIDDEN = frozenset({libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_ACCESS_DENIED})
_NOT_THERE = frozenset({libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_NETWORK})
_TAKEN = frozenset({libvirt.VIR_ERR_DOM_EXIST, libvirt.VIR_ERR_NETWORK_EXIST})

LONGEST = 2000  # letters of a line


class Lost(HostNotReady):
    """The daemon went away or does not answer: worth another try on a new connection."""


class AgentSilent(LabctlError):
    """A guest's agent does not answer now: its machine may be short of time."""


def is_missing(exc: libvirt.libvirtError) -> bool:
    """Tell whether libvirt says that the domain or network does not exist."""
    return exc.get_error_code() in _NOT_THERE


def is_lost(exc: libvirt.libvirtError, alive: bool) -> bool:
    """Tell whether the error is about the way to the daemon, not about what was asked of it."""
    if not alive:
        return True
    return exc.get_error_domain() == libvirt.VIR_FROM_RPC and exc.get_error_code() in {
        libvirt.VIR_ERR_INTERNAL_ERROR,  # "client socket is closed"
        libvirt.VIR_ERR_SYSTEM_ERROR,  # "End of file while reading data"
    }


def explain_connection(exc: libvirt.libvirtError, uri: str) -> HostNotReady:
    """Return the error for a connection that could not be opened; Lost where another try makes sense."""
    detail = exc.get_error_message()
    # a system error carries errno in int1; its text is in the language of the host
    if exc.get_error_code() in _FORBIDDEN or exc.get_int1() in {errno.EACCES, errno.EPERM}:
        text = _('libvirt at "{uri}" does not let you in: {detail}')
        return HostNotReady(text.format(uri=uri, detail=detail), hint="sudo -i")
    text = _('libvirt at "{uri}" cannot be reached: {detail}')
    return Lost(text.format(uri=uri, detail=detail), hint=start_command())


def explain_loss(exc: libvirt.libvirtError, uri: str) -> Lost:
    """Return the error for a daemon that went away, or stopped answering, in the middle of a call."""
    detail = exc.get_error_message()
    if "keepalive" in detail:  # said by libvirt's library in this process, which nobody translates
        text = _('libvirt at "{uri}" does not answer any more: its daemon hangs')
        return Lost(text.format(uri=uri), hint=restart_command())
    text = _('libvirt at "{uri}" went away: {detail}')
    return Lost(text.format(uri=uri, detail=detail), hint=start_command())


def explain_silence(uri: str, seconds: float) -> Lost:
    """Return the error for a daemon whose socket is open but that never answers."""
    text = _('libvirt at "{uri}" has not answered for {seconds:.0f} s: its daemon hangs')
    return Lost(text.format(uri=uri, seconds=seconds), hint=restart_command())


def explain(exc: libvirt.libvirtError, failing: str) -> LabctlError:
    """Return the error for a request that libvirt answered with no.

    `failing` is the sentence, already translated, that says what was tried.
    """
    # An agent's own words may be in it, which are a guest's.
    code, lines = exc.get_error_code(), exc.get_error_message().splitlines()
    detail = "\n".join(printable(line, LONGEST) for line in lines)
    message = f"{failing}: {detail}"
    if code in _FORBIDDEN:
        return HostNotReady(message, hint="sudo -i")
    if code == libvirt.VIR_ERR_AGENT_UNRESPONSIVE:
        return AgentSilent(message, hint="labctl status")
    if code in _TAKEN:
        return Refused(message, hint="virsh list --all")
    return LabctlError(message, hint="labctl doctor")
