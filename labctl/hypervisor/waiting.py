"""A machine's name and a deadline to the moment its guest agent answers, or it is off, by events."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

import libvirt

from labctl.errors import DeadlineMissed, LabctlError
from labctl.hypervisor.binding import Connection
from labctl.hypervisor.domains import absent, current_state
from labctl.hypervisor.events import EventFeed
from labctl.hypervisor.ownership import find_domain
from labctl.hypervisor.states import IO_ERROR
from labctl.language import _
from labctl.plan.observed import DomainState
from labctl.render.tag import parse_tag

RECONCILE_SECONDS = 30.0  # a lost event costs this at most, F-12
AGENT_CHANNEL = "./devices/channel/target[@name='org.qemu.guest_agent.0']"


@dataclass(frozen=True)
class Glance:
    """One look at a domain. `node` is what people call it; `agent` is None without a channel for the agent."""

    node: str
    lab: str
    state: DomainState
    reason: str
    agent: bool | None = None
    full_disks: tuple[str, ...] = ()


def glance(connection: Connection, name: str) -> Glance | None:
    """Look at a domain now; None where it does not exist."""
    domain = find_domain(connection, name)
    if domain is None:
        return None
    state, reason = current_state(domain)
    document = domain.XMLDesc()
    tag = parse_tag(document)
    channel = ElementTree.fromstring(document).find(AGENT_CHANNEL)
    errors = domain.diskErrors() if reason == IO_ERROR else {}
    return Glance(
        node=tag.member if tag else name,
        lab=tag.lab if tag else "",
        state=state,
        reason=reason,
        agent=None if channel is None else channel.get("state") == "connected",
        full_disks=tuple(disk for disk, error in errors.items() if error == libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE),
    )


def wait_for(
    feed: EventFeed, name: str, deadline: float, look: Callable[[], Glance | None], settled: Callable[[Glance], bool]
) -> Glance | None:
    """Look again at every event until `settled`; return the last glance if the deadline (seconds) passes first.

    Returns None once settled. Raises what `settled` raises, LabctlError for a domain that does not exist.
    """
    end = time.monotonic() + deadline
    with feed.listening(name) as bell:
        while True:
            bell.clear()
            feed.connect()
            seen = look()
            if seen is None:
                raise absent(name)
            if settled(seen):
                return None
            if not _ring_before(bell, end):
                return seen


def _ring_before(bell: threading.Event, end: float) -> bool:
    left = end - time.monotonic()
    if left <= 0:
        return False
    bell.wait(min(left, RECONCILE_SECONDS))
    return True


def agent_answers(seen: Glance) -> bool:
    """Tell whether the agent is connected. Raises LabctlError where it cannot come any more."""
    if seen.state in {DomainState.STOPPED, DomainState.CRASHED}:
        raise ended(seen)
    if seen.state is DomainState.PAUSED and seen.reason == IO_ERROR:
        raise suspended(seen)
    if seen.agent is None:
        text = _('"{node}" has no channel for the guest agent: nothing can be waited for')
        raise LabctlError(text.format(node=seen.node), hint=_up(seen))
    return seen.agent and seen.state is DomainState.RUNNING


def ended(seen: Glance) -> LabctlError:
    """Return the error for a machine that stopped while something of it was awaited."""
    if seen.state is DomainState.CRASHED:
        text = _('"{node}" crashed while it was starting')
    else:
        text = _('"{node}" is switched off, so its guest agent cannot answer')
    return LabctlError(text.format(node=seen.node), hint=f"labctl logs {seen.lab} {seen.node}")


def suspended(seen: Glance) -> LabctlError:
    """Return the error for a machine that QEMU paused because its disk could not be written, T12."""
    if seen.full_disks:
        text = _(
            '"{node}" is suspended because the disk of this host is full (its disk {disks}): free some space first'
        )
        return LabctlError(text.format(node=seen.node, disks=", ".join(seen.full_disks)), hint="df -h")
    text = _('"{node}" is suspended because its disk cannot be read or written')
    return LabctlError(text.format(node=seen.node), hint="dmesg | tail")


def agent_missed(seen: Glance, deadline: float) -> DeadlineMissed:
    """Return the error for a guest agent that did not answer in time."""
    if seen.state is DomainState.PAUSED:
        text = _('the guest agent of "{node}" did not answer within {seconds:.0f} s: the machine is paused ({reason})')
    else:
        text = _('the guest agent of "{node}" did not answer within {seconds:.0f} s')
    message = text.format(node=seen.node, seconds=deadline, reason=seen.reason)
    return DeadlineMissed(message, hint=f"labctl logs {seen.lab} {seen.node}")


def _up(seen: Glance) -> str:
    return f"labctl up {seen.lab}"
