"""Probes of flows and paths: what passes between machines, and which way."""

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import LINK_PATTERN, InterfaceName, Line, Model, Name, Port


class Ping(Model):
    """An ICMP echo is answered."""

    type: Literal["ping"] = Field(description=N_("an ICMP echo is answered"))
    to: Line = Field(description=N_("address or name"))


class Tcp(Model):
    """A TCP connection opens."""

    type: Literal["tcp"] = Field(description=N_("a TCP connection opens"))
    to: Line = Field(description=N_("address or name"))
    port: Port = Field(description=N_("TCP port"))


class Udp(Model):
    """A UDP datagram is answered."""

    type: Literal["udp"] = Field(description=N_("a UDP datagram is answered"))
    to: Line = Field(description=N_("address or name"))
    port: Port = Field(description=N_("UDP port; 53 is asked for a name and 123 for the time"))
    send: Line | None = Field(default=None, description=N_("text of the datagram, instead of what the port expects"))
    contains: Line | None = Field(default=None, description=N_("text that the answer holds"))


class Traceroute(Model):
    """Packets take the expected way."""

    type: Literal["traceroute"] = Field(description=N_("packets take the expected way"))
    to: Line = Field(description=N_("address or name"))
    via: tuple[IPv4Address, ...] = Field(
        max_length=30, description=N_("the routers in order, by the addresses that face this node; empty for none")
    )


class Protocol(StrEnum):
    """What a flow is made of."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


class Alive(Model):
    """A flow that shows that the target of a denied flow lives."""

    origin: Name | None = Field(
        default=None, alias="from", description=N_("the node that tries it; the check's own if absent")
    )
    to: Line | None = Field(default=None, description=N_("address or name; that of the denied flow if absent"))
    protocol: Protocol = Field(default=Protocol.TCP, description=N_("protocol"))
    port: Port | None = Field(default=None, description=N_("port, for TCP and UDP; that of the flow if absent"))


class Allowed(Model):
    """A flow that must pass."""

    to: Line = Field(description=N_("address or name"))
    protocol: Protocol = Field(default=Protocol.TCP, description=N_("protocol"))
    port: Port | None = Field(default=None, description=N_("port, for TCP and UDP"))


class Denied(Allowed):
    """A flow that must not pass."""

    alive: Alive | None = Field(
        default=None, description=N_("a flow that must pass, or else the target is dead and nothing is proved")
    )


class Flow(Model):
    """A part of a flow matrix: flows from this node that pass, and flows that do not."""

    type: Literal["flow"] = Field(description=N_("flows from this node pass or are stopped, as the matrix says"))
    allow: tuple[Allowed, ...] = Field(default=(), max_length=64, description=N_("flows that must pass"))
    deny: tuple[Denied, ...] = Field(default=(), max_length=64, description=N_("flows that must be stopped"))


class Tunnel(StrEnum):
    """Kinds of tunnels."""

    WIREGUARD = "wireguard"
    IPSEC = "ipsec"


class Vpn(Model):
    """A VPN tunnel is up."""

    type: Literal["vpn"] = Field(description=N_("a VPN tunnel is up"))
    tunnel: Tunnel = Field(description=N_("what the tunnel is made with; `ipsec` is strongSwan's"))
    name: Annotated[str, StringConstraints(pattern=LINK_PATTERN)] = Field(
        description=N_("the WireGuard interface, or the connection of strongSwan")
    )
    peer: Line | None = Field(default=None, description=N_("public key of the WireGuard peer; any peer if absent"))
    seconds: int = Field(default=180, ge=1, le=86400, description=N_("age of the last WireGuard handshake, at most"))


class Dhcp(Model):
    """A DHCP server offers an address; the node's own configuration does not change."""

    type: Literal["dhcp"] = Field(description=N_("a DHCP server offers an address; the node's own stays as it is"))
    interface: InterfaceName = Field(description=N_("the card of this node that asks"))
    server: IPv4Address | None = Field(
        default=None, description=N_("the server that offers, and no other one; any if absent")
    )
    first: IPv4Address | None = Field(default=None, description=N_("first address of the expected range"))
    last: IPv4Address | None = Field(default=None, description=N_("last address of the expected range"))
    router: IPv4Address | None = Field(default=None, description=N_("expected default gateway (option 3)"))
    dns: tuple[IPv4Address, ...] = Field(default=(), description=N_("expected DNS servers, in order (option 6)"))
    lease: bool = Field(default=False, description=N_("also take the lease and give it back, not only ask for it"))


class Ntp(Model):
    """The clock is right: the node's own, or that of a time server."""

    type: Literal["ntp"] = Field(description=N_("the clock is synchronised, or a time server answers"))
    server: Line | None = Field(
        default=None, description=N_("the time server to ask; the node's own synchronisation if absent")
    )
    milliseconds: int = Field(default=1000, ge=1, le=3_600_000, description=N_("largest difference"))
