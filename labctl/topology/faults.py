"""A fault as its author wrote it: how to bring it about, how it shows, what a user says of it, and its cure."""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import Field, StringConstraints

from labctl.language import N_, _
from labctl.topology.probes import Probe
from labctl.topology.values import CompetencyId, InterfaceName, Line, Model, Name, Port, Text

Script = Annotated[str, StringConstraints(min_length=1, max_length=8000)]


class FaultOnWindows(Model):
    """How the same trouble is brought about, found and repaired on Windows."""

    inject: Script = Field(description=N_("PowerShell script, run by an administrator on the node"))
    detect: Probe = Field(description=N_("succeeds on the node while the cause is there"))
    cure: Script = Field(description=N_("PowerShell script that repairs it as one would by hand"))


class RuleAction(StrEnum):
    """What a firewall does with what a rule is about; `reject` tells the sender."""

    PASS = "pass"  # noqa: S105  no password
    BLOCK = "block"
    REJECT = "reject"


class RuleProtocol(StrEnum):
    """What a rule is about."""

    TCP = "tcp"
    UDP = "udp"
    TCP_UDP = "tcp_udp"
    ICMP = "icmp"
    ANY = "any"


class Rule(Model):
    """A rule for what comes in by a card of a firewall, before those that the card has."""

    description: Line = Field(description=N_("what the firewall's list of rules says of it"))
    action: RuleAction = Field(description=N_("what happens to it"))
    interface: InterfaceName = Field(description=N_("the card that it comes in by"))
    protocol: RuleProtocol = Field(default=RuleProtocol.ANY, description=N_("protocol"))
    source: IPv4Address | IPv4Network | None = Field(
        default=None, description=N_("address or network that it comes from; any if absent")
    )
    destination: IPv4Address | IPv4Network | None = Field(
        default=None, description=N_("address or network that it goes to; any if absent")
    )
    port: Port | None = Field(default=None, description=N_("destination port of TCP and UDP; all if absent"))


class Fault(Model):
    """A trouble to find and repair."""

    id: Name = Field(description=N_("name of the fault, used once"))
    title: Text = Field(description=N_("what is wrong, for trainers: it tells the answer"))
    node: Name = Field(description=N_("the node where it is brought about"))
    difficulty: int = Field(
        default=1, ge=1, le=3, description=N_("1: one clear cause; 2: several steps; 3: misleading")
    )
    competencies: tuple[CompetencyId, ...] = Field(min_length=1, description=N_("competencies that repairing it shows"))
    ticket: Text = Field(description=N_("what a user writes about it: symptoms, not causes"))
    inject: Script = Field(
        default="", description=N_("shell script, run by root on the node, that brings it about for good")
    )
    detect: Probe | None = Field(default=None, description=N_("succeeds on the node while the cause is there"))
    fixed: tuple[Name, ...] = Field(
        min_length=1, description=N_("checks that fail with it and pass once it is repaired")
    )
    cure: Script = Field(
        default="", description=N_("shell script, run by root on the node, that repairs it as one would by hand")
    )
    rules: tuple[Rule, ...] = Field(
        default=(),
        max_length=20,
        description=N_(
            "instead of inject, detect and cure, on an OPNsense: rules that are added; removing them is the cure"
        ),
    )
    windows: FaultOnWindows | None = Field(
        default=None, description=N_("what is done instead where the node runs Windows: the same trouble, its way")
    )

    @property
    def remedy(self) -> str:
        """Return what repairs it, for the trainer's answers."""
        if self.cure:
            return self.cure
        text = _('delete the rule "{description}" of the card {card}')
        return "\n".join(text.format(description=rule.description, card=rule.interface) for rule in self.rules)
