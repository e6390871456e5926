"""Faults that are rules of an OPNsense: put, found and removed through its API, each rule by a UUID of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from labctl.appliances.api import OPNsense
from labctl.checks.model import Result
from labctl.errors import LabctlError
from labctl.lab.appliance import firewall_api
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.render.firewall import name_ports
from labctl.render.opnsense_gateway import item_uuid
from labctl.topology.faults import Fault, Rule, RuleProtocol
from labctl.topology.model import Topology

PROTOCOLS = {RuleProtocol.TCP_UDP: "TCP/UDP", RuleProtocol.ANY: "any"}
# What a student who repairs a rule changes; its words and its place in the list do nothing.
EFFECTIVE = ("enabled", "action", "interface", "protocol", "source_net", "destination_net", "destination_port")


@dataclass(frozen=True)
class Firewall:
    """One OPNsense of a lab. `cards` maps a card's name in the topology to its key in config.xml."""

    lab: str
    api: OPNsense
    cards: Mapping[str, str]

    def require(self, fault: Fault) -> None:
        """Raise LabctlError where the firewall does not answer, or refuses labctl."""
        try:
            self.api.get("diagnostics/system/system_information")
        except LabctlError as exc:
            text = _('the fault "{fault}" could not be injected: {reason}; nothing was changed')
            raise LabctlError(
                text.format(fault=fault.id, reason=exc.message), hint=f"labctl status {self.lab}"
            ) from exc

    def inject(self, fault: Fault) -> None:
        """Put the rules of a fault and have them in force. Raises LabctlError."""
        self.api.change_rules({self.name(fault, place): self.fields(rule) for place, rule in enumerate(fault.rules)})

    def cure(self, fault: Fault) -> None:
        """Remove the rules of a fault; those that a student has removed already are none to it. Raises LabctlError."""
        self.api.change_rules({}, [self.name(fault, place) for place in range(len(fault.rules))])

    def cause(self, fault: Fault) -> Result:
        """Return whether one of the rules still does what it was put for; UNKNOWN where the firewall does not say."""
        try:
            there = any(self.works(self.name(fault, place), rule) for place, rule in enumerate(fault.rules))
        except LabctlError:
            return Result.UNKNOWN
        return Result.PASSED if there else Result.FAILED

    def works(self, name: str, rule: Rule) -> bool:
        """Return whether a rule is there, on, and about the same."""
        found, wanted = self.api.read_rule(name), self.fields(rule)
        return bool(found) and all(found.get(key, wanted[key]).lower() == wanted[key].lower() for key in EFFECTIVE)

    def name(self, fault: Fault, place: int) -> str:
        """Return the UUID of a rule: the same for the same lab, so that none is ever lost."""
        return item_uuid(self.lab, fault.id, str(place))

    def fields(self, rule: Rule) -> dict[str, str]:
        """Return a rule as the API takes it; Filter.xml of opnsense/core has the names."""
        return {
            "enabled": "1", "sequence": "1", "quick": "1", "direction": "in", "ipprotocol": "inet",
            "action": rule.action.value, "interface": self.cards[rule.interface],
            "protocol": PROTOCOLS.get(rule.protocol, rule.protocol.value.upper()),
            "source_net": str(rule.source or "any"), "destination_net": str(rule.destination or "any"),
            "destination_port": str(rule.port or ""), "description": rule.description,
        }  # fmt: skip


def find_firewalls(place: Workplace, lab: str, topology: Topology) -> dict[str, Firewall]:
    """Return the firewalls of a lab that faults of its topology are rules of, by node."""
    wanted = {fault.node for fault in topology.faults if fault.rules}
    if not wanted:
        return {}
    layout = place.layout(lab, topology)
    found = {}
    for name in wanted:
        node = layout.node(name)
        cards = {port.planned.name: port.key for port in name_ports(node)}
        found[name] = Firewall(lab, firewall_api(layout.folders, node), cards)
    return found
