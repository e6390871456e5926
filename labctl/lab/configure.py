"""Runs the playbooks of a lab again on running machines: repairs what drifted, and shows that the rest is right."""

from collections.abc import Sequence

from labctl.lab import keys
from labctl.lab.lock import hold_lab, who
from labctl.lab.workplace import Workplace
from labctl.monitor import Monitor
from labctl.playbook import Report
from labctl.render.inventory import render_inventory, render_plays
from labctl.topology.model import Topology


def configure_again(place: Workplace, lab: str, topology: Topology, nodes: Sequence[str], monitor: Monitor) -> Report:
    """Return what one run of all services did on the nodes given and mark those that ended well."""
    with hold_lab(place.home, lab, "configure"):
        place.store.add_event(lab, who(), "configure", ", ".join(nodes))
        layout = place.layout(lab, topology)
        inventory = render_inventory(layout, topology, keys.access(layout.folders))
        chosen = [node for node in layout.nodes if node.member in nodes]
        plays = render_plays(node.wave for node in chosen)
        roles = place.playbooks / "roles"
        report = place.configurator.configure(layout.folders.ansible, plays, inventory, roles, monitor, limit=nodes)
        for node in chosen:
            if report.nodes[node.member].succeeded:
                place.machines.mark_configured(node.name, layout.seat, node.tag.configured)
        return report
