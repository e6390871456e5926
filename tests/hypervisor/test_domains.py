import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import libvirt
import pytest

from labctl.errors import LabctlError, Refused
from labctl.hypervisor.door import Hypervisor
from labctl.plan.observed import DomainState, SeenDomain
from tests.hypervisor.descriptions import domain_xml, make_tag

LAB = "dmz-ada"
WEB = domain_xml("dmz-ada-web", make_tag("web"))


def find(hypervisor: Hypervisor, name: str) -> SeenDomain | None:
    return next((domain for domain in hypervisor.observe().domains if domain.name == name), None)


def seen(hypervisor: Hypervisor, name: str) -> SeenDomain:
    domain = find(hypervisor, name)
    assert domain is not None
    return domain


def test_a_domain_lives_and_leaves(hypervisor: Hypervisor) -> None:
    hypervisor.define_domain(WEB)
    assert seen(hypervisor, "dmz-ada-web").state is DomainState.STOPPED
    assert seen(hypervisor, "dmz-ada-web").tag == make_tag("web")

    hypervisor.start_domain("dmz-ada-web", LAB)
    hypervisor.start_domain("dmz-ada-web", LAB)
    assert seen(hypervisor, "dmz-ada-web").state is DomainState.RUNNING

    hypervisor.destroy_domain("dmz-ada-web", LAB)
    hypervisor.destroy_domain("dmz-ada-web", LAB)
    assert (seen(hypervisor, "dmz-ada-web").state, seen(hypervisor, "dmz-ada-web").reason) == ("stopped", "destroyed")

    hypervisor.remove_domain("dmz-ada-web", LAB)
    hypervisor.remove_domain("dmz-ada-web", LAB)
    assert find(hypervisor, "dmz-ada-web") is None


def test_removing_a_running_domain_takes_its_snapshots_and_saved_state_with_it(
    hypervisor: Hypervisor, virsh: libvirt.virConnect
) -> None:
    hypervisor.define_domain(WEB)
    hypervisor.start_domain("dmz-ada-web", LAB)
    domain = virsh.lookupByName("dmz-ada-web")
    domain.snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>")
    domain.managedSave()
    hypervisor.start_domain("dmz-ada-web", LAB)
    hypervisor.remove_domain("dmz-ada-web", LAB)
    assert find(hypervisor, "dmz-ada-web") is None


def test_redefining_our_own_domain_takes_the_new_description(hypervisor: Hypervisor) -> None:
    hypervisor.define_domain(WEB)
    hypervisor.define_domain(domain_xml("dmz-ada-web", make_tag("web", spec="s2"), memory=64))
    tag = seen(hypervisor, "dmz-ada-web").tag
    assert tag is not None
    assert tag.spec == "s2"


@pytest.mark.parametrize(
    "act",
    [
        lambda door: door.define_domain(domain_xml("test", make_tag("web"))),
        lambda door: door.start_domain("test", LAB),
        lambda door: door.destroy_domain("test", LAB),
        lambda door: door.remove_domain("test", LAB),
        lambda door: door.mark_configured("test", LAB, "c1"),
        lambda door: door.hand_domain("test", LAB, "dmz-bob", "bob"),
        lambda door: door.open_console("test", LAB),
    ],
)
def test_a_foreign_domain_is_refused_and_untouched(
    hypervisor: Hypervisor, virsh: libvirt.virConnect, act: Callable[[Hypervisor], object]
) -> None:  # F-25
    before = virsh.lookupByName("test").XMLDesc()
    with pytest.raises(Refused, match='"test"'):
        act(hypervisor)
    assert virsh.lookupByName("test").isActive()
    assert virsh.lookupByName("test").XMLDesc() == before


def test_a_domain_whose_mark_is_not_whole_is_refused(hypervisor: Hypervisor, virsh: libvirt.virConnect) -> None:
    virsh.defineXML(WEB.replace(' spec="s1"', ""))
    for act in (hypervisor.start_domain, hypervisor.destroy_domain, hypervisor.remove_domain):
        with pytest.raises(Refused, match="dmz-ada-web"):
            act("dmz-ada-web", LAB)
    assert not virsh.lookupByName("dmz-ada-web").isActive()


def test_a_domain_of_another_lab_is_refused(hypervisor: Hypervisor) -> None:  # SEC-01
    hypervisor.define_domain(WEB)
    hypervisor.start_domain("dmz-ada-web", LAB)
    for act in (hypervisor.destroy_domain, hypervisor.remove_domain, hypervisor.start_domain):
        with pytest.raises(Refused, match=r"dmz-ada.*dmz-bob"):
            act("dmz-ada-web", "dmz-bob")
    with pytest.raises(Refused):
        hypervisor.define_domain(domain_xml("dmz-ada-web", make_tag("web", lab="dmz-bob")))
    assert seen(hypervisor, "dmz-ada-web").state is DomainState.RUNNING


def test_a_description_without_our_mark_is_never_given_to_libvirt(hypervisor: Hypervisor) -> None:
    with pytest.raises(Refused):
        hypervisor.define_domain(domain_xml("lctest-bare"))
    assert find(hypervisor, "lctest-bare") is None


def test_a_description_against_the_schema_is_refused_in_libvirts_words(hypervisor: Hypervisor) -> None:
    broken = domain_xml("lctest-broken", make_tag("web"), devices="<nonsense/>")
    with pytest.raises(LabctlError, match=r"lctest-broken.*schema") as caught:
        hypervisor.define_domain(broken)
    assert isinstance(caught.value.__cause__, libvirt.libvirtError)


def test_starting_what_does_not_exist_says_so(hypervisor: Hypervisor) -> None:
    with pytest.raises(LabctlError, match="dmz-ada-nobody"):
        hypervisor.start_domain("dmz-ada-nobody", LAB)


def test_many_starts_at_once_all_succeed(hypervisor: Hypervisor) -> None:  # T14
    hypervisor.define_domain(WEB)
    gate = threading.Barrier(8)

    def start(_number: int) -> None:
        gate.wait()
        hypervisor.start_domain("dmz-ada-web", LAB)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(start, range(8))) == [None] * 8
    assert seen(hypervisor, "dmz-ada-web").state is DomainState.RUNNING


def test_marking_keeps_the_rest_of_the_tag(hypervisor: Hypervisor) -> None:
    hypervisor.define_domain(WEB)
    hypervisor.mark_configured("dmz-ada-web", LAB, 'a"<b')
    tag = seen(hypervisor, "dmz-ada-web").tag
    assert tag is not None
    assert (tag.configured, tag.spec, tag.member) == ('a"<b', "s1", "web")


def test_a_machine_given_to_another_lab_keeps_its_seat(hypervisor: Hypervisor) -> None:
    hypervisor.define_domain(WEB)
    hypervisor.start_domain("dmz-ada-web", LAB)
    hypervisor.hand_domain("dmz-ada-web", LAB, "dmz-bob", "bob")
    tag = seen(hypervisor, "dmz-ada-web").tag
    assert tag is not None
    assert (tag.lab, tag.owner, tag.seat_name, tag.spec, tag.member) == ("dmz-bob", "bob", LAB, "s1", "web")
    with pytest.raises(Refused):
        hypervisor.destroy_domain("dmz-ada-web", "dmz-bob")  # what may be changed is told by the seat
    hypervisor.remove_domain("dmz-ada-web", LAB)


def test_a_paused_domain_is_seen_and_resumed(hypervisor: Hypervisor, virsh: libvirt.virConnect) -> None:
    hypervisor.define_domain(WEB)
    hypervisor.start_domain("dmz-ada-web", LAB)
    virsh.lookupByName("dmz-ada-web").suspend()
    assert (seen(hypervisor, "dmz-ada-web").state, seen(hypervisor, "dmz-ada-web").reason) == ("paused", "user")
    hypervisor.start_domain("dmz-ada-web", LAB)
    hypervisor.start_domain("dmz-ada-web", LAB)
    assert seen(hypervisor, "dmz-ada-web").state is DomainState.RUNNING


def test_a_domain_is_described_to_its_own_lab_alone(hypervisor: Hypervisor) -> None:
    hypervisor.define_domain(WEB)
    assert "<name>dmz-ada-web</name>" in hypervisor.describe_domain("dmz-ada-web", LAB)
    with pytest.raises(Refused):
        hypervisor.describe_domain("dmz-ada-web", "dmz-bob")
    with pytest.raises(LabctlError):
        hypervisor.describe_domain("dmz-ada-nothing", LAB)
    hypervisor.remove_domain("dmz-ada-web", LAB)
