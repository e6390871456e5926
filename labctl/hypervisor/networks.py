"""A network's XML to a running libvirt network of ours, and back to nothing."""

from contextlib import suppress
from xml.etree import ElementTree

import libvirt

from labctl.errors import Refused
from labctl.hypervisor.allow_list import forget_rules
from labctl.hypervisor.binding import Connection, Network
from labctl.hypervisor.host_network import read_links
from labctl.hypervisor.ownership import (
    Description,
    check_network_owner,
    find_network,
    refuse_taken_identity,
    tag_of_network,
)
from labctl.language import _


def create(connection: Connection, described: Description, *, validated: bool) -> None:
    """Define, autostart and start; adopt one of ours that carries the same tag.

    One that was `validated` is not compared with libvirt's schema again, which takes longer than all the rest.
    Raises Refused for a foreign network of that name, one of ours made from something else, or a bridge
    that already exists on the host. What was defined here does not stay when its start fails.
    """
    name, tag = described.name, described.tag
    network = find_network(connection, name)
    if network is not None:
        check_network_owner(network, tag.seat_name)
        if tag_of_network(network) != tag:
            text = _('the network "{name}" exists already and was made from another description')
            raise Refused(text.format(name=name), hint=f"labctl down {tag.lab}")
        start(network)
        return
    refuse_taken_identity(described, connection.networkLookupByUUIDString)
    refuse_taken_bridge(described)
    flags = 0 if validated else libvirt.VIR_NETWORK_DEFINE_VALIDATE
    network = connection.networkDefineXMLFlags(described.document, flags)
    try:
        start(network)
    except libvirt.libvirtError:
        with suppress(libvirt.libvirtError):
            network.undefine()
        raise


def start(network: Network) -> None:
    """Bring the network up now and with every start of the host; one that is up stays as it is."""
    if not network.autostart():
        network.setAutostart(True)
    if network.isActive():
        return
    try:
        network.create()
    except libvirt.libvirtError:
        if not network.isActive():  # else somebody was faster
            raise


def refuse_taken_bridge(described: Description) -> None:
    """Raise Refused where the bridge of a network to be made is an interface of the host already."""
    bridge = described.bridge
    if bridge in read_links():
        text = _(
            'the network "{name}" needs the bridge "{bridge}", but this interface exists already and is not its own'
        )
        raise Refused(text.format(name=described.name, bridge=bridge), hint=f"ip -d link show {bridge}")


def remove(connection: Connection, name: str, lab: str) -> None:
    """Stop and undefine our network; one that does not exist is what was wanted."""
    network = find_network(connection, name)
    if network is None:
        return
    check_network_owner(network, lab)
    bridge = network.bridgeName() if leads_outside(network) else ""
    if network.isActive():
        try:
            network.destroy()
        except libvirt.libvirtError:
            if find_network(connection, name) is not None and network.isActive():
                raise
    if find_network(connection, name) is not None:
        network.undefine()
    if bridge:
        forget_rules(bridge)


def leads_outside(network: Network) -> bool:
    """Return whether the host forwards what a network sends."""
    return ElementTree.fromstring(network.XMLDesc()).find("forward") is not None
