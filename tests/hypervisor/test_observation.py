import libvirt

from labctl.hypervisor.door import Hypervisor
from labctl.plan.observed import DomainState
from tests.hypervisor.descriptions import domain_xml, make_tag

DISKS = (
    "<disk type='file' device='disk'><source file='/srv/a.qcow2'/><backingStore type='file'><format type='raw'/>"
    "<source file='/srv/base.raw'/><backingStore/></backingStore><target dev='vda'/></disk>"
    "<disk type='block' device='disk'><source dev='/dev/sdx'/><target dev='vdb'/></disk>"
)


def test_everything_is_seen_ours_and_foreign(hypervisor: Hypervisor) -> None:
    hypervisor.define_domain(domain_xml("dmz-ada-web", make_tag("web"), devices=DISKS))
    observed = hypervisor.observe()
    assert [domain.name for domain in observed.domains] == ["dmz-ada-web", "test"]
    ours, foreign = observed.domains
    assert (ours.tag, ours.state, ours.disks) == (make_tag("web"), DomainState.STOPPED, ("/srv/a.qcow2",))
    assert (foreign.tag, foreign.state) == (None, DomainState.RUNNING)
    assert [(network.name, network.active, network.tag) for network in observed.networks] == [("default", True, None)]
    assert "lo" in observed.links


def test_an_incomplete_mark_of_ours_counts_as_foreign(hypervisor: Hypervisor, virsh: libvirt.virConnect) -> None:
    virsh.defineXML(domain_xml("dmz-ada-web", make_tag("web")).replace('spec="s1"', ""))
    assert next(domain for domain in hypervisor.observe().domains if domain.name == "dmz-ada-web").tag is None
