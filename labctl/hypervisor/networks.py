"""A network's XML to a running libvirt network of ours, and back to nothing."""

from contextlib import suppress
from xml.etree import ElementTree

import libvirt

from labctl.errors import Refused
from labctl.hypervisor.allow_list import forget_rules
from labctl.hypervisor.binding import Connection, Network
from labctl.hypervisor.host_network import read_links
from labctl.hypervisor.ownership import (
    check_network_owner,
    find_network,
    read_tag,
    refuse_taken_identity,
    tag_of_description,
)
from labctl.language import _


def create(connection: Connection, document: str) -> None:
    """Define, autostart and start; adopt one of ours that carries the same tag.

    Raises Refused for a foreign network of that name, one of ours made from something else, or a
    bridge that already exists on the host. What was defined here does not stay when its start fails.
    """
    name, tag = tag_of_description(document)
    network = find_network(connection, name)
    if network is not None:
        check_network_owner(network, tag.seat_name)
        if read_tag(network) != tag:
            text = _('the network "{name}" exists already and was made from another description')
            raise Refused(text.format(name=name), hint=f"labctl down {tag.lab}")
        start(network)
        return
    refuse_taken_identity(document, connection.networkLookupByUUIDString)
    refuse_taken_bridge(name, document)
    network = connection.networkDefineXMLFlags(document, libvirt.VIR_NETWORK_DEFINE_VALIDATE)
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


def refuse_taken_bridge(name: str, document: str) -> None:
    """Raise Refused where the bridge of a network to be made is an interface of the host already."""
    element = ElementTree.fromstring(document).find("bridge")
    bridge = "" if element is None else element.get("name", "")
    if bridge in read_links():
        text = _(
            'the network "{name}" needs the bridge "{bridge}", but this interface exists already and is not its own'
        )
        raise Refused(text.format(name=name, bridge=bridge), hint=f"ip -d link show {bridge}")


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
