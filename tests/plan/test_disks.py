"""Machines with several disks in a plan: what they are known by, and what is made of one that is gone."""

from dataclasses import replace

import pytest

from labctl.errors import Refused
from labctl.lab.up import refuse_losses
from labctl.plan.lab import plan_lab
from labctl.plan.model import Action, ActionKind, Plan, Reason
from labctl.plan.observed import Observed
from labctl.topology.hardware import Hardware
from labctl.topology.model import Topology
from tests.worlds import SETTING, catalogue, converged, dmz, plan

DISKS = {"data": 20, "spare": 5}


def with_disks(**disks: int) -> Topology:
    """Return the shipped lab whose `web` has these disks."""
    nodes = dict(dmz().nodes)
    nodes["web"] = nodes["web"].model_copy(update={"disks": disks})
    return dmz().model_copy(update={"nodes": nodes})


def cloned(observed: Observed, topology: Topology) -> Plan:
    return plan_lab(topology, "alice", catalogue(), observed, SETTING, golden="dmz-0123456789ab")


def without(observed: Observed, planned: Plan, *names: str) -> Observed:
    """Return the host on which these files of disks are gone."""
    top = planned.folders.disk("web").parent
    return replace(observed, files=observed.files - {str(top / name) for name in names})


def test_files_of_disks_are_told_from_those_of_nodes() -> None:
    node = plan(topology=with_disks(**DISKS)).node("web")
    assert node.disk_files == ("web.qcow2", "web+data.qcow2", "web+spare.qcow2")
    assert plan().node("web").disk_files == ("web.qcow2",)


def test_a_debian_with_disks_has_what_they_are_used_with() -> None:
    """Nobody can install it: labs work without a network."""
    with_tools = set(plan(topology=with_disks(**DISKS)).node("web").image.packages)
    assert with_tools - set(plan().node("web").image.packages) == {"lvm2", "mdadm", "parted"}


def test_a_node_without_disks_is_known_as_it_was_before_there_were_any() -> None:
    """These hashes are of the day before, `web` with its packages of now: machines of then stay what they are."""
    assert {node.member: node.tag.spec for node in plan().nodes} == {
        "fw": "19a95fc2bc960b2b", "web": "02ac58992542b064", "client": "8c3c13555539d67e",
    }  # fmt: skip
    assert '"disks"' not in dmz().model_dump_json()
    assert '"disks":{"data":20}' in with_disks(data=20).model_dump_json()


def test_other_disks_make_the_machine_anew_and_say_so() -> None:
    planned = plan(topology=with_disks(**DISKS))
    observed = converged(planned)
    assert plan(observed, topology=with_disks(**DISKS)).actions == ()
    for other in (with_disks(), with_disks(data=20), with_disks(data=21, spare=5), with_disks(spare=5, data=20)):
        changed = plan(observed, topology=other)
        action = Action(ActionKind.CREATE_MACHINE, "web", Reason.CHANGED)
        assert action in changed.actions
        assert action.loses
        with pytest.raises(Refused, match=r"the topology has changed.*: web"):
            refuse_losses(changed)


def test_a_machine_that_has_lost_one_of_its_disks_is_not_made_anew_without_a_word() -> None:  # F-24
    planned = plan(topology=with_disks(**DISKS))
    broken = plan(without(converged(planned), planned, "web+spare.qcow2"), topology=with_disks(**DISKS))
    assert broken.actions[0] == Action(ActionKind.CREATE_MACHINE, "web", Reason.DISK_LOST)
    with pytest.raises(Refused, match=r"some disks of these machines are gone.*: web") as told:
        refuse_losses(broken)
    assert "--replace" in told.value.hint
    refuse_losses(broken, reset=("web",))  # that it is made anew was asked for


def test_a_machine_without_any_disk_is_made_anew() -> None:  # F-24
    planned = plan(topology=with_disks(**DISKS))
    gone = without(converged(planned), planned, *planned.node("web").disk_files)
    empty = plan(gone, topology=with_disks(**DISKS))
    assert empty.actions[0] == Action(ActionKind.CREATE_MACHINE, "web", Reason.DISK_MISSING)
    refuse_losses(empty)


def test_a_machine_that_libvirt_forgot_is_defined_again_only_with_all_its_disks() -> None:  # F-24
    planned = cloned(Observed(), with_disks(**DISKS))
    whole = converged(planned)
    whole = replace(whole, domains=tuple(one for one in whole.domains if not one.name.endswith("web")))
    kinds = [(action.kind, action.reason) for action in cloned(whole, with_disks(**DISKS)).actions]
    assert kinds[0] == (ActionKind.DEFINE_MACHINE, Reason.UNDEFINED)
    for lost in ("web.qcow2", "web+data.qcow2"):
        left = without(whole, planned, lost)
        broken = cloned(left, with_disks(**DISKS))
        assert broken.actions[0] == Action(ActionKind.CLONE_MACHINE, "web", Reason.DISK_LOST)
        crashed = cloned(replace(left, unfinished=frozenset({"web"})), with_disks(**DISKS))
        assert crashed.actions[0] == Action(ActionKind.CLONE_MACHINE, "web", Reason.MISSING)


def test_disks_of_an_image_are_those_of_each_machine_which_may_add_and_resize() -> None:
    images = dict(catalogue().images)
    images["debian-13"] = replace(images["debian-13"], hardware=Hardware(disks={"data1": 20, "data2": 20}))
    known = replace(catalogue(), images=images)
    planned = plan_lab(with_disks(data2=40, log=5), "alice", known, Observed(), SETTING)
    assert list(planned.node("web").disks.items()) == [("data1", 20), ("data2", 40), ("log", 5)]
    assert planned.node("client").disks == {"data1": 20, "data2": 20}
