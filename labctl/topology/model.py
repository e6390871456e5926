"""The topology as its author wrote it: frozen models, one class for each thing of the file.

Meaning across models (an address inside its network, a known service…) is checked in `semantics`.
"""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
# Linux takes at most 15 characters for a link, and the name is given to the guest's interface as it is.
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,14}$")]
CompetencyId = Annotated[str, StringConstraints(pattern=r"^B[1-3](\.[1-9]){0,2}$")]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """What all models share: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Text(Model):
    """A text for people, in both languages."""

    en: Sentence
    fr: Sentence

    def pick(self, language: str) -> str:
        """Return the text in "fr" or "en"."""
        return self.fr if language == "fr" else self.en


class Segment(Model):
    """An isolated layer-2 network between the nodes of one lab; the host has no address on it."""

    kind: Literal["segment"] = Field(description="a network inside the lab")
    cidr: IPv4Network = Field(description="its IPv4 addresses, such as 192.168.50.0/24")
    description: Text | None = Field(default=None, description="what the network is for")


class Internet(Model):
    """A way out through the host by NAT, with DHCP; each lab gets a subnet of its own."""

    kind: Literal["internet"] = Field(description="the way out through the host")
    description: Text | None = Field(default=None, description="what the network is for")


Network = Annotated[Segment | Internet, Field(discriminator="kind")]


class Interface(Model):
    """A network card of a node."""

    network: Name = Field(description="the network it is plugged into")
    address: IPv4Address | Literal["dhcp", "none"] = Field(
        description="a fixed IPv4 address, `dhcp`, or `none` to leave the card to the student"
    )
    gateway: IPv4Address | None = Field(default=None, description="default gateway, an address that a node holds")


class Route(Model):
    """A static route."""

    to: IPv4Network = Field(description="destination, such as 172.16.10.0/24")
    via: IPv4Address = Field(description="the router, an address that a node holds")


class Node(Model):
    """One machine."""

    image: Name = Field(description="the operating system image")
    description: Text | None = Field(default=None, description="what the machine is for")
    memory: int = Field(default=512, ge=64, le=262144, description="memory in MiB")
    cpus: int = Field(default=1, ge=1, le=64, description="virtual processors")
    disk: int = Field(default=8, ge=1, le=2048, description="size of the disk as the guest sees it, in GiB")
    interfaces: Mapping[InterfaceName, Interface] = Field(
        min_length=1, max_length=12, description="network cards by name, in the order of the guest's slots"
    )
    nameservers: tuple[IPv4Address, ...] = Field(default=(), max_length=3, description="DNS servers")
    search: Line | None = Field(default=None, description="DNS search domain")
    routes: tuple[Route, ...] = Field(default=(), description="static routes")
    services: Mapping[ServiceName, Mapping[str, JsonValue]] = Field(
        default_factory=dict, description="what the machine is for: role names with their parameters"
    )
    after: tuple[Name, ...] = Field(default=(), description="nodes that must be ready before this one is configured")


class Ping(Model):
    """An ICMP echo is answered."""

    type: Literal["ping"]
    to: Line = Field(description="address or name")


class Tcp(Model):
    """A TCP connection opens."""

    type: Literal["tcp"]
    to: Line = Field(description="address or name")
    port: Port


class Http(Model):
    """A page answers; with https the certificate must be valid for the name."""

    type: Literal["http"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s'\"<>]+$", max_length=500)]
    status: int = Field(default=200, ge=100, le=599, description="expected status code")
    contains: Line | None = Field(default=None, description="text that the page holds")
    redirect: Line | None = Field(default=None, description="expected Location header")


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

    type: Literal["dns"]
    name: Line = Field(description="the name asked for")
    record: RecordType = RecordType.A
    server: IPv4Address | None = Field(default=None, description="server to ask; the node's own if absent")
    answer: Line | None = Field(default=None, description="a line of the answer; any answer if absent")


class Command(Model):
    """A command ends with the expected code and output. It runs without a shell."""

    type: Literal["command"]
    run: tuple[Line, ...] = Field(min_length=1, description="program and arguments, one item each")
    code: int = Field(default=0, ge=0, le=255, description="expected exit code")
    contains: Line | None = Field(default=None, description="text that the output holds")


class File(Model):
    """A file exists with the expected owner, mode or content."""

    type: Literal["file"]
    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]*$", max_length=500)]
    owner: Line | None = None
    mode: Annotated[str, StringConstraints(pattern=r"^[0-7]{3,4}$")] | None = Field(
        default=None, description='permissions in octal, quoted: "0640"'
    )
    contains: Line | None = Field(default=None, description="text that the file holds")


class ServiceUnit(Model):
    """A systemd service runs now and starts at boot."""

    type: Literal["service"]
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9@:._-]+$", max_length=100)]
    enabled: bool = Field(default=True, description="whether it must also start at boot")


Probe = Annotated[Ping | Tcp | Http | Dns | Command | File | ServiceUnit, Field(discriminator="type")]


class Check(Model):
    """A machine-checkable outcome, seen from one node."""

    id: Name
    title: Text
    origin: Name = Field(alias="from", description="the node that probes")
    probe: Probe
    negative: bool = Field(default=False, description="the probe must NOT succeed, such as a forbidden flow")
    ready: bool = Field(default=False, description="the lab is not ready before this check passes")
    wait: int = Field(default=0, ge=0, le=600, description="seconds to go on trying before it counts")
    points: int = Field(default=1, ge=0, le=100)
    competency: CompetencyId
    passed: Text = Field(alias="pass", description="said when it passes")
    failed: Text = Field(alias="fail", description="said when it fails, with what to look at")


class Topology(Model):
    """One lab network."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.-]{1,20}$")] = Field(
        description='quoted, such as "1.0": unquoted, 1.10 would be the number 1.1'
    )
    title: Text
    description: Text
    competencies: tuple[CompetencyId, ...] = Field(min_length=1)
    networks: Mapping[Name, Network] = Field(min_length=1, max_length=32)
    nodes: Mapping[Name, Node] = Field(min_length=1, max_length=64)
    checks: tuple[Check, ...] = ()
