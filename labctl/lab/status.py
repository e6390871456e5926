"""Tells how the labs of this installation are: libvirt's word, the guests' own, and the last checks."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabctlError
from labctl.lab.crash import find_cause
from labctl.lab.site import Site
from labctl.plan.observed import DomainState, Endpoint, SeenDomain, Tag

if TYPE_CHECKING:  # pydantic takes a fifth of the time that `labctl status` has
    from pydantic import JsonValue

NAME = re.compile(r"(?m)^name:\s*['\"]?([a-z][a-z0-9-]*)")  # of a topology, without reading all of it
ANSWER_TIMEOUT = 2.0  # seconds, for all machines together: a busy host with 72 emulated guests needed more than 0.4
REBOOT = "reboot"


class NodeState(StrEnum):
    """What one word says of a node; only `ready` and `running` mean that it can be used.

    `running` is said of a machine that cannot be asked: libvirt alone tells that it runs.
    """

    READY = "ready"
    RUNNING = "running"
    UNCONFIGURED = "not configured"
    SILENT = "silent"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"
    MISSING = "missing"


USABLE = frozenset({NodeState.READY, NodeState.RUNNING})


@dataclass(frozen=True)
class NodeStatus:
    """One node; `address` is its management address with its zone.

    `reason` is libvirt's word for its state, or "reboot"; `cause` what QEMU said before it crashed; `ssh` whether
    labctl's own SSH server is there, which appliances and imported images do not have.
    """

    name: str
    state: NodeState
    address: str
    reason: str = ""
    cause: str = ""
    ssh: bool = True


@dataclass(frozen=True)
class LabStatus:
    """One lab. `state` is ready, working (a run holds it), partly, stopped or failed.

    `made` is when it was made or last reset as a whole (UTC, ISO 8601), "" where that is not known.
    """

    name: str
    topology: str
    owner: str
    state: str
    nodes: tuple[NodeStatus, ...]
    checks: Mapping[str, int] = field(default_factory=dict)
    made: str = ""

    def to_dict(self) -> "dict[str, JsonValue]":
        """Return the lab as `status --json` shows it; keys are stable."""
        return {
            "name": self.name,
            "topology": self.topology,
            "owner": self.owner,
            "state": self.state,
            "made": self.made,
            "nodes": [
                {
                    "name": node.name, "state": str(node.state), "address": node.address, "reason": node.reason,
                    "cause": node.cause,
                }
                for node in self.nodes
            ],
            "checks": {key: self.checks.get(key, 0) for key in ("passed", "failed", "unknown")},
        }  # fmt: skip


def read_status(site: Site, busy: Callable[[str], bool], only: Collection[str] | None = None) -> tuple[LabStatus, ...]:
    """Return the status of all labs, or of those named, by name. `busy` tells whether a run holds a lab."""
    labs = find_domains(site)
    if only is not None:
        labs = {lab: domains for lab, domains in labs.items() if lab in only}
    running = {
        endpoint
        for domains in labs.values()
        for domain in domains
        if domain.tag and domain.state is DomainState.RUNNING and (endpoint := domain.tag.endpoint)
    }
    with ThreadPoolExecutor(max_workers=1) as beside:  # while guests make up their minds, the files are read
        asked = beside.submit(site.who_answers, running, ANSWER_TIMEOUT)
        layouts = find_layouts(site, labs)
        outcomes, known = site.store.outcomes(), site.store.labs()
        alive = asked.result()
    found = []
    for lab, domains in sorted(labs.items()):
        rebooted = lab in known and known[lab].boot not in {"", site.boot_id}
        layout = layouts.get(lab, ())
        nodes = node_statuses(layout, domains, alive, rebooted)
        counts = {"passed": 0, "failed": 0, "unknown": 0}
        for outcome in outcomes.get(lab, ()):
            counts[outcome.result] += 1
        made = known[lab].made if lab in known else ""
        found.append(LabStatus(lab, *lab_names(site, lab, domains), lab_state(nodes, busy(lab)), nodes, counts, made))
    return tuple(found)


def find_domains(site: Site) -> dict[str, list[SeenDomain]]:
    """Return the machines of each lab; a lab that has only its folder has none."""
    labs: dict[str, list[SeenDomain]] = {lab: [] for lab in site.known_labs()}
    seats = site.read_seats()
    for domain in site.see().domains:
        tag = domain.tag
        if tag and domain.name == f"{site.prefix}{tag.seat_name}.{tag.member}" and (lab := seats.lab_of(tag)):
            labs.setdefault(lab, []).append(domain)
    return labs


def lab_names(site: Site, lab: str, domains: Sequence[SeenDomain]) -> tuple[str, str]:
    """Return the topology and owner of a lab: from libvirt, from its folder where no machine is left, else guessed."""
    for domain in domains:
        if domain.tag:
            return domain.tag.topology, lab.removeprefix(f"{domain.tag.topology}-")
    with suppress(OSError, UnicodeDecodeError):
        text = (site.home / "labs" / lab / "topology.yml").read_text(encoding="utf-8")
        named = NAME.search(text)
        if named and lab.startswith(f"{named[1]}-"):
            return named[1], lab.removeprefix(f"{named[1]}-")
    topology, _dash, owner = lab.rpartition("-")
    return topology, owner


def find_layouts(site: Site, labs: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the machines of each lab's topology in its order, where its copy can be read.

    The labs of a class have copies of one file, and reading it takes longer than all else together: each
    content is read once in its life.
    """
    known = site.store.layouts()
    found = {}
    for lab in labs:
        path = site.home / "labs" / lab / "topology.yml"
        try:
            digest = sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue
        if digest not in known:
            known[digest] = read_machines(path)
            with suppress(LabctlError):  # looking works on a full disk too; it only takes longer
                site.store.save_layout(digest, known[digest])
        found[lab] = known[digest]
    return found


def read_machines(path: Path) -> tuple[str, ...]:
    """Return the machines of a topology file, none for a broken one: it must not hide the lab."""
    from labctl.topology.tree import read_tree

    try:
        data = read_tree(path).data
    except LabctlError:
        return ()
    nodes = data.get("nodes") if isinstance(data, dict) else None
    return tuple(map(str, nodes)) if isinstance(nodes, dict) else ()


def node_statuses(
    layout: Sequence[str], domains: Sequence[SeenDomain], alive: Collection[Endpoint], rebooted: bool
) -> tuple[NodeStatus, ...]:
    """Return the nodes of a lab in its topology's order, the missing ones too."""
    seen = {domain.tag.member: domain for domain in domains if domain.tag}
    members = [*layout, *(name for name in seen if name not in layout)]
    return tuple(
        node_status(member, seen[member], alive, rebooted)
        if member in seen
        else NodeStatus(member, NodeState.MISSING, "")
        for member in members
    )


def node_status(member: str, domain: SeenDomain, alive: Collection[Endpoint], rebooted: bool) -> NodeStatus:
    """Return one node that exists."""
    tag = domain.tag
    state = node_state(domain, tag is not None and tag.endpoint in alive)
    reason = REBOOT if domain.stopped_by_reboot(rebooted) else domain.reason
    cause = find_cause(domain.name) if state is NodeState.CRASHED else ""
    return NodeStatus(member, state, tag.address if tag else "", reason, cause, has_ssh(tag))


def has_ssh(tag: Tag | None) -> bool:
    """Return whether a node has labctl's own SSH server."""
    return tag is None or tag.answers == ""


def node_state(domain: SeenDomain, answers: bool) -> NodeState:
    """Return a node's state from libvirt's word and its own silence; one that cannot be asked is not silent."""
    match domain.state:
        case DomainState.PAUSED:
            return NodeState.PAUSED
        case DomainState.STOPPED:
            return NodeState.STOPPED
        case DomainState.CRASHED:
            return NodeState.CRASHED
        case DomainState.RUNNING:
            return running_state(domain.tag, answers)


def running_state(tag: Tag | None, answers: bool) -> NodeState:
    """Return the state of a node that runs."""
    asked = tag is None or tag.endpoint is not None
    if asked and not answers:
        return NodeState.SILENT
    if tag is None or not tag.configured:
        return NodeState.UNCONFIGURED
    return NodeState.READY if asked else NodeState.RUNNING


def lab_state(nodes: tuple[NodeStatus, ...], working: bool) -> str:
    """Return the state of a lab from those of its nodes."""
    states = {node.state for node in nodes}
    if working:
        return "working"
    if states and states <= USABLE:
        return "ready"
    if states & USABLE:
        return "partly"
    if states and states <= {NodeState.STOPPED, NodeState.MISSING}:
        return "stopped"
    return "failed"
