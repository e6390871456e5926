"""Turns what one lab takes and what the host has left into how many labs fit, which limit stops them, and how long."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network

import psutil
from pydantic import JsonValue

from labctl.doctor.findings import DISK_PROBLEM
from labctl.doctor.limits import LOG_FILES, NETWORK_WATCHES, TASKS, ClassLimits, Supply, read_class_limits
from labctl.doctor.merging import Merging, further_lab_cost, read_merging
from labctl.golden import find_golden
from labctl.lab.estimate import class_work, clone_work, gate_work
from labctl.lab.frozen import Frozen
from labctl.lab.workplace import Workplace
from labctl.language import _, decimal
from labctl.plan.model import NetworkKind
from labctl.plan.names import INTERNET_POOL, INTERNET_PREFIX, INTERNET_SUBNETS
from labctl.plan.observed import DomainState, Observed
from labctl.store import Store
from labctl.topology.model import Topology

RESERVE = 1 << 30  # bytes of memory that stay the host's
DISK_RESERVE = DISK_PROBLEM  # bytes of disk that stay free: saved states on their way, logs, the database
QEMU_BYTES = 100 << 20  # a restored machine's process beyond its guest's memory, measured on QEMU 7.2 under TCG
DISK_BYTES = 256 << 20  # what an overlay grows by in a session, where no disks of labs here say more
# Idle clones hardly need a processor: 120 left two of them half idle. Of eight that people work on, one is busy.
CPUS_PER_CORE = 8
NO_LIMIT = 2**62


class Resource(StrEnum):
    """What labs take of a host; the codes are those of `plan --json`."""

    MEMORY = "memory"
    DISK = "disk"
    CPUS = "cpus"
    SUBNETS = "subnets"
    LIBVIRT_FILES = "libvirt_files"
    LOG_FILES = "log_files"
    TASKS = "tasks"
    WATCHES = "watches"
    LINKS = "links"


BYTES = frozenset({Resource.MEMORY, Resource.DISK})


@dataclass(frozen=True)
class LabNeeds:
    """What one lab takes: bytes of memory when it begins, of memory at most, and of disk; then counts.

    `subnets` are NAT networks, `links` bridges and the machines' ends of them.
    """

    memory: int
    full_memory: int
    disk: int
    cpus: int
    machines: int
    subnets: int
    links: int


@dataclass(frozen=True)
class HostSupplies:
    """What the host has for new labs: bytes and subnets that are free, virtual processors that run already.

    `total_memory` is all that it has, in bytes; `further` is what each lab after the first costs of the first
    one's memory; `lab_seconds` what one lab of a class took here, None before the first. `mergeable` says that the
    kernel could keep equal memory once, and does not.
    """

    memory: int
    total_memory: int
    disk: int
    cores: int
    cpus_running: int
    subnets: int
    limits: ClassLimits
    further: float = 1.0
    lab_seconds: float | None = None
    mergeable: bool = False


@dataclass(frozen=True)
class Share:
    """One resource: what a lab needs, what is free, and how many labs fit; None where nothing limits it.

    `further` is the need of each lab after the first. Where too little does not `refuse`, labs only get slow.
    """

    resource: Resource
    need: int
    free: int | None
    fits: int | None
    further: int
    refuses: bool = True

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the resource as `plan --json` shows it."""
        return {
            "resource": self.resource.value, "unit": "bytes" if self.resource in BYTES else "count",
            "need": self.need, "further": self.further, "free": self.free, "fits": self.fits, "refuses": self.refuses,
        }  # fmt: skip


@dataclass(frozen=True)
class Forecast:
    """Whether `wanted` new labs fit. `seconds` is the estimate for all of them, None where nothing is known yet.

    `cpus` are the virtual processors of the wanted labs and of what runs; `full_memory` is what the wanted
    labs take in bytes if every machine fills its memory; `mergeable` says that more could be had of the memory.
    """

    wanted: int
    shares: tuple[Share, ...]
    cores: int
    cpus: int
    full_memory: int
    total_memory: int
    seconds: float | None = None
    mergeable: bool = False

    @property
    def limiting(self) -> Share | None:
        """Return the resource that ends first, None where nothing limits."""
        limited = [share for share in self.shares if share.refuses and share.fits is not None]
        return min(limited, key=lambda share: share.fits or 0, default=None)

    @property
    def largest(self) -> int | None:
        """Return how many new labs fit at most, None where nothing limits."""
        return self.limiting.fits if self.limiting else None

    @property
    def fits(self) -> int:
        """Return how many of the wanted labs fit."""
        return self.wanted if self.largest is None else min(self.wanted, self.largest)

    @property
    def hint(self) -> str:
        """Return what to type where not all of them fit: what makes room, else what shows the numbers."""
        scarce = self.limiting and self.limiting.resource is Resource.MEMORY
        return "sudo labctl doctor --ksm on" if scarce and self.mergeable else "labctl plan"

    @property
    def slow(self) -> bool:
        """Return whether there are too many virtual processors for labs to be quick."""
        return any(share.fits is not None and share.fits < self.wanted for share in self.shares if not share.refuses)

    @property
    def may_overflow(self) -> bool:
        """Return whether the host's memory would not do for machines that all fill theirs."""
        return self.full_memory > self.total_memory

    def explain(self) -> str:
        """Return why no more fit, in a sentence with the numbers."""
        text = _("{wanted} wanted, {fits} fit").format(wanted=self.wanted, fits=self.fits)
        share = self.limiting
        if share is None or self.fits == self.wanted:
            return text
        why = _("each takes {need} of {resource}, {free} are free").format(
            need=amount(share.resource, share.need), resource=resource_name(share.resource),
            free=amount(share.resource, share.free),
        )  # fmt: skip
        return _("{said}: {why}").format(said=text, why=why)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the forecast as `plan --json` shows it; keys are stable."""
        return {
            "type": "forecast", "wanted": self.wanted, "fits": self.fits, "largest": self.largest,
            "limit": self.limiting.resource.value if self.limiting else None, "slow": self.slow, "cores": self.cores,
            "cpus": self.cpus, "full_memory": self.full_memory, "total_memory": self.total_memory,
            "seconds": self.seconds, "resources": [share.to_dict() for share in self.shares],
        }  # fmt: skip


def resource_name(resource: Resource) -> str:
    """Return what people call a resource."""
    return {
        Resource.MEMORY: _("memory"),
        Resource.DISK: _("disk space"),
        Resource.CPUS: _("virtual processors"),
        Resource.SUBNETS: _("NAT subnets"),
        Resource.LIBVIRT_FILES: _("open files of libvirt"),
        Resource.LOG_FILES: _("open files of virtlogd"),
        Resource.TASKS: _("threads"),
        Resource.WATCHES: _("inotify instances"),
        Resource.LINKS: _("bridges and links"),
    }[resource]


def amount(resource: Resource, value: int | None) -> str:
    """Return an amount for people: bytes as MiB or GiB, the rest as a number."""
    if value is None:
        return _("no limit")
    if resource not in BYTES:
        return str(value)
    if value >= 10 << 30:
        return _("{size} GiB").format(size=decimal(value / 2**30))
    return _("{size} MiB").format(size=value >> 20)


def lab_memory(golden: Frozen) -> int:
    """Return the bytes of memory that one lab takes at first: what its nodes had saved, and QEMU's own."""
    states = list(golden.state("x").parent.glob("*.save"))
    return sum(path.stat().st_size for path in states) + len(states) * QEMU_BYTES


def forecast(place: Workplace, topology: Topology, wanted: int) -> Forecast | None:
    """Return whether so many new labs of a topology fit on this host; None before its golden lab exists."""
    golden = find_golden(place, topology)
    if golden is None:
        return None
    needs = read_needs(place, topology, golden)
    return forecast_labs(wanted, needs, read_supplies(place, topology, needs))


def forecast_labs(wanted: int, lab: LabNeeds, host: HostSupplies) -> Forecast:
    """Return whether so many new labs fit, from facts alone."""
    return Forecast(
        wanted=wanted,
        shares=tuple(share_out(lab, host)),
        cores=host.cores,
        cpus=host.cpus_running + wanted * lab.cpus,
        full_memory=wanted * lab.full_memory,
        total_memory=host.total_memory,
        seconds=None if host.lab_seconds is None else host.lab_seconds * wanted,
        mergeable=host.mergeable,
    )


def share_out(lab: LabNeeds, host: HostSupplies) -> Iterator[Share]:
    """Yield each resource that the lab needs, as far as the host tells about it."""
    yield share_memory(lab.memory, max(0, host.memory - RESERVE), host.further)
    yield share(Resource.DISK, lab.disk, max(0, host.disk - DISK_RESERVE))
    yield share(Resource.CPUS, lab.cpus, max(0, host.cores * CPUS_PER_CORE - host.cpus_running), refuses=False)
    limits = host.limits
    needs: Mapping[Resource, tuple[int, Supply | None]] = {
        Resource.LIBVIRT_FILES: (lab.machines * limits.files_each, limits.libvirt_files),
        Resource.LOG_FILES: (lab.machines * LOG_FILES, limits.log_files),
        Resource.TASKS: (lab.machines * TASKS, limits.tasks),
        Resource.WATCHES: (lab.subnets * NETWORK_WATCHES, limits.watches),
    }
    if lab.subnets:
        yield share(Resource.SUBNETS, lab.subnets, host.subnets)
    for resource, (need, supply) in needs.items():
        if need and supply is not None:
            yield share(resource, need, supply.free if supply.limit < NO_LIMIT else None)
    yield share(Resource.LINKS, lab.links, None)  # Linux has no limit that a class could reach


def share(resource: Resource, need: int, free: int | None, *, refuses: bool = True) -> Share:
    """Return how many labs fit where all of them need the same."""
    fits = None if free is None or need <= 0 else free // need
    return Share(resource, need, free, fits, need, refuses)


def share_memory(need: int, free: int, further: float) -> Share:
    """Return how many labs fit in memory, where one has begun and the others have been merged with it."""
    later = max(1, int(need * further))
    fits = None if need <= 0 else 0 if free < need else 1 + (free - need) // later
    return Share(Resource.MEMORY, need, free, fits, later)


def read_needs(place: Workplace, topology: Topology, golden: Frozen) -> LabNeeds:
    """Return what one lab takes: its memory from the golden lab, its disks from those of labs that are here."""
    layout = place.layout(f"{topology.name}-golden", topology)
    machines = len(layout.nodes)
    return LabNeeds(
        memory=lab_memory(golden),
        full_memory=sum(node.memory << 20 for node in layout.nodes) + machines * QEMU_BYTES,
        disk=sum(len(node.disk_files) for node in layout.nodes) * disk_growth(place),
        cpus=sum(node.cpus for node in layout.nodes),
        machines=machines,
        subnets=sum(network.kind is NetworkKind.INTERNET for network in layout.networks),
        links=len(layout.networks) + sum(len(node.interfaces) + 1 for node in layout.nodes),
    )


def disk_growth(place: Workplace) -> int:
    """Return the bytes that one overlay is to grow by: the mean of those here, or a guess that is larger."""
    sizes = []
    for disk in place.home.glob("labs/*/disks/*.qcow2"):
        with suppress(OSError):  # its lab is being removed
            sizes.append(disk.stat().st_blocks * 512)
    return max(DISK_BYTES, sum(sizes) // len(sizes)) if sizes else DISK_BYTES


def read_supplies(place: Workplace, topology: Topology, needs: LabNeeds) -> HostSupplies:
    """Return what this host has for new labs of a topology."""
    seen = place.see()
    memory = psutil.virtual_memory()
    merging: Merging | None = None
    with suppress(OSError, ValueError):  # this kernel cannot merge
        merging = read_merging()
    cores = os.cpu_count() or 1
    return HostSupplies(
        memory=memory.available,
        total_memory=memory.total,
        disk=shutil.disk_usage(place.home).free,
        cores=cores,
        cpus_running=count_cpus(seen, topology),
        subnets=INTERNET_SUBNETS - count_subnets((*(one.subnet for one in seen.networks if one.subnet), *seen.routes)),
        limits=read_class_limits() if place.uri.startswith("qemu") else ClassLimits(),
        further=further_lab_cost(merging, needs.machines),
        lab_seconds=expect_lab_seconds(place.store, topology.name, needs.machines, cores),
        mergeable=merging is not None and not merging.running,
    )


def count_cpus(seen: Observed, topology: Topology) -> int:
    """Return the virtual processors that run; of a machine that the topology does not know, one is counted."""
    running = (domain for domain in seen.domains if domain.state is DomainState.RUNNING)
    names = (one.tag.member if one.tag and one.tag.topology == topology.name else "" for one in running)
    return sum(topology.nodes[name].cpus if name in topology.nodes else 1 for name in names)


def count_subnets(taken: Iterable[IPv4Network]) -> int:
    """Return how many subnets of the pool overlap with something."""
    size = 2 ** (32 - INTERNET_PREFIX)
    start = int(INTERNET_POOL.network_address)
    used: set[int] = set()
    for network in taken:
        if network.prefixlen and network.overlaps(INTERNET_POOL):
            first, last = int(network.network_address) - start, int(network.broadcast_address) - start
            used.update(range(max(0, first // size), min(INTERNET_SUBNETS - 1, last // size) + 1))
    return len(used)


def expect_lab_seconds(store: Store, topology: str, machines: int, cores: int) -> float | None:
    """Return what one lab of a class takes here: as earlier classes did, else as single labs side by side would.

    Cloning and logging in is the processors' work, so as many labs as there are processors gain from each other.
    """
    seconds = store.expected_seconds(class_work(topology))
    if seconds is not None:
        return seconds
    clone, gate = store.expected_seconds(clone_work(machines)), store.expected_seconds(gate_work(topology))
    return None if clone is None or gate is None else (clone + gate) / cores
