"""A machine's screen to a socket that speaks VNC, without any port, password or path to protect (T8)."""

import socket
from xml.etree import ElementTree

import libvirt

from labctl.errors import LabctlError
from labctl.hypervisor.binding import Connection
from labctl.hypervisor.domains import find_own
from labctl.hypervisor.ownership import check_domain_owner
from labctl.language import _


def open_graphics(connection: Connection, name: str, lab: str) -> socket.socket:
    """Return a socket to the screen of a running machine of the lab; any number may be open at once."""
    domain = find_own(connection, name, lab)
    node = check_domain_owner(domain, lab).member
    if not domain.isActive():
        text = _('"{node}" is switched off: it has no screen')
        raise LabctlError(text.format(node=node), hint=f"labctl up {lab}")
    graphics = ElementTree.fromstring(domain.XMLDesc()).find("./devices/graphics")
    if graphics is None or graphics.get("type") != "vnc":
        text = _('"{node}" has no screen; it has a serial console')
        raise LabctlError(text.format(node=node), hint=f"labctl console {lab} {node}")
    # No password is asked: who may see the screen was decided before the descriptor leaves this process.
    return socket.socket(fileno=domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))
