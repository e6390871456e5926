"""The topology as its author wrote it: frozen models, one class for each thing of the file.

Meaning across models (an address inside its network, a known service…) is checked in `semantics`.
"""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from labctl.language import N_

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}$"
SERVICE_PATTERN = r"^[a-z][a-z0-9_]{0,30}$"
# Linux takes at most 15 characters for a link, and the name is given to the guest's interface as it is.
INTERFACE_PATTERN = r"^[a-z][a-z0-9-]{0,14}$"
COMPETENCY_PATTERN = r"^B[1-3](\.[1-9]){0,2}$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
URL_PATTERN = r"^https?://[^\s'\"<>]+$"
PATH_PATTERN = r"^/[^\x00-\x1f]*$"
MODE_PATTERN = r"^[0-7]{3,4}$"
UNIT_PATTERN = r"^[A-Za-z0-9@:._-]+$"
PACKAGE_PATTERN = r"^[a-z0-9][a-z0-9+.-]{1,80}$"
VERSION_PATTERN = r"^[0-9A-Za-z.-]{1,20}$"

# What each pattern asks for, as people are told.
PATTERNS: Mapping[str, str] = {
    NAME_PATTERN: N_("a name of 1 to 31 small letters, digits and dashes that starts with a letter"),
    SERVICE_PATTERN: N_("a name of 1 to 31 small letters, digits and underscores that starts with a letter"),
    INTERFACE_PATTERN: N_("a name of 1 to 15 small letters, digits and dashes that starts with a letter"),
    COMPETENCY_PATTERN: N_("a competency such as B2.2.1"),
    LINE_PATTERN: N_("a text of one line"),
    URL_PATTERN: N_("an address that starts with http:// or https://"),
    PATH_PATTERN: N_("a path that starts with /"),
    MODE_PATTERN: N_('permissions in octal, quoted, such as "0640"'),
    UNIT_PATTERN: N_("the name of a systemd unit"),
    PACKAGE_PATTERN: N_("a Debian package"),
    VERSION_PATTERN: N_('a version in quotes, such as "1.0"'),
}

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ServiceName = Annotated[str, StringConstraints(pattern=SERVICE_PATTERN)]
InterfaceName = Annotated[str, StringConstraints(pattern=INTERFACE_PATTERN)]
CompetencyId = Annotated[str, StringConstraints(pattern=COMPETENCY_PATTERN)]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=LINE_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """What all models share: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Text(Model):
    """A text for people, in both languages."""

    en: Sentence = Field(description=N_("in English"))
    fr: Sentence = Field(description=N_("in French"))

    def pick(self, language: str) -> str:
        """Return the text in "fr" or "en"."""
        return self.fr if language == "fr" else self.en


class Segment(Model):
    """An isolated layer-2 network between the nodes of one lab; the host has no address on it."""

    kind: Literal["segment"] = Field(description=N_("a network inside the lab"))
    cidr: IPv4Network = Field(description=N_("its IPv4 addresses, such as 192.168.50.0/24"))
    description: Text | None = Field(default=None, description=N_("what the network is for"))


class Internet(Model):
    """A way out through the host by NAT, with DHCP; each lab gets a subnet of its own."""

    kind: Literal["internet"] = Field(description=N_("the way out through the host"))
    description: Text | None = Field(default=None, description=N_("what the network is for"))


Network = Annotated[Segment | Internet, Field(discriminator="kind")]


class Interface(Model):
    """A network card of a node."""

    network: Name = Field(description=N_("the network it is plugged into"))
    address: IPv4Address | Literal["dhcp", "none"] = Field(
        description=N_("a fixed IPv4 address, `dhcp`, or `none` to leave the card to the student")
    )
    gateway: IPv4Address | None = Field(default=None, description=N_("default gateway, an address that a node holds"))


class Route(Model):
    """A static route."""

    to: IPv4Network = Field(description=N_("destination, such as 172.16.10.0/24"))
    via: IPv4Address = Field(description=N_("the router, an address that a node holds"))


class Node(Model):
    """One machine."""

    image: Name = Field(description=N_("the operating system image"))
    description: Text | None = Field(default=None, description=N_("what the machine is for"))
    memory: int = Field(default=512, ge=64, le=262144, description=N_("memory in MiB"))
    cpus: int = Field(default=1, ge=1, le=64, description=N_("virtual processors"))
    disk: int = Field(default=8, ge=1, le=2048, description=N_("size of the disk as the guest sees it, in GiB"))
    interfaces: Mapping[InterfaceName, Interface] = Field(
        min_length=1, max_length=12, description=N_("network cards by name, in the order of the guest's slots")
    )
    nameservers: tuple[IPv4Address, ...] = Field(default=(), max_length=3, description=N_("DNS servers"))
    search: Line | None = Field(default=None, description=N_("DNS search domain"))
    routes: tuple[Route, ...] = Field(default=(), description=N_("static routes"))
    services: Mapping[ServiceName, Mapping[str, JsonValue]] = Field(
        default_factory=dict, description=N_("what the machine is for: role names with their parameters")
    )
    after: tuple[Name, ...] = Field(
        default=(), description=N_("nodes that must be ready before this one is configured")
    )


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


class Check(Model):
    """A machine-checkable outcome, seen from one node."""

    id: Name = Field(description=N_("name of the check, used once"))
    title: Text = Field(description=N_("what is checked"))
    origin: Name = Field(alias="from", description=N_("the node that probes"))
    probe: Probe = Field(description=N_("what is tried"))
    negative: bool = Field(default=False, description=N_("the probe must NOT succeed, such as a forbidden flow"))
    ready: bool = Field(default=False, description=N_("the lab is not ready before this check passes"))
    wait: int = Field(default=0, ge=0, le=600, description=N_("seconds to go on trying before it counts"))
    points: int = Field(default=1, ge=0, le=100, description=N_("points that it is worth"))
    competency: CompetencyId = Field(description=N_("the competency that it shows"))
    passed: Text = Field(alias="pass", description=N_("said when it passes"))
    failed: Text = Field(alias="fail", description=N_("said when it fails, with what to look at"))


class Topology(Model):
    """One lab network."""

    name: Name = Field(description=N_("name of the topology, the first part of the lab's name"))
    version: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)] = Field(
        description=N_('quoted, such as "1.0": unquoted, 1.10 would be the number 1.1')
    )
    title: Text = Field(description=N_("title shown to students"))
    description: Text = Field(description=N_("what the lab is about"))
    competencies: tuple[CompetencyId, ...] = Field(min_length=1, description=N_("competencies that the lab trains"))
    networks: Mapping[Name, Network] = Field(min_length=1, max_length=32, description=N_("the networks by name"))
    nodes: Mapping[Name, Node] = Field(min_length=1, max_length=64, description=N_("the machines by name"))
    checks: tuple[Check, ...] = Field(default=(), description=N_("what must work in the end, or must not"))
