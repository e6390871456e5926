"""What was seen on the host: the world that planning takes as an argument."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network
from typing import NamedTuple

from labctl.plan.names import MANAGEMENT_PORT

PORT = re.compile(r"[0-9]{1,5}", re.ASCII)

WORKBENCH = "image"  # stands for a topology on a machine that an image is made in, which has no spec


class DomainState(StrEnum):
    """The states of a machine that matter to a plan."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"


class Endpoint(NamedTuple):
    """Where a machine is asked whether it lives: an address with its zone, and a TCP port."""

    address: str
    port: int = MANAGEMENT_PORT


@dataclass(frozen=True)
class Tag:
    """Our metadata on a libvirt object: whose it is and what it was made from.

    `member` is the node or network name inside the lab; `spec` the hash of what was asked for;
    `configured` the hash of what Ansible last brought to its end, empty before; `address` a node's
    management address with its zone; `home` the mark of the installation that made it; `golden` the
    golden lab that it was cloned from, empty for a machine that was built; `seat` the name that names
    on this host are made of, empty where it is the lab's own; `answers` the TCP port on which a node answers, empty
    for that of labctl's SSH server, "nothing" for a node that cannot be asked.
    """

    lab: str
    topology: str
    owner: str
    member: str
    spec: str
    configured: str = ""
    address: str = ""
    home: str = ""
    golden: str = ""
    seat: str = ""
    answers: str = ""

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where the node is asked whether it lives, None where it cannot be asked."""
        if not self.answers:
            return Endpoint(self.address)
        port = int(self.answers) if PORT.fullmatch(self.answers) else 0
        return Endpoint(self.address, port) if 0 < port < 1 << 16 else None

    @property
    def seat_name(self) -> str:
        """Return the name that libvirt's names of the lab's objects begin with, after the prefix."""
        return self.seat or self.lab


@dataclass(frozen=True)
class SeenDomain:
    """A libvirt domain; `tag` is None for one that is not ours. `disks` are its source files."""

    name: str
    uuid: str
    state: DomainState
    reason: str = ""
    tag: Tag | None = None
    disks: tuple[str, ...] = ()

    def stopped_by_reboot(self, rebooted: bool) -> bool:
        """Return whether a restart of the host, if there was one, is what stopped the machine.

        libvirt knows why it stops a machine for as long as the host runs; what it finds at its start has no reason.
        """
        return rebooted and self.state is DomainState.STOPPED and self.reason in {"", "unknown"}


@dataclass(frozen=True)
class SeenNetwork:
    """A libvirt network; `subnet` is its IPv4 subnet, if it has one."""

    name: str
    uuid: str
    bridge: str
    active: bool
    tag: Tag | None = None
    subnet: IPv4Network | None = None


@dataclass(frozen=True)
class Observed:
    """The host at one moment.

    `links` are all network interfaces; `routes` the IPv4 destinations that the host routes; `files`
    the disks and identities of the lab that exist; `images` the recipe and packages of each built image;
    `rebooted` says that the host was restarted since the lab was last brought up; `unfinished` are the nodes
    whose making was begun and never ended.
    """

    domains: tuple[SeenDomain, ...] = ()
    networks: tuple[SeenNetwork, ...] = ()
    links: frozenset[str] = field(default_factory=frozenset)
    routes: tuple[IPv4Network, ...] = ()
    files: frozenset[str] = field(default_factory=frozenset)
    images: frozenset[tuple[str, tuple[str, ...]]] = field(default_factory=frozenset)
    rebooted: bool = False
    unfinished: frozenset[str] = field(default_factory=frozenset)

    @property
    def workbenches(self) -> tuple[SeenDomain, ...]:
        """Return the machines that images are made in; they are of no lab."""
        return tuple(one for one in self.domains if one.tag and one.tag.topology == WORKBENCH and not one.tag.spec)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Return our tags on machines and networks."""
        domains = [one.tag for one in self.domains if one.tag]
        return (*domains, *(one.tag for one in self.networks if one.tag))
