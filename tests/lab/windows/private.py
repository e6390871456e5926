"""labctl's door to the tests' own daemon, whose guests run as "nobody", and what a description must not ask it for."""

import os
import pwd
import re
from pathlib import Path

from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Hypervisor
from tests.hypervisor.daemon import PrivateDaemon


def without_what_a_session_lacks(xml: str) -> str:
    """Return a description that a session's daemon takes.

    It changes no owners, and refuses to be told that it must not; it makes no networks; and the agent's socket would
    have a longer path in its folder than Linux takes. The stand-ins need none of it.
    """
    text = re.sub("<seclabel[^>]*/>", "", xml)
    return re.sub("<(channel|interface) .*?</\\1>", "", text, flags=re.DOTALL)


class Door(Hypervisor):
    """The door to the tests' own daemon."""

    def qemu_owner(self) -> tuple[int, int]:
        if os.geteuid():
            return super().qemu_owner()
        user = pwd.getpwnam("nobody")
        return user.pw_uid, user.pw_gid


class LabDoor(Door):
    """The same for whole labs: machines as labctl describes them, and files where the daemon's user may make them."""

    def __init__(self, daemon: PrivateDaemon) -> None:
        super().__init__(daemon.uri, patience=30)
        self.folder = daemon.folder

    def tpm_storage(self) -> Path:
        return self.folder / "config" / "libvirt" / "qemu" / "swtpm"

    def define_domain(self, xml: str, *, validated: bool = False) -> None:
        super().define_domain(without_what_a_session_lacks(xml), validated=validated)

    def save_domain(self, name: str, lab: str, path: Path) -> None:
        os.chown(path.parent, *self.qemu_owner())
        super().save_domain(name, lab, path)

    def restore_domain(
        self, saved: Path, xml: str, name: str, *, running: bool, delivery: Delivery = Delivery.FIFO
    ) -> None:
        plain = without_what_a_session_lacks(xml)
        super().restore_domain(saved, plain, name, running=running, delivery=delivery)
