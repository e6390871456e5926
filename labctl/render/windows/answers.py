"""Turns what is to be installed, or a planned node, into the answer files that Windows Setup reads from small discs.

Reference of every setting: https://learn.microsoft.com/windows-hardware/customize/desktop/unattend/. Where Setup looks
for the files: https://learn.microsoft.com/windows-hardware/manufacture/desktop/windows-setup-automation-overview.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from pydantic import JsonValue

from labctl.plan.model import PlannedInterface, PlannedNode
from labctl.plan.names import MANAGEMENT_PORT
from labctl.render.identity import Keys
from labctl.render.windows.versions import DRIVERS, WindowsVersion, driver_folder
from labctl.render.xml import TEMPLATES, environment

LABEL = "LABCTL"  # of the small discs
KEYBOARD = "040c:0000040c"  # French (France), AZERTY
TIME_ZONE = "Romance Standard Time"  # Paris
LOCALE = "fr-FR"
LETTERS = "DEFGH"  # Setup gives letters to discs in an order of its own; an absent path is passed over
SCRIPTS = TEMPLATES / "windows"
BUILD_SCRIPTS = ("setup.cmd", "watch.cmd", "run.cmd", "report.ps1", "specialize.ps1", "configure.ps1", "seal.ps1",
                 "identity.ps1")  # fmt: skip
LONGEST_NAME = 15  # letters of a NetBIOS name
OPENSSH = "openssh.msi"


@dataclass(frozen=True)
class Install:
    """What one installation is given. `image` is the edition's exact name on the media, `language` that of its words.

    `product_key` is empty for media that need none: for evaluation, and of volume licences. `openssh` says that the
    installer of OpenSSH is on the disc; without it the machine takes it from Windows, or from Microsoft.
    """

    version: WindowsVersion
    image: str
    language: str
    product_key: str = ""
    openssh: bool = False


def build_files(install: Install) -> Mapping[str, bytes]:
    """Return the files of the disc that an installation reads, by path."""
    settings: dict[str, JsonValue] = {
        "drivers": install.version.drivers, "port": MANAGEMENT_PORT, "openssh": OPENSSH if install.openssh else "",
    }  # fmt: skip
    return {
        "Autounattend.xml": render_autounattend(install).encode(),
        "labctl/build.json": to_json(settings),
        **{f"labctl/{name}": read_script(name) for name in BUILD_SCRIPTS},
    }


def read_script(name: str) -> bytes:
    """Return a script as Windows reads it: lines end as there, and PowerShell 5 takes it for UTF-8 by its mark."""
    text = (SCRIPTS / name).read_text(encoding="utf-8").replace("\n", "\r\n")
    return text.encode("utf-8-sig" if name.endswith(".ps1") else "ascii")


def render_autounattend(install: Install) -> str:
    """Return the answer file of an installation: unattended, French, in audit mode until sysprep, without a password.

    In audit mode Windows logs on its own Administrator, whose name depends on the language, without a password.
    """
    paths = [
        f"{letter}:\\" + driver_folder(driver, install.version).replace("/", "\\")
        for driver in DRIVERS
        for letter in LETTERS
    ]
    return environment().get_template("windows/autounattend.xml.j2").render(
        install=install, paths=list(enumerate(paths, 1)), **REGION
    )  # fmt: skip


REGION = {"keyboard": KEYBOARD, "time_zone": TIME_ZONE, "locale": LOCALE, "letters": " ".join(LETTERS)}


def node_files(node: PlannedNode, keys: Keys, password: str, language: str) -> Mapping[str, bytes]:
    """Return the files of the disc that makes a clone of a Windows image this node.

    Whoever works on the machine reads them: `password` is good until labctl has brought the machine its own.
    """
    return {
        "Unattend.xml": render_unattend(node, password, language).encode(),
        "labctl/node.json": render_node(node, keys),
    }


def render_unattend(node: PlannedNode, password: str, language: str) -> str:
    """Return the answer file of a clone: name, addresses, and the password of its Administrator."""
    addressed = [interface for interface in node.interfaces if interface.address != "none"]
    return environment().get_template("windows/unattend.xml.j2").render(
        name=windows_name(node.member),
        language=language,
        password=hide(password, "AdministratorPassword"),
        interfaces=[describe(interface, node) for interface in addressed],
        nameservers=list(enumerate(node.nameservers, 1)),
        search=node.search,
        **REGION,
    )  # fmt: skip


def describe(interface: PlannedInterface, node: PlannedNode) -> dict[str, object]:
    """Return an interface as the template wants it; Windows names it by its MAC."""
    routes = [("0.0.0.0/0", interface.gateway)] if interface.gateway else []
    routes += [(route.to, route.via) for route in node.routes if route.interface == interface.name]
    fixed = interface.address != "dhcp"
    return {
        "mac": windows_mac(interface.mac),
        "dhcp": not fixed,
        "address": f"{interface.address}/{interface.prefix}" if fixed else "",
        "routes": [(number, str(IPv4Network(to)), via) for number, (to, via) in enumerate(routes, 1)],
    }


def render_node(node: PlannedNode, keys: Keys) -> bytes:
    """Return what the identity script of the image reads: names of network cards, and who may log in. No secret."""
    return to_json({
        "name": node.member,
        "port": MANAGEMENT_PORT,
        "management": node.management.name,
        "interfaces": {windows_mac(card.mac): card.name for card in (node.management, *node.interfaces)},
        "authorized_keys": keys.authorized,
    })  # fmt: skip


def windows_name(member: str) -> str:
    """Return the name that Windows gets: at most 15 letters."""
    return member[:LONGEST_NAME].rstrip("-")


def windows_mac(mac: str) -> str:
    """Return a MAC address as Windows writes it."""
    return mac.upper().replace(":", "-")


def hide(password: str, element: str) -> str:
    """Return a password as answer files hide it from a glance, and from nothing more: it stays a secret."""
    return base64.b64encode(f"{password}{element}".encode("utf-16-le")).decode()


def to_json(value: Mapping[str, JsonValue]) -> bytes:
    """Return JSON for PowerShell."""
    return (json.dumps(value, indent=1) + "\n").encode("ascii")
