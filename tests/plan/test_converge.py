"""A plan is what differs between a topology and the observed host, each act with its reason."""

from dataclasses import replace

import pytest

from labctl.errors import Refused
from labctl.plan.model import Action, ActionKind, Reason
from labctl.plan.observed import DomainState, Observed, SeenDomain, SeenNetwork, Tag
from tests.worlds import converged, dmz, plan, with_domain


def test_an_empty_host_gets_everything() -> None:
    planned = plan()
    kinds = [action.kind for action in planned.actions]
    assert kinds.count(ActionKind.CREATE_NETWORK) == 4  # three of the topology and management
    assert kinds.count(ActionKind.CREATE_MACHINE) == kinds.count(ActionKind.START_MACHINE) == 3
    assert kinds.count(ActionKind.CONFIGURE) == 3
    assert kinds == sorted(kinds, key=list(ActionKind).index) or kinds[0] is ActionKind.BUILD_IMAGE


def test_a_converged_host_gets_nothing() -> None:
    planned = plan()
    assert plan(converged(planned)).actions == ()


def test_the_same_input_gives_the_same_bytes() -> None:
    assert plan().to_json() == plan().to_json()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (DomainState.STOPPED, Reason.STOPPED),  # F-22
        (DomainState.CRASHED, Reason.CRASHED),  # F-13
        (DomainState.PAUSED, Reason.PAUSED),  # F-16
    ],
)
def test_a_machine_that_does_not_run_is_started(state: DomainState, reason: Reason) -> None:
    planned = plan()
    observed = with_domain(converged(planned), "dmz-alice.web", state=state)
    assert plan(observed).actions == (Action(ActionKind.START_MACHINE, "web", reason),)


def test_a_machine_whose_disk_is_gone_is_made_anew() -> None:  # F-24
    planned = plan()
    observed = converged(planned)
    observed = replace(observed, files=observed.files - {str(planned.folders.disk("web"))})
    assert plan(observed).actions == (
        Action(ActionKind.CREATE_MACHINE, "web", Reason.DISK_MISSING),
        Action(ActionKind.START_MACHINE, "web", Reason.NEW),
        Action(ActionKind.CONFIGURE, "web", Reason.NEW),
    )


def test_a_run_that_was_interrupted_before_configuring_goes_on_there() -> None:  # F-01
    planned = plan()
    observed = with_domain(converged(planned), "dmz-alice.fw", tag=replace(planned.node("fw").tag, configured=""))
    assert plan(observed).actions == (Action(ActionKind.CONFIGURE, "fw", Reason.NOT_CONFIGURED),)


def test_changed_playbooks_configure_again_without_losing_disks() -> None:
    planned = plan()
    observed = with_domain(converged(planned), "dmz-alice.fw", tag=replace(planned.node("fw").tag, configured="older"))
    assert plan(observed).actions == (Action(ActionKind.CONFIGURE, "fw", Reason.SERVICES_CHANGED),)


def test_more_memory_makes_the_machine_anew_and_says_so() -> None:  # F-44
    observed = converged(plan())
    nodes = dict(dmz().nodes)
    nodes["web"] = nodes["web"].model_copy(update={"memory": nodes["web"].memory + 64})
    changed = dmz().model_copy(update={"nodes": nodes})
    acts = {(action.kind, action.reason) for action in plan(observed, topology=changed).actions}
    assert (ActionKind.CREATE_MACHINE, Reason.CHANGED) in acts


def test_a_node_that_left_the_topology_is_removed() -> None:  # F-44
    observed = converged(plan())
    nodes = {name: node for name, node in dmz().nodes.items() if name != "client"}
    changed = dmz().model_copy(update={"nodes": nodes})
    actions = plan(observed, topology=changed).actions
    assert actions == (Action(ActionKind.REMOVE_DOMAIN, "dmz-alice.client", Reason.NOT_IN_TOPOLOGY),)


def test_a_stopped_network_is_started() -> None:
    observed = converged(plan())
    networks = (replace(observed.networks[0], active=False), *observed.networks[1:])
    actions = plan(replace(observed, networks=networks)).actions
    assert actions == (Action(ActionKind.CREATE_NETWORK, "internet", Reason.INACTIVE),)


FOREIGN_TAG = Tag(lab="other-lab", topology="other", owner="lab", member="web", spec="x")


@pytest.mark.parametrize("tag", [None, FOREIGN_TAG])
def test_a_foreign_machine_with_our_name_is_refused(tag: Tag | None) -> None:  # F-25
    observed = Observed(domains=(SeenDomain("dmz-alice.web", "u", DomainState.RUNNING, tag=tag),))
    with pytest.raises(Refused, match=r"dmz-alice\.web"):
        plan(observed)


@pytest.mark.parametrize("tag", [None, FOREIGN_TAG])
def test_a_foreign_network_with_our_name_is_refused(tag: Tag | None) -> None:  # F-25
    observed = Observed(networks=(SeenNetwork("dmz-alice.lan", "u", "virbr0", active=True, tag=tag),))
    with pytest.raises(Refused, match=r"dmz-alice\.lan"):
        plan(observed)


def test_a_foreign_bridge_with_our_name_is_refused() -> None:  # F-08
    bridge = plan().networks[0].bridge
    with pytest.raises(Refused, match=bridge):
        plan(Observed(links=frozenset({bridge, "eth0"})))


def test_other_labs_are_none_of_its_business() -> None:
    others = converged(plan(owner="bob"))
    planned = plan(others)
    assert not any("bob" in action.target for action in planned.actions)
    assert len(planned.actions_of(ActionKind.CREATE_MACHINE)) == 3
