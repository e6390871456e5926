"""A running machine of ours to a file with its memory, and such a file to a machine under another name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import libvirt

from labctl.errors import LabctlError, Refused
from labctl.hypervisor import domains
from labctl.hypervisor.binding import Connection, Domain
from labctl.hypervisor.delivery import Delivery, deliver
from labctl.hypervisor.failure import is_lost
from labctl.hypervisor.ownership import check_domain_owner, find_domain, read_description
from labctl.hypervisor.pool import is_alive
from labctl.hypervisor.saved_state import Compression, StateNotUsable, is_complete, load_saved_state, write_header
from labctl.language import _
from labctl.plan.observed import DomainState

# What QEMU and libvirt say when a memory image does not fit the QEMU, machine type or processor that it meets.
# The first are QEMU's own words, which nobody translates.
_REJECTED = ("load of migration failed", "error while loading state")
_NOT_FOR_HERE = frozenset({libvirt.VIR_ERR_CPU_INCOMPATIBLE, libvirt.VIR_ERR_CONFIG_UNSUPPORTED})
# libvirt 9 and 10 open a saved state once; 11.3 opens it for the head (qemuSaveImageGetMetadata), closes it, and opens
# it again (qemuSaveImageOpen). A wrong guess costs a restore that fails, not a wrong machine.
OPENED_TWICE_SINCE = 11_000_000


@dataclass(frozen=True)
class Thaw:
    """A machine to make from a saved state: its own XML, and whether it runs at once or waits, paused."""

    saved: Path
    xml: str
    name: str
    running: bool
    delivery: Delivery = Delivery.FIFO


def suspend(connection: Connection, name: str, lab: str) -> None:
    """Stop the processors of our domain; one that is paused is what was wanted."""
    domain = domains.find_own(connection, name, lab)
    try:
        domain.suspend()
    except libvirt.libvirtError:
        if domains.current_state(domain)[0] is not DomainState.PAUSED:
            raise


def save(connection: Connection, name: str, lab: str, path: Path) -> None:
    """Save the memory of our domain to `path`, whole or not at all, and switch the domain off.

    A paused one is saved as paused. When it fails the domain goes on as before.
    """
    domain = domains.find_own(connection, name, lab)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # A second attempt after the daemon went away may find the work done.
        if domain.isActive() or not is_complete(temporary):
            domain.saveFlags(str(temporary), None, 0)
        settle(temporary, path)
    except libvirt.libvirtError as exc:
        if not is_lost(exc, is_alive(connection)):
            temporary.unlink(missing_ok=True)
        raise
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        text = _('the memory of "{name}" cannot be kept in "{path}": {reason}')
        message = text.format(name=name, path=path, reason=exc.strerror)
        raise LabctlError(message, hint=f"df -h {path.parent}") from exc


def settle(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, for its owner alone, so that a power cut leaves all or nothing."""
    temporary.chmod(0o600)
    for place, flags in ((temporary, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(place, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if place == temporary:
            temporary.replace(path)


class Restoration:
    """One machine made from a saved state; callable again on another connection when the first was lost."""

    def __init__(self, thaw: Thaw) -> None:
        self.thaw = thaw
        self._existed: bool | None = None  # before our first attempt

    def __call__(self, connection: Connection) -> None:
        """Define the machine and load its memory.

        Raises Refused for a machine that is not ours, or that runs; StateNotUsable where QEMU cannot
        load the memory, StateDamaged for a broken file. What was defined here goes when it fails.
        """
        thaw = self.thaw
        state = load_saved_state(thaw.saved)
        described = read_description(thaw.xml)
        name, tag = described.name, described.tag
        domain = find_domain(connection, name)
        if domain is not None:
            check_domain_owner(domain, tag.seat_name)
            # A lost first attempt may have left something running: that is not what was wanted.
            make_way(domain, name, tag.seat_name, running=self._existed is None)
        if self._existed is None:
            self._existed = domain is not None
        with rejection(connection, thaw):
            domains.define(connection, described, validated=True)  # the golden machine was, by the same template
        delivery = thaw.delivery
        if delivery is Delivery.FIFO and state.compression is Compression.SPARSE:
            delivery = Delivery.COPY
        try:
            head = write_header(state.with_xml(thaw.xml))
            twice = connection.getLibVersion() >= OPENED_TWICE_SINCE
            with deliver(thaw.saved, head, state.payload_offset, delivery, opened_twice=twice) as path:
                load(connection, path, thaw)
        except (libvirt.libvirtError, LabctlError):
            if not self._existed and is_alive(connection):
                domains.remove(connection, name, tag.seat_name)
            raise


def make_way(domain: Domain, name: str, lab: str, *, running: bool) -> None:
    """Make sure that the domain is off and that its next cold start reads no older memory.

    One that runs is refused where `running` says that it is somebody's, else switched off.
    """
    if domain.isActive():
        if running:
            text = _('the machine "{name}" runs: it cannot be made from a saved state now')
            raise Refused(text.format(name=name), hint=f"labctl status {lab}")
        domains.cut_power(domain)
    if domain.hasManagedSaveImage():  # somebody's `virsh managedsave` on a disk that is about to be another
        domain.managedSaveRemove()


def load(connection: Connection, path: Path, thaw: Thaw) -> None:
    """Let libvirt restore from a path."""
    flags = libvirt.VIR_DOMAIN_SAVE_RUNNING if thaw.running else libvirt.VIR_DOMAIN_SAVE_PAUSED
    with rejection(connection, thaw):
        connection.restoreFlags(str(path), None, flags)


@contextmanager
def rejection(connection: Connection, thaw: Thaw) -> Iterator[None]:
    """Tell a state that does not fit this host from every other failure: raise StateNotUsable."""
    try:
        yield
    except libvirt.libvirtError as exc:
        if is_lost(exc, is_alive(connection)) or not is_rejected(exc):
            raise
        text = _('this host cannot load the saved state "{path}" into "{name}": {detail}')
        message = text.format(path=thaw.saved, name=thaw.name, detail=exc.get_error_message())
        raise StateNotUsable(message, hint="labctl doctor") from exc


def is_rejected(exc: libvirt.libvirtError) -> bool:
    """Tell whether libvirt or QEMU refused the state itself."""
    detail = exc.get_error_message()
    return exc.get_error_code() in _NOT_FOR_HERE or any(words in detail for words in _REJECTED)
