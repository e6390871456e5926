"""A libvirt object's metadata to the permission to change it: only what carries our tag, of the right lab."""

from collections.abc import Callable
from typing import NamedTuple
from xml.etree import ElementTree

import libvirt

from labctl.errors import Refused
from labctl.hypervisor.binding import Connection, Domain, Handle, Network
from labctl.hypervisor.failure import is_missing
from labctl.language import _
from labctl.plan.observed import Tag
from labctl.render.tag import NAMESPACE, find_tag, parse_tag, read_tag, tag_attributes


class Description(NamedTuple):
    """XML that is about to be given to libvirt, and what it says: whose it is, its UUID and bridge, "" without one."""

    document: str
    name: str
    uuid: str
    bridge: str
    tag: Tag


def find_domain(connection: Connection, name: str) -> Domain | None:
    """Return the domain of that name, None where there is none."""
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return None
        raise


def find_network(connection: Connection, name: str) -> Network | None:
    """Return the network of that name, None where there is none."""
    try:
        return connection.networkLookupByName(name)
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return None
        raise


def refuse_taken_identity(described: Description, lookup: Callable[[str], Handle]) -> None:
    """Raise Refused where the identity (UUID) in the description already belongs to something of another name."""
    name = described.name
    try:
        other = lookup(described.uuid).name() if described.uuid else name
    except libvirt.libvirtError as exc:
        if is_missing(exc):
            return
        raise
    if other != name:
        text = _('"{name}" exists already under the name "{other}": somebody renamed it')
        raise Refused(text.format(name=name, other=other), hint=f"virsh domrename {other} {name}")


def tag_of_domain(domain: Domain) -> Tag | None:
    """Return our tag on a domain, read now: without the rest of its description, which takes longer than most acts."""
    try:
        element = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)
    except libvirt.libvirtError as exc:
        if exc.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
    return read_tag(ElementTree.fromstring(element).attrib)


def tag_of_network(network: Network) -> Tag | None:
    """Return our tag on a network, read now; libvirt gives the metadata of networks alone only since 9.7."""
    return parse_tag(network.XMLDesc())


def check_domain_owner(handle: Handle, lab: str) -> Tag:
    """Return the domain's tag. Raises Refused where it is not ours or belongs to another lab.

    `lab` is the seat of the lab, which is the lab's name unless it was a spare.
    """
    tag = tag_of_domain(handle)
    if tag is None:
        text = _('the virtual machine "{name}" was not made by labctl: it is left untouched')
        raise Refused(text.format(name=handle.name()), hint=f"virsh dominfo {handle.name()}")
    if tag.seat_name != lab:
        text = _('the virtual machine "{name}" belongs to the lab "{owner}", not to "{lab}": it is left untouched')
        raise Refused(text.format(name=handle.name(), owner=tag.lab, lab=lab), hint="labctl status")
    return tag


def check_network_owner(handle: Handle, lab: str) -> Tag:
    """Return the network's tag. Raises Refused where it is not ours or belongs to another lab."""
    tag = tag_of_network(handle)
    if tag is None:
        text = _('the network "{name}" was not made by labctl: it is left untouched')
        raise Refused(text.format(name=handle.name()), hint=f"virsh net-info {handle.name()}")
    if tag.seat_name != lab:
        text = _('the network "{name}" belongs to the lab "{owner}", not to "{lab}": it is left untouched')
        raise Refused(text.format(name=handle.name(), owner=tag.lab, lab=lab), hint="labctl status")
    return tag


def read_description(document: str) -> Description:
    """Return what XML that is about to be given to libvirt says.

    Raises Refused for XML without our tag: what we could not recognise later is never created.
    """
    root = ElementTree.fromstring(document)
    name, tag, bridge = root.findtext("name", default=""), find_tag(root), root.find("bridge")
    if tag is None:
        text = _('the description of "{name}" does not carry labctl\'s mark: it is not given to libvirt')
        raise Refused(text.format(name=name))
    uuid = root.findtext("uuid", default="")
    return Description(document, name, uuid, "" if bridge is None else bridge.get("name", ""), tag)


def tag_for_update(tag: Tag) -> str:
    """Return the element as virDomainSetMetadata wants it: it declares prefix and namespace itself."""
    return ElementTree.tostring(ElementTree.Element("object", tag_attributes(tag)), encoding="unicode")
