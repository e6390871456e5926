"""The host's capabilities, as libvirt tells them, to the user that guests run as."""

import os
import re
from xml.etree import ElementTree

from labctl.hypervisor.binding import Connection

DAC_LABEL = re.compile(r"\+(\d+):\+(\d+)")  # https://libvirt.org/formatcaps.html, secmodel "dac"


def read_qemu_owner(connection: Connection) -> tuple[int, int]:
    """Return (uid, gid) from the baselabel of the "dac" security model, else our own: libvirt then keeps ours."""
    root = ElementTree.fromstring(connection.getCapabilities())
    for model in root.iterfind("./host/secmodel"):
        if model.findtext("model") == "dac":
            for label in model.iterfind("baselabel"):
                found = DAC_LABEL.fullmatch(label.text or "")
                if found:
                    return int(found[1]), int(found[2])
    return os.geteuid(), os.getegid()
