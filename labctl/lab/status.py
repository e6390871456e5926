"""Tells how the labs of this installation are: libvirt's word, the guests' own, and the last checks."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.lab.doors import Guests
from labctl.lab.workplace import Workplace
from labctl.plan.observed import DomainState, SeenDomain
from labctl.topology.model import Topology

ANSWER_TIMEOUT = 0.4  # seconds; the guest's kernel alone answers, even under emulation
PARALLEL = 64


class NodeState(StrEnum):
    """What one word says of a node; only `ready` means that it can be used."""

    READY = "ready"
    UNCONFIGURED = "not configured"
    SILENT = "silent"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"
    MISSING = "missing"


@dataclass(frozen=True)
class NodeStatus:
    """One node; `address` is its management address with its zone."""

    name: str
    state: NodeState
    address: str
    reason: str = ""


@dataclass(frozen=True)
class LabStatus:
    """One lab. `state` is ready, working (a run holds it), partly, stopped or failed."""

    name: str
    topology: str
    owner: str
    state: str
    nodes: tuple[NodeStatus, ...]
    checks: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the lab as `status --json` shows it; keys are stable."""
        return {
            "name": self.name,
            "topology": self.topology,
            "owner": self.owner,
            "state": self.state,
            "nodes": [
                {"name": node.name, "state": str(node.state), "address": node.address, "reason": node.reason}
                for node in self.nodes
            ],
            "checks": {key: self.checks.get(key, 0) for key in ("passed", "failed", "unknown")},
        }


def read_status(place: Workplace, busy: Callable[[str], bool], only: str = "") -> tuple[LabStatus, ...]:
    """Return the status of all labs, or of one. `busy` tells whether a run holds a lab."""
    observed = place.see()
    labs: dict[str, list[SeenDomain]] = {lab: [] for lab in place.known_labs()}
    for domain in observed.domains:
        if domain.tag and domain.name == f"{place.prefix}{domain.tag.lab}.{domain.tag.member}":
            labs.setdefault(domain.tag.lab, []).append(domain)
    if only:
        labs = {lab: domains for lab, domains in labs.items() if lab == only}
    addresses = {domain.name: domain.tag.address for found in labs.values() for domain in found if domain.tag}
    alive = who_answers(place.guests, addresses)
    outcomes = place.store.outcomes()
    found = []
    for lab, domains in sorted(labs.items()):
        nodes = node_statuses(place, lab, domains, addresses, alive)
        counts = {"passed": 0, "failed": 0, "unknown": 0}
        for outcome in outcomes.get(lab, ()):
            counts[outcome.result] += 1
        found.append(LabStatus(lab, *lab_names(lab, domains), lab_state(nodes, busy(lab)), nodes, counts))
    return tuple(found)


def lab_names(lab: str, domains: list[SeenDomain]) -> tuple[str, str]:
    """Return the topology and owner of a lab, from libvirt; from the name where no machine is left."""
    for domain in domains:
        if domain.tag:
            return domain.tag.topology, domain.tag.owner
    topology, _dash, owner = lab.rpartition("-")
    return topology, owner


def who_answers(guests: Guests, addresses: Mapping[str, str]) -> frozenset[str]:
    """Return the machines whose kernel accepts a connection on the SSH port now."""
    if not addresses:
        return frozenset()
    with ThreadPoolExecutor(max_workers=PARALLEL) as workers:
        work = {name: workers.submit(guests.answers, address, ANSWER_TIMEOUT) for name, address in addresses.items()}
        return frozenset(name for name, done in work.items() if done.result())


def node_statuses(
    place: Workplace, lab: str, domains: list[SeenDomain], addresses: Mapping[str, str], alive: frozenset[str]
) -> tuple[NodeStatus, ...]:
    """Return the nodes of a lab in its topology's order, the missing ones too where its copy can be read."""
    topology = try_topology(place, lab)
    seen = {domain.tag.member: domain for domain in domains if domain.tag}
    members = [
        *(topology.nodes if topology else ()),
        *(name for name in seen if not topology or name not in topology.nodes),
    ]
    statuses = []
    for member in members:
        domain = seen.get(member)
        if domain is None:
            statuses.append(NodeStatus(member, NodeState.MISSING, ""))
        else:
            state = node_state(domain, domain.name in alive)
            statuses.append(NodeStatus(member, state, addresses[domain.name], domain.reason))
    return tuple(statuses)


def try_topology(place: Workplace, lab: str) -> Topology | None:
    """Return the lab's topology; a lost or broken copy must not hide the lab."""
    try:
        return place.load_lab(lab)
    except LabctlError:
        return None


def node_state(domain: SeenDomain, answers: bool) -> NodeState:
    """Return a node's state from libvirt's word and its own silence."""
    match domain.state:
        case DomainState.PAUSED:
            return NodeState.PAUSED
        case DomainState.STOPPED:
            return NodeState.STOPPED
        case DomainState.CRASHED:
            return NodeState.CRASHED
        case DomainState.RUNNING:
            if not answers:
                return NodeState.SILENT
            return NodeState.READY if domain.tag and domain.tag.configured else NodeState.UNCONFIGURED


def lab_state(nodes: tuple[NodeStatus, ...], working: bool) -> str:
    """Return the state of a lab from those of its nodes."""
    states = {node.state for node in nodes}
    if working:
        return "working"
    if states == {NodeState.READY}:
        return "ready"
    if NodeState.READY in states:
        return "partly"
    if states and states <= {NodeState.STOPPED, NodeState.MISSING}:
        return "stopped"
    return "failed"
