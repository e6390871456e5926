"""Probes of what machines look up by the network: names, web pages, certificates, values of equipment."""

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import OID_PATTERN, URL_PATTERN, FilePath, Line, Model, Name, Port


class Http(Model):
    """A page answers; with https the certificate must be valid for the name."""

    type: Literal["http"] = Field(description=N_("a page answers; with https the certificate must be valid"))
    url: Annotated[str, StringConstraints(pattern=URL_PATTERN, max_length=500)] = Field(
        description=N_("the address of the page")
    )
    status: int = Field(default=200, ge=100, le=599, description=N_("expected status code"))
    contains: Line | None = Field(default=None, description=N_("text that the page holds"))
    redirect: Line | None = Field(default=None, description=N_("expected Location header"))


class RecordType(StrEnum):
    """Kinds of DNS records that can be asked for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    NS = "NS"
    PTR = "PTR"
    SOA = "SOA"
    SRV = "SRV"
    TXT = "TXT"


class Dnssec(StrEnum):
    """What DNSSEC must show."""

    SIGNED = "signed"
    VALIDATED = "validated"


class Dns(Model):
    """A DNS server gives the expected answer."""

    type: Literal["dns"] = Field(description=N_("a DNS server gives the expected answer"))
    name: Line = Field(description=N_("the name asked for"))
    record: RecordType = Field(default=RecordType.A, description=N_("kind of record"))
    server: IPv4Address | Name | None = Field(
        default=None, description=N_("server to ask, for the host the name of a node; the node's own server if absent")
    )
    answer: Line | None = Field(default=None, description=N_("a line of the answer; any answer if absent"))
    dnssec: Dnssec | None = Field(
        default=None,
        description=N_(
            "`signed`: the answer carries a signature (RRSIG); `validated`: the server verified it (flag ad)"
        ),
    )


class ZoneTransfer(Model):
    """A DNS server gives a whole zone away; with `negative`, it refuses to."""

    type: Literal["zone_transfer"] = Field(
        description=N_("a DNS server gives a whole zone; with `negative: true`, it must refuse")
    )
    zone: Line = Field(description=N_("the zone"))
    server: IPv4Address | Name = Field(description=N_("the server to ask, for the host the name of a node"))


class Certificate(Model):
    """A certificate is trusted, has the right name and lasts."""

    type: Literal["certificate"] = Field(description=N_("a certificate is trusted, has the right name and lasts"))
    name: Line = Field(description=N_("the name that it must hold"))
    server: Line | None = Field(default=None, description=N_("the server that shows it; the name itself if absent"))
    port: Port = Field(default=443, description=N_("TCP port of the server, where TLS begins at once"))
    path: FilePath | None = Field(
        default=None, description=N_("a file of the node in PEM format, with its intermediates, instead of a server")
    )
    authority: FilePath | None = Field(
        default=None, description=N_("file of the trusted authorities; those of the node if absent")
    )
    days: int = Field(default=1, ge=0, le=36500, description=N_("days that it must still be valid"))


class Snmp(Model):
    """An SNMPv2c agent gives a value."""

    type: Literal["snmp"] = Field(description=N_("an SNMPv2c agent gives a value"))
    to: Line = Field(description=N_("address or name"))
    port: Port = Field(default=161, description=N_("UDP port"))
    community: Line = Field(default="public", description=N_("the community, SNMP's password"))
    oid: Annotated[str, StringConstraints(pattern=OID_PATTERN, max_length=200)] = Field(
        default="1.3.6.1.2.1.1.5.0",
        description=N_("the value asked for in digits; the name of the equipment if absent"),
    )
    contains: Line | None = Field(default=None, description=N_("text that the value holds"))
