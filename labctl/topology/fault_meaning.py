"""What the keys of one fault mean together: scripts or rules, and rules that its firewall can be given."""

from collections.abc import Collection, Iterator

from labctl.language import _
from labctl.topology.faults import Fault, Rule, RuleProtocol
from labctl.topology.hardware import System
from labctl.topology.model import Node
from labctl.topology.probe_meaning import missing_key
from labctl.topology.problems import Finding, Steps, listing, nearest, quoted

SCRIPTED = ("inject", "detect", "cure")
WITH_PORTS = frozenset({RuleProtocol.TCP, RuleProtocol.UDP, RuleProtocol.TCP_UDP})


def way_findings(
    fault: Fault, keys: Collection[str], steps: Steps, node: Node | None, system: System
) -> Iterator[Finding]:
    """Yield what is missing of a fault's scripts, or is wrong with its rules.

    `keys` are those that its author wrote, the ill-formed ones too; `node` is None where it is unknown.
    """
    if "rules" not in keys:
        yield from (missing_key(steps, key) for key in SCRIPTED if key not in keys)
        return
    for key in (*SCRIPTED, "windows"):
        if key in keys:
            yield Finding((*steps, key), _("no such key beside rules"), quoted(key), at_key=True)
    if node is not None and system is not System.OPNSENSE:
        yield Finding((*steps, "rules"), _("a node that runs OPNsense"), quoted(fault.node), at_key=True)
    for position, rule in enumerate(fault.rules):
        yield from rule_findings(rule, (*steps, "rules", position), node)


def rule_findings(rule: Rule, steps: Steps, node: Node | None) -> Iterator[Finding]:
    """Yield a card that the firewall does not have, and a port of what has none."""
    if node is not None and rule.interface not in node.interfaces:
        text = _("a card of the node ({names})").format(names=listing(node.interfaces))
        found = quoted(rule.interface)
        yield Finding((*steps, "interface"), text, found, nearest(rule.interface, list(node.interfaces)))
    if rule.port is not None and rule.protocol not in WITH_PORTS:
        yield Finding((*steps, "port"), _("protocol: tcp, udp or tcp_udp beside it"), quoted(rule.protocol))
