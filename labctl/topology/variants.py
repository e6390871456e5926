"""Values that differ from one owner to the next, as the author of a topology declares them: typed, bounded, titled."""

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import DOMAIN_PATTERN, LOGIN_PATTERN, PICTURE_PATTERN, Model, Name, Port, Text

Login = Annotated[str, StringConstraints(pattern=LOGIN_PATTERN)]
Domain = Annotated[str, StringConstraints(pattern=DOMAIN_PATTERN)]
Picture = Annotated[str, StringConstraints(pattern=PICTURE_PATTERN)]
MOST_VALUES = 500  # of a list that an author writes


class Variable(Model):
    """What all of them have."""

    title: Text = Field(description=N_("what the value is, as students read it in their task"))
    unique: bool = Field(default=False, description=N_("no two owners of a session have the same value"))


class AddressVariant(Variable):
    """An IPv4 address."""

    type: Literal["address"] = Field(description=N_("an address that a machine could have"))
    default: IPv4Address = Field(description=N_("the value of a lab that belongs to no session"))
    within: IPv4Network = Field(description=N_("the network that it is drawn from; its ends are never drawn"))
    prohibited: tuple[IPv4Address, ...] = Field(
        default=(), description=N_("never drawn; what nodes have is never drawn either")
    )


class NetworkVariant(Variable):
    """An IPv4 network; all that may be drawn have the same mask."""

    type: Literal["network"] = Field(description=N_("a part of an address plan"))
    default: IPv4Network = Field(description=N_("the value of a lab that belongs to no session"))
    within: IPv4Network = Field(description=N_("the network that it is a part of"))
    length: int = Field(ge=9, le=30, description=N_("its prefix length, the same for everybody"))
    prohibited: tuple[IPv4Network, ...] = Field(
        default=(), description=N_("never drawn, nor what overlaps them; the topology's own networks neither")
    )


class HostNameVariant(Variable):
    """A name of a machine or a service, without dots."""

    type: Literal["host_name"] = Field(description=N_("a name without dots"))
    default: Name = Field(description=N_("the value of a lab that belongs to no session"))
    values: tuple[Name, ...] = Field(default=(), max_length=MOST_VALUES, description=N_("the names to draw from"))
    pattern: Picture | None = Field(
        default=None, description=N_("instead of `values`, such as srv-??##: # is a digit, ? a consonant")
    )
    prohibited: tuple[Name, ...] = Field(
        default=(), description=N_("never drawn; the names of the nodes are never drawn either")
    )


class DomainVariant(Variable):
    """A name of a domain; all that may be drawn have as many parts."""

    type: Literal["domain"] = Field(description=N_("a domain name"))
    default: Domain = Field(description=N_("the value of a lab that belongs to no session"))
    values: tuple[Domain, ...] = Field(default=(), max_length=MOST_VALUES, description=N_("the domains to draw from"))
    pattern: Picture | None = Field(
        default=None, description=N_("instead of `values`, such as ??##.example: # is a digit, ? a consonant")
    )
    prohibited: tuple[Domain, ...] = Field(default=(), description=N_("never drawn"))


class AccountVariant(Variable):
    """A login name."""

    type: Literal["account"] = Field(description=N_("a login name"))
    default: Login = Field(description=N_("the value of a lab that belongs to no session"))
    values: tuple[Login, ...] = Field(default=(), max_length=MOST_VALUES, description=N_("the accounts to draw from"))
    pattern: Picture | None = Field(
        default=None, description=N_("instead of `values`, such as tech##: # is a digit, ? a consonant")
    )
    prohibited: tuple[Login, ...] = Field(
        default=(), description=N_("never drawn; accounts of the system are never drawn either")
    )


class PortVariant(Variable):
    """A TCP or UDP port; the range does not mix privileged and free ports."""

    type: Literal["port"] = Field(description=N_("a port"))
    default: Port = Field(description=N_("the value of a lab that belongs to no session"))
    least: Port = Field(description=N_("the lowest that may be drawn"))
    most: Port = Field(description=N_("the highest that may be drawn; both below 1024, or none"))
    prohibited: tuple[Port, ...] = Field(default=(), description=N_("never drawn; port 22 is never drawn either"))


class FaultVariant(Variable):
    """A fault to find: which one is drawn among faults of the same difficulty. Without a session there is none."""

    type: Literal["fault"] = Field(description=N_("which fault is to be found"))
    values: tuple[Name, ...] = Field(
        max_length=MOST_VALUES, description=N_("ids of faults of the same difficulty to draw from")
    )


NamedVariant = HostNameVariant | DomainVariant | AccountVariant
Variant = Annotated[
    AddressVariant | NetworkVariant | HostNameVariant | DomainVariant | AccountVariant | PortVariant | FaultVariant,
    Field(discriminator="type"),
]
AnyVariant = (
    AddressVariant | NetworkVariant | HostNameVariant | DomainVariant | AccountVariant | PortVariant | FaultVariant
)
Value = str | int  # what is drawn, as a topology's plain data has it: a port is a number, everything else a text
