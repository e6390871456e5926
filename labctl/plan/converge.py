"""Compares a planned lab with the observed host and gives the actions between them, each with its reason."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from labctl.errors import Refused
from labctl.language import _
from labctl.plan.model import Action, ActionKind, Plan, PlannedNetwork, PlannedNode, Reason
from labctl.plan.observed import DomainState, Observed, SeenDomain, SeenNetwork

STATE_REASONS = {
    DomainState.PAUSED: Reason.PAUSED,
    DomainState.STOPPED: Reason.STOPPED,
    DomainState.CRASHED: Reason.CRASHED,
}


def converge(plan: Plan, observed: Observed) -> tuple[Action, ...]:
    """Return the actions, in order, that make the host what the plan says; none if it already is.

    Raises Refused where a machine, a network or a bridge that is not the lab's has one of its names.
    """
    domains = {domain.name: domain for domain in observed.domains}
    networks = {network.name: network for network in observed.networks}
    refuse_foreign(plan, observed)
    return (
        *(() if plan.golden else missing_images(plan, domains, observed)),
        *removals(plan, observed),
        *(action for network in plan.networks for action in network_actions(network, networks.get(network.name))),
        *(action for node in plan.nodes for action in machine_actions(node, domains.get(node.name), plan, observed)),
        *(action for node in plan.nodes for action in service_actions(node, domains.get(node.name), plan, observed)),
    )


def refuse_foreign(plan: Plan, observed: Observed) -> None:
    """Raise Refused for the first object that has a name of ours without being ours."""
    ours = {node.name for node in plan.nodes}
    for domain in observed.domains:
        if domain.name in ours and (domain.tag is None or domain.tag.seat_name != plan.seat):
            raise foreign(_("machine"), domain.name, f"virsh dominfo {domain.name}")
    by_name = {network.name: network for network in plan.networks}
    bridges = {network.bridge: network.name for network in plan.networks}
    for seen in observed.networks:
        if seen.name in by_name and (seen.tag is None or seen.tag.seat_name != plan.seat):
            raise foreign(_("network"), seen.name, f"virsh net-info {seen.name}")
    known = {seen.bridge for seen in observed.networks if seen.tag is not None and seen.tag.seat_name == plan.seat}
    for link in sorted(observed.links & bridges.keys()):
        if link not in known:
            raise foreign(_("bridge"), link, f"ip -details link show {link}")


def foreign(kind: str, name: str, hint: str) -> Refused:
    """Return the refusal to touch an object of somebody else."""
    text = _('the {kind} "{name}" exists and was not made by labctl for this lab; it is left untouched')
    return Refused(text.format(kind=kind, name=name), hint=hint)


def missing_images(plan: Plan, domains: dict[str, SeenDomain], observed: Observed) -> Iterator[Action]:
    """Yield one action for each image that a machine to create needs and that is not built."""
    asked: set[tuple[str, tuple[str, ...]]] = set()
    for node in plan.nodes:
        kept = domains.get(node.name)
        if node.image.key in observed.images | asked or (kept and not must_create(node, kept, plan, observed)):
            continue
        asked.add(node.image.key)
        yield Action(ActionKind.BUILD_IMAGE, str(node.image), Reason.MISSING)


def removals(plan: Plan, observed: Observed) -> Iterator[Action]:
    """Yield what the lab has and the topology no longer names."""
    nodes = {node.name for node in plan.nodes}
    networks = {network.name for network in plan.networks}
    for domain in observed.domains:
        if domain.tag and domain.tag.seat_name == plan.seat and domain.name not in nodes:
            yield Action(ActionKind.REMOVE_DOMAIN, domain.name, Reason.NOT_IN_TOPOLOGY)
    for network in observed.networks:
        if network.tag and network.tag.seat_name == plan.seat and network.name not in networks:
            yield Action(ActionKind.REMOVE_NETWORK, network.name, Reason.NOT_IN_TOPOLOGY)


def network_actions(network: PlannedNetwork, seen: SeenNetwork | None) -> Iterator[Action]:
    """Yield what one network needs."""
    if seen is None:
        yield Action(ActionKind.CREATE_NETWORK, network.member, Reason.MISSING)
    elif seen.tag and seen.tag.spec != network.tag.spec:
        yield Action(ActionKind.REMOVE_NETWORK, network.name, Reason.CHANGED)
        yield Action(ActionKind.CREATE_NETWORK, network.member, Reason.CHANGED)
    elif not seen.active:
        yield Action(ActionKind.CREATE_NETWORK, network.member, Reason.INACTIVE)


def must_create(node: PlannedNode, seen: SeenDomain | None, plan: Plan, observed: Observed) -> Reason | None:
    """Return why the machine must be made (again), None if what exists can be kept."""
    if seen is None:
        return missing_disk(node, plan, observed) if is_undefined(node, plan, observed) else Reason.MISSING
    if seen.tag is not None and seen.tag.spec != node.tag.spec:
        return Reason.CHANGED
    if plan.golden and seen.tag is not None and not seen.tag.configured:
        return Reason.NOT_CONFIGURED  # a clone that a crash left without its own keys: nobody has worked on it
    return missing_disk(node, plan, observed)


def missing_disk(node: PlannedNode, plan: Plan, observed: Observed) -> Reason | None:
    """Return why a machine cannot be kept for its disks, None where all are there."""
    there = [str(disk) in observed.files for disk in plan.folders.disks(node)]
    if all(there):
        return None
    return Reason.DISK_LOST if any(there) else Reason.DISK_MISSING


def is_undefined(node: PlannedNode, plan: Plan, observed: Observed) -> bool:
    """Return whether somebody removed a machine from libvirt and left its disks, with a student's work on them (F-24).

    A disk without a machine is also what a crash leaves of a clone: then its making is noted as unfinished.
    """
    left = any(str(disk) in observed.files for disk in plan.folders.disks(node))
    return bool(plan.golden) and left and node.member not in observed.unfinished


def machine_actions(node: PlannedNode, seen: SeenDomain | None, plan: Plan, observed: Observed) -> Iterator[Action]:
    """Yield what one machine needs before it can be configured; a clone is born running and configured."""
    reason = must_create(node, seen, plan, observed)
    if reason is not None and plan.golden:
        yield Action(ActionKind.CLONE_MACHINE, node.member, reason)
    elif reason is not None:
        yield Action(ActionKind.CREATE_MACHINE, node.member, reason)
        yield Action(ActionKind.START_MACHINE, node.member, Reason.NEW)
    elif seen is None:
        yield Action(ActionKind.DEFINE_MACHINE, node.member, Reason.UNDEFINED)
        yield Action(ActionKind.START_MACHINE, node.member, Reason.UNDEFINED)
    elif seen.state is not DomainState.RUNNING:
        why = Reason.REBOOTED if seen.stopped_by_reboot(observed.rebooted) else STATE_REASONS[seen.state]
        yield Action(ActionKind.START_MACHINE, node.member, why)


def service_actions(node: PlannedNode, seen: SeenDomain | None, plan: Plan, observed: Observed) -> Iterator[Action]:
    """Yield the configuration of one node where it is new, was never finished, or where its services changed."""
    if must_create(node, seen, plan, observed) is not None:
        if not plan.golden:
            yield Action(ActionKind.CONFIGURE, node.member, Reason.NEW)
        elif node.varied:
            yield Action(ActionKind.CONFIGURE, node.member, Reason.OWN_VALUES)
    elif seen is not None and seen.tag is not None and not seen.tag.configured:
        yield Action(ActionKind.CONFIGURE, node.member, Reason.NOT_CONFIGURED)
    elif seen is not None and seen.tag is not None and seen.tag.configured != node.tag.configured:
        golden = node.varied and seen.tag.configured == node.unvaried  # it was a spare a moment ago
        yield Action(ActionKind.CONFIGURE, node.member, Reason.OWN_VALUES if golden else Reason.SERVICES_CHANGED)


def reset_nodes(plan: Plan, nodes: Collection[str]) -> Plan:
    """Return the plan of a lab in which these nodes are cloned anew, whatever they are now."""
    kept = [
        action
        for action in plan.actions
        if action.target not in nodes or action.kind in {ActionKind.CREATE_NETWORK, ActionKind.REMOVE_NETWORK}
    ]
    clones = [
        Action(ActionKind.CLONE_MACHINE, node.member, Reason.REQUESTED) for node in plan.nodes if node.member in nodes
    ]
    varied = [
        Action(ActionKind.CONFIGURE, node.member, Reason.OWN_VALUES)
        for node in plan.nodes
        if node.member in nodes and node.varied
    ]
    return replace(plan, actions=(*kept, *clones, *varied))
