import libvirt

from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.overview import Overview
from labctl.plan.observed import DomainState
from tests.hypervisor.descriptions import domain_xml, make_tag, network_xml

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


def test_a_look_at_one_lab_sees_its_own_and_the_networks_that_do_not_run(
    hypervisor: Hypervisor, virsh: libvirt.virConnect
) -> None:
    for lab in ("dmz-ada", "dmz-bob"):
        hypervisor.define_domain(domain_xml(f"{lab}.web", make_tag("web", lab=lab)))
        for member, bridge in (("lan", "lctest0"), ("out", "lctest1")):
            name, tag = f"{lab}.{member}", make_tag(member, lab=lab)
            hypervisor.create_network(network_xml(name, tag, bridge=f"{bridge}{lab[-1]}"))
        virsh.networkLookupByName(f"{lab}.out").destroy()
    hypervisor.start_domain("dmz-ada.web", "dmz-ada")
    seen = hypervisor.observe("dmz-ada.")
    assert [(domain.name, domain.state) for domain in seen.domains] == [("dmz-ada.web", DomainState.RUNNING)]
    listed = [(network.name, network.active) for network in seen.networks]
    assert listed == [("dmz-ada.lan", True), ("dmz-ada.out", False), ("dmz-bob.out", False)]
    assert hypervisor.observe("dmz-eve.").domains == ()
    with Overview("test:///default") as overview:  # of those who change nothing
        again = overview.observe("dmz-ada.")
    assert (again.domains, again.networks) == (seen.domains, seen.networks)
