"""Small worlds that tests share: a catalogue, topologies, and hosts as they were observed."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from labctl.images.recipe import recipe_facts
from labctl.plan.lab import Setting, plan_lab
from labctl.plan.model import Plan
from labctl.plan.observed import DomainState, Observed, SeenDomain, SeenNetwork
from labctl.shipped import shipped_folder
from labctl.topology.catalogue import Catalogue, load_catalogue
from labctl.topology.load import load_topology
from labctl.topology.model import Topology

SETTING = Setting(Path("/srv/labctl"))


@cache
def catalogue() -> Catalogue:
    """Return the shipped catalogue."""
    return load_catalogue(shipped_folder("playbooks"), recipe_facts())


@cache
def dmz() -> Topology:
    """Return the shipped lab."""
    return load_topology(shipped_folder("topologies") / "dmz.yml", catalogue())


def plan(observed: Observed | None = None, owner: str = "alice", topology: Topology | None = None) -> Plan:
    """Return a plan of the shipped lab on a host, an empty one by default."""
    return plan_lab(topology or dmz(), owner, catalogue(), observed or Observed(), SETTING)


def converged(planned: Plan) -> Observed:
    """Return the host on which a plan has been carried out to its end."""
    domains = tuple(SeenDomain(node.name, node.uuid, DomainState.RUNNING, tag=node.tag) for node in planned.nodes)
    networks = tuple(
        SeenNetwork(network.name, network.uuid, network.bridge, active=True, tag=network.tag)
        for network in planned.networks
    )
    return Observed(
        domains=domains,
        networks=networks,
        links=frozenset(network.bridge for network in planned.networks),
        files=frozenset(str(disk) for node in planned.nodes for disk in planned.folders.disks(node)),
        images=frozenset(node.image.key for node in planned.nodes),
    )


def with_domain(observed: Observed, name: str, **changes: object) -> Observed:
    """Return the host with one domain changed."""
    domains = tuple(
        replace(domain, **changes) if domain.name == name else domain  # type: ignore[arg-type]  # test data by name
        for domain in observed.domains
    )
    return replace(observed, domains=domains)
