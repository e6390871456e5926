from collections.abc import Iterator

import libvirt
import pytest

from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.pool import start_event_loop


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences are compared in the language of their message ids."""
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.fixture
def virsh() -> Iterator[libvirt.virConnect]:
    """What somebody beside labctl sees and does, in the world that all connections to test:///default share.

    The world begins with a foreign domain "test" and network "default", and would live on with any handle that
    pytest keeps in a traceback: so it is emptied at the end.
    """
    start_event_loop()
    connection = libvirt.open("test:///default")
    yield connection
    for domain in connection.listAllDomains():
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    for network in connection.listAllNetworks():
        if network.name() != "default":
            if network.isActive():
                network.destroy()
            network.undefine()
    connection.close()


@pytest.fixture
def hypervisor(virsh: libvirt.virConnect) -> Iterator[Hypervisor]:
    """The door to that world."""
    assert virsh.isAlive()
    with Hypervisor("test:///default") as door:
        yield door
