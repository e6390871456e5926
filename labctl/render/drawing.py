"""Draws a topology: as Graphviz DOT for a picture, and as text for a terminal."""

from collections.abc import Iterator, Mapping

from labctl.language import _
from labctl.topology.model import Interface, Internet, Network, Node, Topology

# Colours pass WCAG AA on their background and differ in lightness, for prints in black and white.
COLOURS = {"internet": "#d9ecff", "segment": "#fff3d6", "node": "#e7f6e7"}


def draw_dot(topology: Topology, language: str) -> str:
    """Return a DOT graph: nodes as boxes, networks as rounded bars, addresses on the lines between them."""
    lines = [
        "graph lab {",
        f"  label={quote(topology.title.pick(language))}; labelloc=t; fontname=sans; fontsize=18;",
        '  rankdir=TB; nodesep=0.6; ranksep=0.8; bgcolor="white";',
        "  node [fontname=sans, fontsize=12, style=filled]; edge [fontname=sans, fontsize=10];",
    ]
    for name, network in topology.networks.items():
        colour = COLOURS[network.kind]
        label = f"{name}\\n{network_detail(network)}"
        lines.append(f'  {quote("net " + name)} [shape=box, style="filled,rounded", fillcolor="{colour}", '
                     f"label={quote(label)}, width=2.5];")  # fmt: skip
    for name, node in topology.nodes.items():
        label = "\\n".join([name, node.image, *node.services])
        lines.append(f"  {quote(name)} [id={quote('node-' + name)}, shape=box3d, "
                     f"fillcolor={quote(COLOURS['node'])}, label={quote(label)}];")  # fmt: skip
        for key, interface in node.interfaces.items():
            label = f"{key}  {interface.address}"
            lines.append(f"  {quote('net ' + interface.network)} -- {quote(name)} [label={quote(label)}];")
    return "\n".join([*lines, "}"]) + "\n"


def quote(text: str) -> str:
    """Return a DOT string; only the double quote needs escaping, a backslash starts our own line breaks."""
    return '"' + text.replace('"', '\\"') + '"'


def network_detail(network: Network) -> str:
    """Return what a network is in a few words."""
    return _("way out by NAT") if isinstance(network, Internet) else str(network.cidr)


def draw_text(topology: Topology, language: str, states: Mapping[str, str] | None = None) -> str:
    """Return the topology as text: each network with the machines plugged into it, then what each machine does."""
    lines = [topology.title.pick(language), ""]
    for name, network in topology.networks.items():
        plugged = [
            (member, key, interface)
            for member, node in topology.nodes.items()
            for key, interface in node.interfaces.items()
            if interface.network == name
        ]
        lines += draw_network(name, network, plugged)
    width = max(len(name) for name in topology.nodes)
    lines += [
        f"{name:{width}}  {describe(node, (states or {}).get(name, ''))}" for name, node in topology.nodes.items()
    ]
    return "\n".join(lines) + "\n"


def draw_network(name: str, network: Network, plugged: list[tuple[str, str, Interface]]) -> Iterator[str]:
    """Yield the lines of one network."""
    yield f"═══ {name} ═══ {network_detail(network)}"
    width = max((len(member) for member, _key, _interface in plugged), default=0)
    for number, (member, key, interface) in enumerate(plugged, start=1):
        corner = "└──" if number == len(plugged) else "├──"
        gateway = f"  → {interface.gateway}" if interface.gateway else ""
        yield f"  {corner} {member:{width}}  {key}: {interface.address}{gateway}"
    yield ""


def describe(node: Node, state: str) -> str:
    """Return what a machine is in one line."""
    size = _("{memory} MiB, {cpus} CPU").format(memory=node.memory, cpus=node.cpus)
    services = ", ".join(node.services) or _("no service")
    return " · ".join(part for part in (state, node.image, size, services) if part)
