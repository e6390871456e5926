"""What the parts of a topology mean together: every name that is unknown, given twice or needs itself."""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import JsonValue

from labctl.language import _
from labctl.topology.addresses import address_findings
from labctl.topology.catalogue import Catalogue, ImageFacts, competency_list_findings, unlisted_competency
from labctl.topology.fault_meaning import way_findings
from labctl.topology.gateway_meaning import gateway_findings
from labctl.topology.hardware import MOST_DISKS
from labctl.topology.model import Node
from labctl.topology.parameters import service_findings
from labctl.topology.parts import Parts, listed, mapping
from labctl.topology.probe_meaning import host_findings, probe_findings
from labctl.topology.probes import HOST
from labctl.topology.problems import Finding, Steps, listing, nearest, plain_key, quoted
from labctl.topology.system_meaning import system_findings, system_of

MANAGEMENT = "mgmt"  # the network and card that labctl adds to every node
MOST_CIRCLES = 32  # 64 nodes cannot form more that have no node in common
RESERVED_INTERFACES = frozenset({MANAGEMENT, "lo"})


def semantic_findings(parts: Parts, data: JsonValue, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield every problem of meaning. `data` is the plain topology, read where a part is not well formed."""
    yield from reserved_findings(parts)
    yield from address_findings(parts)
    yield from gateway_findings(parts)
    for name, node in parts.nodes.items():
        yield from node_findings(name, node, parts, catalogue)
    yield from need_findings(parts)
    yield from competency_findings(data, catalogue)
    yield from check_findings(parts, catalogue)
    yield from fault_findings(parts, data, catalogue)
    yield from system_findings(parts, catalogue)
    for name, plain in mapping(data, "nodes").items():
        yield from services_findings(mapping(plain, "services"), ("nodes", name, "services"), catalogue)


def unknown(steps: Steps, expected: str, name: str, known: Iterable[str], *, at_key: bool = False) -> Finding:
    """Return the finding about a name that nothing has; `expected` has {names} for what there is."""
    names = list(known)
    text = expected.format(names=listing(names) or _("none"))
    return Finding(steps, text, quoted(name), nearest(name, names), at_key)


def reserved_findings(parts: Parts) -> Iterator[Finding]:
    """Yield networks, nodes and interfaces with a name that labctl or Linux uses."""
    if MANAGEMENT in parts.network_names:
        yield reserved(("networks", MANAGEMENT), MANAGEMENT)
    if HOST in parts.node_names:
        yield reserved(("nodes", HOST), HOST)
    for name, node in parts.nodes.items():
        for card in node.interfaces:
            if card in RESERVED_INTERFACES:
                yield reserved(("nodes", name, "interfaces", card), card)


def reserved(steps: Steps, name: str) -> Finding:
    """Return the finding about a reserved name."""
    return Finding(steps, _("another name"), _("{name}, which is reserved").format(name=quoted(name)), at_key=True)


def node_findings(name: str, node: Node, parts: Parts, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield what one node names that does not exist, and memory that its image cannot run in."""
    steps: Steps = ("nodes", name)
    image = catalogue.images.get(node.image)
    if image is None:
        text = _("a known image ({names})")
        yield unknown((*steps, "image"), text, node.image, catalogue.images)
    elif node.memory < image.minimum_memory:
        text = _('at least {least} MiB, the minimum of the image "{image}"')
        expected = text.format(least=image.minimum_memory, image=node.image)
        yield Finding((*steps, "memory"), expected, _("{memory} MiB").format(memory=node.memory))
    if image is not None and len(names := {*image.hardware.disks, *node.disks}) > MOST_DISKS:
        text = _('at most {most} disks, with those of the image "{image}" ({names})')
        known = listing(image.hardware.disks) or _("none")
        yield Finding(
            (*steps, "disks"), text.format(most=MOST_DISKS, image=node.image, names=known), str(len(names))
        )  # fmt: skip
    if image is not None and image.services is not None:
        for service in node.services.keys() - image.services:
            yield unconfigurable((*steps, "services", service), image)
    for card, interface in node.interfaces.items():
        if interface.network not in parts.network_names:
            way = (*steps, "interfaces", card, "network")
            yield unknown(way, _("a network of this file ({names})"), interface.network, parts.network_names)


def unconfigurable(steps: Steps, image: ImageFacts) -> Finding:
    """Return the finding about a service that labctl cannot configure on an image."""
    text = _('a service that labctl configures on the image "{image}" ({names})')
    expected = text.format(image=image.name, names=listing(sorted(image.services or ())) or _("none"))
    return Finding(steps, expected, quoted(str(steps[-1])), at_key=True)


def services_findings(services: Mapping[str, JsonValue], steps: Steps, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield unknown services of a node and wrong parameters of the known ones."""
    for name, given in services.items():
        service = catalogue.services.get(name)
        if service is None:
            yield unknown((*steps, name), _("a known service ({names})"), name, catalogue.services, at_key=True)
        elif isinstance(given, dict):
            yield from service_findings(given, service, (*steps, name))


def need_findings(parts: Parts) -> Iterator[Finding]:
    """Yield nodes that come after an unknown node, after themselves, or after each other in a circle."""
    needs: dict[str, list[str]] = {}
    for name, node in parts.nodes.items():
        needs[name] = []
        for position, other in enumerate(node.after):
            steps: Steps = ("nodes", name, "after", position)
            if other == name:
                yield Finding(steps, _("another node"), _("the node itself"))
            elif other not in parts.node_names:
                yield unknown(steps, _("a node of this file ({names})"), other, parts.node_names)
            else:
                needs[name].append(other)
    for _round in range(MOST_CIRCLES):
        cycle = find_cycle(needs)
        if not cycle:
            break
        first, needed = cycle[0], cycle[1]
        position = parts.nodes[first].after.index(needed)
        found = _("a circle: {names}").format(names=" → ".join(map(plain_key, cycle)))
        yield Finding(("nodes", first, "after", position), _("an order in which nodes can be configured"), found)
        needs = {name: [one for one in some if one not in cycle] for name, some in needs.items() if name not in cycle}


def find_cycle(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of one circle, each needing the next and the last being the first again; empty if none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as exc:
        circle = list(reversed(exc.args[1]))[:-1]  # graphlib goes from what is needed to what needs it
        start = circle.index(min(circle))
        return [*circle[start:], *circle[: start + 1]]
    return []


def competency_findings(data: JsonValue, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield competencies of the topology that the official list does not have, or that stand twice."""
    named = data.get("competencies") if isinstance(data, dict) else None
    yield from competency_list_findings(named, ("competencies",), catalogue.competencies)


def unknown_competency(steps: Steps, name: str, catalogue: Catalogue) -> Finding:
    """Return the finding about a competency that is not in the official list."""
    return unlisted_competency(steps, name, catalogue.competencies)


def check_findings(parts: Parts, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield checks with an id given twice, from an unknown node, or for an unknown competency."""
    first: dict[str, int] = {}
    for position, check in parts.checks.items():
        steps: Steps = ("checks", position)
        if check.id in first:
            text = _("{name}, which checks[{position}] has").format(name=quoted(check.id), position=first[check.id])
            yield Finding((*steps, "id"), _("an id of its own"), text)
        first.setdefault(check.id, position)
        if check.origin == HOST:
            yield from host_findings(check.probe, (*steps, "probe"), parts)
        elif check.origin not in parts.node_names:
            text = _("a node of this file or the host ({names})")
            yield unknown((*steps, "from"), text, check.origin, [*parts.node_names, HOST])
        yield from probe_findings(check.probe, check.origin, (*steps, "probe"), parts)
        if check.windows is not None:
            yield from probe_findings(check.windows, check.origin, (*steps, "windows"), parts)
        if check.competency not in catalogue.competencies:
            yield unknown_competency((*steps, "competency"), check.competency, catalogue)


def fault_findings(parts: Parts, data: JsonValue, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield faults with an id given twice, on an unknown node, or naming an unknown check or competency."""
    first: dict[str, int] = {}
    # Checks that are not well formed have an id too: a fault that names one is not called wrong.
    written = [check.get("id") for check in listed(data, "checks").values() if isinstance(check, dict)]
    checks = [name for name in written if isinstance(name, str)]
    for position, fault in parts.faults.items():
        steps: Steps = ("faults", position)
        if fault.id in first:
            text = _("{name}, which faults[{position}] has").format(name=quoted(fault.id), position=first[fault.id])
            yield Finding((*steps, "id"), _("an id of its own"), text)
        first.setdefault(fault.id, position)
        if fault.node not in parts.node_names:
            text = _("a node of this file ({names})")
            yield unknown((*steps, "node"), text, fault.node, parts.node_names)
        plain, system = listed(data, "faults").get(position), system_of(fault.node, parts, catalogue)
        keys = plain if isinstance(plain, dict) else {}
        yield from way_findings(fault, keys, steps, parts.nodes.get(fault.node), system)
        if fault.detect is not None:
            yield from probe_findings(fault.detect, fault.node, (*steps, "detect"), parts)
        if fault.windows is not None:
            yield from probe_findings(fault.windows.detect, fault.node, (*steps, "windows", "detect"), parts)
        for place, name in enumerate(fault.fixed):
            if name not in checks:
                yield unknown((*steps, "fixed", place), _("a check of this file ({names})"), name, checks)
        for place, name in enumerate(fault.competencies):
            if name not in catalogue.competencies:
                yield unlisted_competency((*steps, "competencies", place), name, catalogue.competencies)
