from ipaddress import IPv4Network

import libvirt
import pytest

from labctl.errors import LabctlError, Refused
from labctl.hypervisor.door import Hypervisor
from labctl.plan.observed import SeenNetwork, Tag
from tests.hypervisor.descriptions import make_tag, network_xml

LAB = "dmz-ada"
LAN = network_xml("dmz-ada-lan", make_tag("lan"))


def find(hypervisor: Hypervisor, name: str) -> SeenNetwork | None:
    return next((network for network in hypervisor.observe().networks if network.name == name), None)


def test_a_network_comes_starts_with_the_host_and_leaves(hypervisor: Hypervisor, virsh: libvirt.virConnect) -> None:
    hypervisor.create_network(LAN)
    network = find(hypervisor, "dmz-ada-lan")
    assert network is not None
    assert (network.active, network.bridge, network.tag, network.subnet) == (True, "lctest0", make_tag("lan"), None)
    assert virsh.networkLookupByName("dmz-ada-lan").autostart()

    hypervisor.remove_network("dmz-ada-lan", LAB)
    hypervisor.remove_network("dmz-ada-lan", LAB)
    assert find(hypervisor, "dmz-ada-lan") is None


def test_the_subnet_is_read(hypervisor: Hypervisor) -> None:
    inside = "<ip family='ipv6' address='fe80::1' prefix='64'/><ip address='10.9.8.1' netmask='255.255.255.0'/>"
    hypervisor.create_network(network_xml("dmz-ada-out", make_tag("out"), inside=inside))
    network = find(hypervisor, "dmz-ada-out")
    assert network is not None
    assert network.subnet == IPv4Network("10.9.8.0/24")


def test_our_own_network_that_is_down_is_adopted(hypervisor: Hypervisor, virsh: libvirt.virConnect) -> None:
    hypervisor.create_network(LAN)
    virsh.networkLookupByName("dmz-ada-lan").destroy()
    hypervisor.create_network(LAN)
    network = find(hypervisor, "dmz-ada-lan")
    assert network is not None
    assert network.active


@pytest.mark.parametrize("tag", [make_tag("lan", spec="s2"), make_tag("lan", lab="dmz-bob")])
def test_a_network_made_from_something_else_is_refused(hypervisor: Hypervisor, tag: Tag) -> None:
    hypervisor.create_network(LAN)
    with pytest.raises(Refused):
        hypervisor.create_network(network_xml("dmz-ada-lan", tag))
    network = find(hypervisor, "dmz-ada-lan")
    assert network is not None
    assert network.tag == make_tag("lan")


def test_a_network_whose_like_was_checked_is_not_compared_with_the_schema(hypervisor: Hypervisor) -> None:
    strange = network_xml("dmz-ada-lan", make_tag("lan"), inside="<nonsense/>")
    with pytest.raises(LabctlError, match="schema"):
        hypervisor.create_network(strange)
    hypervisor.create_network(strange, validated=True)
    assert find(hypervisor, "dmz-ada-lan") is not None


def test_a_taken_identity_is_refused(hypervisor: Hypervisor) -> None:  # F-24
    hypervisor.create_network(LAN)
    with pytest.raises(Refused, match="dmz-ada-lan"):
        hypervisor.create_network(LAN.replace("<name>dmz-ada-lan", "<name>dmz-ada-other"))


def test_a_foreign_network_is_refused_and_untouched(hypervisor: Hypervisor, virsh: libvirt.virConnect) -> None:  # F-25
    before = virsh.networkLookupByName("default").XMLDesc()
    with pytest.raises(Refused):
        hypervisor.create_network(network_xml("default", make_tag("lan")))
    with pytest.raises(Refused):
        hypervisor.remove_network("default", LAB)
    assert virsh.networkLookupByName("default").XMLDesc() == before
    assert virsh.networkLookupByName("default").isActive()


def test_an_interface_of_the_host_is_never_taken_for_a_bridge(hypervisor: Hypervisor) -> None:
    with pytest.raises(Refused, match='"lo"'):
        hypervisor.create_network(network_xml("dmz-ada-lan", make_tag("lan"), bridge="lo"))
    assert find(hypervisor, "dmz-ada-lan") is None
