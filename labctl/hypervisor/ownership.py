"""A libvirt object's metadata to the permission to change it: only what carries our tag, of the right lab."""

from collections.abc import Callable
from xml.etree import ElementTree

import libvirt

from labctl.errors import Refused
from labctl.hypervisor.binding import Connection, Handle
from labctl.hypervisor.failure import is_missing
from labctl.language import _
from labctl.plan.observed import Tag
from labctl.render.tag import parse_tag, tag_attributes


def find_domain(connection: Connection, name: str) -> Handle | None:
    """Return the domain of that name, None where there is none."""
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return None
        raise


def find_network(connection: Connection, name: str) -> Handle | None:
    """Return the network of that name, None where there is none."""
    try:
        return connection.networkLookupByName(name)
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return None
        raise


def refuse_taken_identity(document: str, lookup: Callable[[str], Handle]) -> None:
    """Raise Refused where the identity (UUID) in the description already belongs to something of another name."""
    root = ElementTree.fromstring(document)
    name, uuid = root.findtext("name", default=""), root.findtext("uuid", default="")
    try:
        other = lookup(uuid).name() if uuid else name
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return
        raise
    if other != name:
        text = _('"{name}" exists already under the name "{other}": somebody renamed it')
        raise Refused(text.format(name=name, other=other), hint=f"virsh domrename {other} {name}")


def read_tag(handle: Handle) -> Tag | None:
    """Return our tag on a domain or network, read now."""
    return parse_tag(handle.XMLDesc())


def check_domain_owner(handle: Handle, lab: str) -> Tag:
    """Return the domain's tag. Raises Refused where it is not ours or belongs to another lab.

    `lab` is the seat of the lab, which is the lab's name unless it was a spare.
    """
    tag = read_tag(handle)
    if tag is None:
        text = _('the virtual machine "{name}" was not made by labctl: it is left untouched')
        raise Refused(text.format(name=handle.name()), hint=f"virsh dominfo {handle.name()}")
    if tag.seat_name != lab:
        text = _('the virtual machine "{name}" belongs to the lab "{owner}", not to "{lab}": it is left untouched')
        raise Refused(text.format(name=handle.name(), owner=tag.lab, lab=lab), hint="labctl status")
    return tag


def check_network_owner(handle: Handle, lab: str) -> Tag:
    """Return the network's tag. Raises Refused where it is not ours or belongs to another lab."""
    tag = read_tag(handle)
    if tag is None:
        text = _('the network "{name}" was not made by labctl: it is left untouched')
        raise Refused(text.format(name=handle.name()), hint=f"virsh net-info {handle.name()}")
    if tag.seat_name != lab:
        text = _('the network "{name}" belongs to the lab "{owner}", not to "{lab}": it is left untouched')
        raise Refused(text.format(name=handle.name(), owner=tag.lab, lab=lab), hint="labctl status")
    return tag


def tag_of_description(document: str) -> tuple[str, Tag]:
    """Return the name and tag in XML that is about to be given to libvirt.

    Raises Refused for XML without our tag: what we could not recognise later is never created.
    """
    name = ElementTree.fromstring(document).findtext("name", default="")
    tag = parse_tag(document)
    if tag is None:
        text = _('the description of "{name}" does not carry labctl\'s mark: it is not given to libvirt')
        raise Refused(text.format(name=name))
    return name, tag


def tag_for_update(tag: Tag) -> str:
    """Return the element as virDomainSetMetadata wants it: it declares prefix and namespace itself."""
    return ElementTree.tostring(ElementTree.Element("object", tag_attributes(tag)), encoding="unicode")
