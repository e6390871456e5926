"""A machine's screen to a picture, or to a socket that speaks VNC, without a port, password or path to protect (T8)."""

import socket
from xml.etree import ElementTree

import libvirt

from labctl.errors import LabctlError
from labctl.hypervisor.binding import Connection, Opaque, Stream
from labctl.hypervisor.domains import find_own
from labctl.hypervisor.ownership import check_domain_owner
from labctl.language import _

LARGEST_PICTURE = 128 << 20  # bytes: 7680 by 4320 points of three


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


def take_picture(connection: Connection, name: str, lab: str) -> bytes:
    """Return what a screen of our machine shows, as QEMU writes it (PPM); a paused one shows its last picture."""
    domain = find_own(connection, name, lab)
    if not domain.isActive():
        text = _('"{node}" is switched off: it has no screen')
        raise LabctlError(text.format(node=check_domain_owner(domain, lab).member), hint=f"labctl up {lab}")
    found = bytearray()

    def take(_stream: Stream, part: bytes, _opaque: Opaque) -> int:
        found.extend(part)
        if len(found) > LARGEST_PICTURE:
            raise ValueError(len(found))
        return len(part)

    stream = connection.newStream()
    domain.screenshot(stream, 0)
    stream.recvAll(take, None)
    stream.finish()
    return bytes(found)
