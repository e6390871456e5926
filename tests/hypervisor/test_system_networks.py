"""Networks of the system's own libvirt, under names that no lab has; nothing else on it is touched."""

import subprocess
from collections.abc import Iterator

import libvirt
import pytest

from labctl.errors import Refused
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.host_network import read_links
from labctl.hypervisor.pool import start_event_loop
from tests.hypervisor.descriptions import make_tag, network_xml

pytestmark = [pytest.mark.vm, pytest.mark.timeout(120)]

LAB, NAME, BRIDGE = "lctest-lab", "lctest-management", "lctest-br0"
MANAGEMENT = (
    "<mtu size='1500'/><dns enable='no'/><port isolated='yes'/><ip family='ipv6' address='fe80::1' prefix='64'/>"
)


@pytest.fixture
def system() -> Iterator[Hypervisor]:
    with Hypervisor() as hypervisor:
        yield hypervisor
        hypervisor.remove_network(NAME, LAB)


def test_a_management_network_has_its_link_local_address_and_leaves_no_bridge(system: Hypervisor) -> None:
    document = network_xml(NAME, make_tag("management", lab=LAB), bridge=BRIDGE, inside=MANAGEMENT)
    system.create_network(document)
    system.create_network(document)
    addresses = subprocess.run(["ip", "-6", "addr", "show", BRIDGE], capture_output=True, text=True, check=True).stdout
    assert "inet6 fe80::1/64" in addresses
    assert BRIDGE in system.observe().links
    system.remove_network(NAME, LAB)
    assert BRIDGE not in read_links()


def test_a_foreign_network_and_its_bridge_stay(system: Hypervisor) -> None:  # F-25
    start_event_loop()
    virsh = libvirt.open("qemu:///system")
    foreign = virsh.networkCreateXML(network_xml("lctest-foreign", bridge="lctest-br1"))
    try:
        before = foreign.XMLDesc()
        with pytest.raises(Refused):
            system.create_network(network_xml("lctest-foreign", make_tag("lan", lab=LAB), bridge="lctest-br2"))
        with pytest.raises(Refused):
            system.remove_network("lctest-foreign", LAB)
        with pytest.raises(Refused, match="lctest-br1"):
            system.create_network(network_xml(NAME, make_tag("lan", lab=LAB), bridge="lctest-br1"))
        assert foreign.XMLDesc() == before
        assert foreign.isActive()
        assert NAME not in {network.name for network in system.observe().networks}
    finally:
        foreign.destroy()
        virsh.close()
