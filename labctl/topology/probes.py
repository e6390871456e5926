"""What a check can try: one frozen model for each kind of probe, told apart by its key `type`."""

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import MODE_PATTERN, PATH_PATTERN, UNIT_PATTERN, URL_PATTERN, Line, Model, Port


class Ping(Model):
    """An ICMP echo is answered."""

    type: Literal["ping"] = Field(description=N_("an ICMP echo is answered"))
    to: Line = Field(description=N_("address or name"))


class Tcp(Model):
    """A TCP connection opens."""

    type: Literal["tcp"] = Field(description=N_("a TCP connection opens"))
    to: Line = Field(description=N_("address or name"))
    port: Port = Field(description=N_("TCP port"))


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


class Dns(Model):
    """A DNS server gives the expected answer."""

    type: Literal["dns"] = Field(description=N_("a DNS server gives the expected answer"))
    name: Line = Field(description=N_("the name asked for"))
    record: RecordType = Field(default=RecordType.A, description=N_("kind of record"))
    server: IPv4Address | None = Field(default=None, description=N_("server to ask; the node's own if absent"))
    answer: Line | None = Field(default=None, description=N_("a line of the answer; any answer if absent"))


class Command(Model):
    """A command ends with the expected code and output. It runs without a shell."""

    type: Literal["command"] = Field(description=N_("a command ends as expected; it runs without a shell"))
    run: tuple[Line, ...] = Field(min_length=1, description=N_("program and arguments, one item each"))
    code: int = Field(default=0, ge=0, le=255, description=N_("expected exit code"))
    contains: Line | None = Field(default=None, description=N_("text that the output holds"))


class File(Model):
    """A file exists with the expected owner, mode or content."""

    type: Literal["file"] = Field(description=N_("a file exists as expected"))
    path: Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=500)] = Field(description=N_("the file"))
    owner: Line | None = Field(default=None, description=N_("the account that owns it"))
    mode: Annotated[str, StringConstraints(pattern=MODE_PATTERN)] | None = Field(
        default=None, description=N_('permissions in octal, quoted: "0640"')
    )
    contains: Line | None = Field(default=None, description=N_("text that the file holds"))


class ServiceUnit(Model):
    """A systemd service runs now and starts at boot."""

    type: Literal["service"] = Field(description=N_("a systemd service runs now"))
    unit: Annotated[str, StringConstraints(pattern=UNIT_PATTERN, max_length=100)] = Field(
        description=N_("the systemd unit, such as nginx.service")
    )
    enabled: bool = Field(default=True, description=N_("whether it must also start at boot"))


Probe = Annotated[Ping | Tcp | Http | Dns | Command | File | ServiceUnit, Field(discriminator="type")]
