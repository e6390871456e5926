"""A plan: what one lab will be, and the actions that lead there from what was seen."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from labctl.plan.names import disk_file
from labctl.plan.observed import Tag
from labctl.topology.hardware import COMMON, Hardware, System


class NetworkKind(StrEnum):
    """What a libvirt network of ours is made for."""

    SEGMENT = "segment"
    INTERNET = "internet"
    MANAGEMENT = "management"


class ActionKind(StrEnum):
    """What can be done to a lab; `up` knows no other act."""

    BUILD_IMAGE = "build image"
    REMOVE_DOMAIN = "remove machine"
    REMOVE_NETWORK = "remove network"
    CREATE_NETWORK = "create network"
    CREATE_MACHINE = "create machine"
    CLONE_MACHINE = "clone machine"
    DEFINE_MACHINE = "define machine"
    START_MACHINE = "start machine"
    CONFIGURE = "configure"


class Reason(StrEnum):
    """Why an action is in the plan."""

    MISSING = "missing"
    STOPPED = "stopped"
    REBOOTED = "rebooted"
    PAUSED = "paused"
    CRASHED = "crashed"
    CHANGED = "changed"
    INACTIVE = "inactive"
    DISK_MISSING = "disk missing"
    DISK_LOST = "one disk missing"  # of several: work is left on the others
    UNDEFINED = "undefined"
    NEW = "new"
    NOT_CONFIGURED = "not configured"
    SERVICES_CHANGED = "services changed"
    NOT_IN_TOPOLOGY = "not in the topology"
    REQUESTED = "requested"
    OWN_VALUES = "own values"


@dataclass(frozen=True)
class Action:
    """One act on one target (a node, a network or an image of the lab) and why it is needed."""

    kind: ActionKind
    target: str
    reason: Reason

    @property
    def loses(self) -> bool:
        """Return whether disks go on which somebody has worked."""
        made = self.kind in {ActionKind.CREATE_MACHINE, ActionKind.CLONE_MACHINE}
        return self.kind is ActionKind.REMOVE_DOMAIN or (made and self.reason in {Reason.CHANGED, Reason.DISK_LOST})


@dataclass(frozen=True)
class PlannedNetwork:
    """A libvirt network. `name` is libvirt's, `member` the topology's; `subnet` is the host's NAT subnet, if any."""

    member: str
    name: str
    uuid: str
    bridge: str
    kind: NetworkKind
    subnet: str
    tag: Tag


@dataclass(frozen=True)
class PlannedInterface:
    """A network card. `address` is an IPv4 address, "dhcp" or "none"; `prefix` the length of its network's."""

    name: str
    network: str
    mac: str
    address: str
    prefix: int | None = None
    gateway: str = ""


@dataclass(frozen=True)
class PlannedRoute:
    """A static route, set on the interface whose network holds the router."""

    to: str
    via: str
    interface: str


@dataclass(frozen=True)
class PlannedImage:
    """The disk image of a node: a recipe and the packages of the services that run there, sorted."""

    recipe: str
    packages: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Return what images are looked up by."""
        return self.recipe, self.packages

    def __str__(self) -> str:
        return " + ".join([self.recipe, *self.packages])


@dataclass(frozen=True)
class PlannedNode:
    """A machine. `memory` is in MiB, `disk` in GiB; `wave` counts the nodes that it must wait for, in depth.

    `disks` are the empty ones beside that of its system: those of its image and its own, sizes in GiB by name.
    `varied` are the services whose parameters are not those of the golden lab, because the owner has values of their
    own; `unvaried` is then the mark of a machine that was configured with the golden lab's.
    """

    member: str
    name: str
    uuid: str
    image: PlannedImage
    memory: int
    cpus: int
    disk: int
    interfaces: tuple[PlannedInterface, ...]
    routes: tuple[PlannedRoute, ...]
    nameservers: tuple[str, ...]
    search: str
    services: Mapping[str, Mapping[str, JsonValue]]
    wave: int
    management: PlannedInterface
    address: str
    tag: Tag
    varied: tuple[str, ...] = ()
    unvaried: str = ""
    system: System = System.DEBIAN
    hardware: Hardware = COMMON
    disks: Mapping[str, int] = field(default_factory=dict)

    @property
    def disk_files(self) -> tuple[str, ...]:
        """Return the names of the files of all its disks, in a lab's folder or in a golden one: its system's first."""
        return tuple(disk_file(self.member, name) for name in ("", *self.disks))


@dataclass(frozen=True)
class Folders:
    """Where a lab keeps its files, all below `top`; `secrets` is for its owner only."""

    top: Path

    @property
    def secrets(self) -> Path:
        """Return the folder of keys and pinned host keys."""
        return self.top / "secrets"

    @property
    def ansible(self) -> Path:
        """Return ansible-runner's private folder."""
        return self.top / "ansible"

    @property
    def topology(self) -> Path:
        """Return the lab's own copy of its topology: the source may move, the lab goes on."""
        return self.top / "topology.yml"

    def disk(self, node: str) -> Path:
        """Return the overlay that a node's system is on."""
        return self.top / "disks" / disk_file(node)

    def disks(self, node: PlannedNode) -> tuple[Path, ...]:
        """Return all disks of a node, that of its system first."""
        return tuple(self.top / "disks" / name for name in node.disk_files)

    def identity(self, node: str) -> Path:
        """Return the credential file that gives a node its name, keys and network."""
        return self.top / "identity" / node

    def nvram(self, node: str) -> Path:
        """Return the variables of a UEFI node's firmware."""
        return self.top / "nvram" / f"{node}.fd"

    def serial_log(self, node: str) -> Path:
        """Return the log of a node's serial console."""
        return self.top / "logs" / f"{node}.log"


@dataclass(frozen=True)
class Plan:
    """One lab: what it will be (`networks`, `nodes`) and how to get there (`actions`, in order).

    `golden` is the id of the golden lab that its machines are cloned from, empty where they are built.
    `seat` is the name that the names on the host are made of: the lab's own, or that of the spare that it was.
    """

    lab: str
    topology: str
    owner: str
    seat: str
    folders: Folders
    networks: tuple[PlannedNetwork, ...]
    nodes: tuple[PlannedNode, ...]
    actions: tuple[Action, ...]
    golden: str = ""

    def actions_of(self, kind: ActionKind) -> tuple[Action, ...]:
        """Return the actions of one kind, in order."""
        return tuple(action for action in self.actions if action.kind is kind)

    def node(self, member: str) -> PlannedNode:
        """Return the node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.member == member:
                return node
        raise KeyError(member)

    def to_json(self) -> str:
        """Return the whole plan as one JSON document; stable, as the data classes are."""
        return json.dumps(asdict(self), default=str, ensure_ascii=False)
