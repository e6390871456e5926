"""Renders the machine that one installation of Windows runs in: its disk, its discs, firmware and serial port.

Format: https://libvirt.org/formatdomain.html
"""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from labctl.plan.names import derive_mac, object_uuid
from labctl.plan.observed import WORKBENCH, Tag
from labctl.render.tag import render_tag
from labctl.render.xml import WINDOWS_ZONE, environment


@dataclass(frozen=True)
class InstallMachine:
    """A machine for one installation. `discs` are Windows', virtio-win's and the answers, in this order; MiB.

    `online` plugs in its network card, behind which only the host's own network is; `home` is the mark of the
    installation that it belongs to.
    """

    name: str
    folder: Path
    discs: tuple[Path, Path, Path]
    memory: int
    cpus: int = 2
    secure_boot: bool = False
    tpm: bool = False
    online: bool = False
    home: str = ""

    @property
    def disk(self) -> Path:
        """Return the disk that is installed on."""
        return self.folder / "install.qcow2"

    @property
    def serial_log(self) -> Path:
        """Return what the machine says by its serial port."""
        return self.folder / "serial.log"

    @property
    def uuid(self) -> str:
        """Return the UUID of the libvirt object."""
        return object_uuid(self.name)

    @property
    def mac(self) -> str:
        """Return the MAC of its network card."""
        return derive_mac(self.name, "install", "wan", 0)

    @property
    def tag(self) -> Tag:
        """Return our mark: the machine is of no lab."""
        return Tag(self.name, WORKBENCH, owner="image", member=self.name, spec="", home=self.home)


def render_install(machine: InstallMachine, accelerator: str) -> str:
    """Return the domain XML of an installation. `accelerator` is "kvm" or "tcg"."""
    return environment().get_template("windows/install.xml.j2").render(
        machine=machine,
        virtualisation="kvm" if accelerator == "kvm" else "qemu",
        windows_zone=WINDOWS_ZONE,
        tag=Markup(render_tag(machine.tag)),  # noqa: S704  render_tag quotes every value
    )  # fmt: skip
