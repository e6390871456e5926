"""A machine's XML to a libvirt domain of ours, through its life, and back to nothing."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import libvirt

from labctl.errors import LabctlError
from labctl.hypervisor.binding import Connection, Domain
from labctl.hypervisor.failure import is_missing
from labctl.hypervisor.ownership import (
    Description,
    check_domain_owner,
    find_domain,
    refuse_taken_identity,
    tag_for_update,
)
from labctl.hypervisor.states import read_state
from labctl.language import _
from labctl.plan.observed import DomainState, Tag
from labctl.render.tag import NAMESPACE, PREFIX


def define(connection: Connection, described: Description, *, validated: bool) -> None:
    """Define the domain, or redefine ours of the same name and lab. Raises Refused for anybody else's.

    One that was `validated` is not compared with libvirt's schema again, which takes longer than all the rest.
    """
    domain = find_domain(connection, described.name)
    if domain is not None:
        check_domain_owner(domain, described.tag.seat_name)
    else:
        refuse_taken_identity(described, connection.lookupByUUIDString)
    connection.defineXMLFlags(described.document, 0 if validated else libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def find_own(connection: Connection, name: str, lab: str) -> Domain:
    """Return our domain of that lab. Raises LabctlError where it does not exist, Refused where it is not ours."""
    domain = find_domain(connection, name)
    if domain is None:
        raise absent(name)
    check_domain_owner(domain, lab)
    return domain


def absent(name: str) -> LabctlError:
    """Return the error for a machine that does not exist."""
    return LabctlError(_('the virtual machine "{name}" does not exist').format(name=name), hint="labctl status")


def start(connection: Connection, name: str, lab: str) -> None:
    """Start our domain, or let it run on where it is paused; one that runs already is what was wanted.

    A crashed one that libvirt preserved for inspection is switched off first.
    """
    domain = find_own(connection, name, lab)
    if domain.isActive():
        state = current_state(domain)[0]
        if state is DomainState.PAUSED:
            resume(connection, name, lab)
        if state is not DomainState.CRASHED:
            return
        domain.destroy()
    try:
        domain.create()
    except libvirt.libvirtError:
        if not domain.isActive():
            raise


def resume(connection: Connection, name: str, lab: str) -> None:
    """Let our paused domain run on; one that runs already is what was wanted."""
    domain = find_own(connection, name, lab)
    if current_state(domain)[0] is not DomainState.PAUSED:
        return
    try:
        domain.resume()
    except libvirt.libvirtError:
        if current_state(domain)[0] is not DomainState.RUNNING:
            raise


def destroy(connection: Connection, name: str, lab: str) -> None:
    """Cut the power of our domain; one that is off or gone is what was wanted."""
    domain = find_domain(connection, name)
    if domain is not None:
        check_domain_owner(domain, lab)
        cut_power(domain)


def cut_power(domain: Domain) -> None:
    """End the domain's process if it has one."""
    try:
        if domain.isActive():
            domain.destroy()
    except libvirt.libvirtError as exc:
        if not is_missing(exc) and domain.isActive():
            raise


def remove(connection: Connection, name: str, lab: str) -> None:
    """Cut the power and undefine our domain with what libvirt keeps beside it; disks stay."""
    domain = find_domain(connection, name)
    if domain is None:
        return
    check_domain_owner(domain, lab)
    cut_power(domain)
    try:
        domain.undefineFlags(_undefine_flags(connection, domain))
    except libvirt.libvirtError as exc:
        if not is_missing(exc):
            raise


def _undefine_flags(connection: Connection, domain: Domain) -> int:
    flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    root, qemu = ElementTree.fromstring(domain.XMLDesc()), connection.getType() == "QEMU"
    if qemu:  # the test driver knows no checkpoints
        flags |= libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    nvram = root.findtext("./os/nvram", default="")
    if not nvram and qemu and root.find("./os[@firmware='efi']") is not None:
        flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM  # libvirt chose the file, in its own folder, and does not name it
    if nvram:
        # SEC-11: a domain may point at the firmware's shared template; only libvirt's own folder is emptied
        own = Path(nvram).parent.parts[-2:] == ("qemu", "nvram")
        flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM if own else libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    return int(flags)


def mark_configured(connection: Connection, name: str, lab: str, configured: str) -> None:
    """Write what Ansible brought to its end into our tag."""
    domain = find_own(connection, name, lab)
    write_tag(domain, replace(check_domain_owner(domain, lab), configured=configured))


def hand_over(connection: Connection, name: str, seat: str, lab: str, owner: str) -> None:
    """Write into the tag of our domain of a seat whose lab it is from now on."""
    domain = find_own(connection, name, seat)
    tag = check_domain_owner(domain, seat)
    write_tag(domain, replace(tag, lab=lab, owner=owner, seat=seat if seat != lab else ""))


def write_tag(domain: Domain, tag: Tag) -> None:
    """Replace our tag, in the running and the stored description."""
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, tag_for_update(tag), PREFIX, NAMESPACE, flags)


def current_state(domain: Domain) -> tuple[DomainState, str]:
    """Return the state now and libvirt's word for its reason."""
    state, reason = domain.state()
    return read_state(state, reason)
