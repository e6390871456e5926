"""What the systems of nodes make of checks, faults and services: what is tried on each, and what cannot be."""

from collections.abc import Iterator

from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.faults import Fault
from labctl.topology.hardware import System, runs_programs
from labctl.topology.message_probes import Log
from labctl.topology.model import Check, Topology
from labctl.topology.parts import Parts
from labctl.topology.probes import ON_WINDOWS, WINDOWS_ONLY, Probe, kind_name
from labctl.topology.problems import Finding, Steps, listing, quoted
from labctl.topology.system_probes import Backup, File


def system_of(node: str, parts: Parts, catalogue: Catalogue) -> System:
    """Return what runs on a node; Debian where its image is unknown, and for the host."""
    image = catalogue.images.get(parts.nodes[node].image) if node in parts.nodes else None
    return image.system if image else System.DEBIAN


def for_systems(topology: Topology, parts: Parts, catalogue: Catalogue) -> Topology:
    """Return a topology in which checks and faults of Windows nodes are those of Windows, where they have both."""

    def on_windows(node: str) -> bool:
        return system_of(node, parts, catalogue) is System.WINDOWS

    checks = tuple(settle_check(check) if on_windows(check.origin) else check for check in topology.checks)
    faults = tuple(settle_fault(fault) if on_windows(fault.node) else fault for fault in topology.faults)
    return topology.model_copy(update={"checks": checks, "faults": faults})


def settle_check(check: Check) -> Check:
    """Return a check with its probe for Windows, if it has one."""
    return check.model_copy(update={"probe": check.windows}) if check.windows else check


def settle_fault(fault: Fault) -> Fault:
    """Return a fault with its scripts and its probe for Windows, if it has them."""
    other = fault.windows
    if other is None:
        return fault
    return fault.model_copy(update={"inject": other.inject, "detect": other.detect, "cure": other.cure})


def system_findings(parts: Parts, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield services and probes that the system of their node does not know."""
    for name, node in parts.nodes.items():
        yield from unserved(("nodes", name, "services"), node.services, system_of(name, parts, catalogue), catalogue)
    for position, check in parts.checks.items():
        steps: Steps = ("checks", position)
        system = system_of(check.origin, parts, catalogue)
        if check.windows is not None:
            yield from kind_findings(check.windows, System.WINDOWS, (*steps, "windows"), parts, catalogue)
        if check.windows is None or system is not System.WINDOWS:
            yield from kind_findings(check.probe, system, (*steps, "probe"), parts, catalogue)
    for position, fault in parts.faults.items():
        steps = ("faults", position)
        system = system_of(fault.node, parts, catalogue)
        if fault.windows is not None:
            yield from kind_findings(
                fault.windows.detect, System.WINDOWS, (*steps, "windows", "detect"), parts, catalogue
            )
        if fault.detect is not None and (fault.windows is None or system is not System.WINDOWS):
            yield from kind_findings(fault.detect, system, (*steps, "detect"), parts, catalogue)


def unserved(steps: Steps, services: object, system: System, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield services that labctl cannot configure on a system that it configures."""
    if system not in {System.DEBIAN, System.WINDOWS}:
        return  # what can be done with appliances is told of each image
    known = sorted(name for name, service in catalogue.services.items() if system in service.systems)
    for name in services if isinstance(services, dict) else ():
        if name in catalogue.services and name not in known:
            text = _("a service that labctl configures on this system ({names})")
            yield Finding((*steps, name), text.format(names=listing(known) or _("none")), quoted(name), at_key=True)


def kind_findings(probe: Probe, system: System, steps: Steps, parts: Parts, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield a kind of probe, a key or a path that means nothing on the system that is asked."""
    if not runs_programs(system):
        text = _("a machine that labctl can run programs on: an appliance is asked from the others, or from `host`")
        yield Finding((*steps, "type"), text, quoted(system))
        return
    if isinstance(probe, Log | Backup) and probe.at and system_of(probe.at, parts, catalogue) is not System.DEBIAN:
        yield Finding((*steps, "at"), _("a node that runs Linux"), quoted(probe.at))
    if system is not System.WINDOWS:
        if isinstance(probe, WINDOWS_ONLY):
            yield Finding(
                (*steps, "type"), _("a probe of Linux machines: this node runs no Windows"), quoted(probe.type)
            )
        elif isinstance(probe, File) and not probe.path.startswith("/"):
            yield Finding((*steps, "path"), _("a path that starts with /"), quoted(probe.path))
        return
    if type(probe) not in ON_WINDOWS:
        kinds = listing(map(kind_name, ON_WINDOWS))
        text = _("a kind of probe that Windows machines are asked ({names})")
        yield Finding((*steps, "type"), text.format(names=kinds), quoted(probe.type))
        return
    for key in ON_WINDOWS[type(probe)]:
        if getattr(probe, key) is not None:
            yield Finding((*steps, key), _("no such key: it means nothing on Windows"), quoted(key), at_key=True)
    if isinstance(probe, File) and probe.path.startswith("/"):
        yield Finding((*steps, "path"), _("a path of Windows, such as C:\\Partages"), quoted(probe.path))
