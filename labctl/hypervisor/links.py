"""Pulls a machine's network cable, or plugs it in again: the card stays, and the guest sees that it has no link."""

from xml.etree import ElementTree

import libvirt

from labctl.errors import LabctlError
from labctl.hypervisor import domains
from labctl.hypervisor.binding import Connection
from labctl.language import _


def set_link(connection: Connection, name: str, lab: str, mac: str, *, up: bool) -> None:
    """Set the link of one card of our machine, running or not; one that is so already is what was wanted."""
    domain = domains.find_own(connection, name, lab)
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    card = find_card(domain.XMLDesc(), name, mac)
    if link_of(card) == up:
        return
    domain.updateDeviceFlags(with_link(card, up=up), flags)


def find_card(document: str, name: str, mac: str) -> ElementTree.Element:
    """Return the card of a MAC address. Raises LabctlError where the machine has none."""
    for card in ElementTree.fromstring(document).iterfind("./devices/interface"):
        found = card.find("mac")
        if found is not None and found.get("address", "").casefold() == mac.casefold():
            return card
    text = _('the machine "{name}" has no network card {mac}')
    raise LabctlError(text.format(name=name, mac=mac), hint="labctl status")


def link_of(card: ElementTree.Element) -> bool:
    """Return whether a card has a link; it has one unless it is said otherwise."""
    link = card.find("link")
    return link is None or link.get("state") != "down"


def with_link(card: ElementTree.Element, *, up: bool) -> str:
    """Return the XML of a card with its link set. The rest must stay as it was: libvirt refuses other changes."""
    link = card.find("link")
    if link is None:
        link = ElementTree.SubElement(card, "link")
    link.set("state", "up" if up else "down")
    return ElementTree.tostring(card, encoding="unicode")
