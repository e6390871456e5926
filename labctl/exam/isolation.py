"""The machines of one lab and the host's own links to what `integrity` judges: asks inside, listens outside."""

import ctypes
import secrets
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Protocol

import psutil

from labctl import powershell
from labctl.crew import Crew
from labctl.errors import LabctlError
from labctl.exam.doors import Proof
from labctl.exam.integrity import (
    ETHERTYPE,
    MARK_PORT,
    Answers,
    HostView,
    Isolation,
    Target,
    Zone,
    find_targets,
    judge_isolation,
    make_program,
    make_script,
    read_answers,
)
from labctl.hypervisor.host_network import LINKS, ROUTES, read_routes
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.model import NetworkKind, Plan
from labctl.plan.names import INTERNET_POOL
from labctl.topology.hardware import System
from labctl.topology.model import Segment, Topology

DEADLINE = 60.0  # seconds for all questions of one machine
SETTLE = 0.3  # seconds for the last frame to arrive
ETH_P_ALL, SO_ATTACH_FILTER = 0x0003, 26
LOAD_HALF, LOAD_BYTE, IS, RETURN = 0x28, 0x30, 0x15, 0x06  # of classic BPF: ldh, ldb, jeq, ret
MOST_FRAMES = 10_000
MOST_PORTS = 40  # of the host, that are tried: each costs every machine a connection
PROGRAMS: Mapping[System, tuple[Sequence[str], Callable[[Sequence[Target], str], bytes]]] = {
    System.DEBIAN: (("/usr/bin/python3", "-I", "-S", "-"), make_program),
    System.WINDOWS: (powershell.RUN_SCRIPT, make_script),
}


class Inside(Protocol):
    """The machines of one lab, that can be told to look around."""

    def look(self, node: str, targets: Sequence[Target], mark: str) -> bytes: ...  # noqa: D102  a Protocol's method is named after the consumer's need


class Ear(Protocol):
    """Tells on which links of the host a mark was seen since it listens; it is asked once for each."""

    def heard(self, mark: str) -> frozenset[str]: ...  # noqa: D102  as above


@contextmanager
def listen() -> Iterator[Ear | None]:
    """Listen to all links of the host, None where that is not allowed here."""
    try:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    except OSError:
        yield None
        return
    with found:
        found.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, only_marks())
        found.setblocking(False)
        yield PacketEar(found)


def only_marks() -> bytes:
    """Return the filter (classic BPF) that lets marks through alone: a busy host has many other frames."""
    words = (
        (LOAD_HALF, 0, 0, 12),  # the EtherType
        (IS, 6, 0, ETHERTYPE),
        (IS, 0, 4, 0x86DD),  # IPv6
        (LOAD_BYTE, 0, 0, 20),  # what is in it
        (IS, 0, 2, socket.IPPROTO_UDP),
        (LOAD_HALF, 0, 0, 56),  # the port that it is sent to
        (IS, 1, 0, MARK_PORT),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, 0xFFFF),
    )
    program = b"".join(struct.pack("HBBI", *word) for word in words)
    kept = ctypes.create_string_buffer(program)
    FILTERS.append(kept)  # the kernel reads it during setsockopt(2), after this function has ended
    return struct.pack("HL", len(words), ctypes.addressof(kept))


FILTERS: list["ctypes.Array[ctypes.c_char]"] = []


class PacketEar:
    """Hears by a packet socket (packet(7))."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._seen: list[tuple[str, bytes]] = []

    def heard(self, mark: str) -> frozenset[str]:
        """Return the links on which a mark was seen."""
        for _turn in range(MOST_FRAMES):
            try:
                frame, place = self._source.recvfrom(2048)
            except OSError:
                break
            self._seen.append((str(place[0]), frame))
        return frozenset(link for link, frame in self._seen if mark.encode() in frame)


def probe(
    inside: Inside,
    nodes: Sequence[str],
    targets: Isolation,
    listening: Callable[[], AbstractContextManager[Ear | None]],
) -> Isolation:
    """Return what was found from inside a lab; `targets` has what is to be asked, and the lab's own links."""
    marks = {node: f"labctl-{secrets.token_hex(16)}" for node in nodes}

    def ask(node: str) -> Answers:
        try:
            return read_answers(inside.look(node, targets.targets, marks[node]))
        except (LabctlError, TimeoutError) as exc:
            return Answers(error=str(exc))

    with listening() as ear:
        with Crew(max_workers=max(1, len(nodes))) as crew:
            answers = dict(zip(nodes, crew.map(ask, nodes), strict=True))
        if ear is None:
            return Isolation(targets.targets, answers, {}, targets.own, listening=False)
        time.sleep(SETTLE)
        heard = {node: ear.heard(mark) for node, mark in marks.items()}
    return Isolation(targets.targets, answers, heard, targets.own)


class AgentInside:
    """Runs programs by the guest agent: it needs no network, and there is none while the exam runs."""

    def __init__(self, place: Workplace, layout: Plan) -> None:
        self._place, self._layout = place, layout

    def look(self, node: str, targets: Sequence[Target], mark: str) -> bytes:
        """Return what the program of this machine's system printed. Raises LabctlError."""
        planned = self._layout.node(node)
        if planned.system not in PROGRAMS:
            raise LabctlError(_("labctl looks around from inside Debian and Windows machines alone"))
        argv, make = PROGRAMS[planned.system]
        words, seat = make(targets, mark), self._layout.seat
        return self._place.freezer.guest_exec(planned.name, seat, argv, words, deadline=DEADLINE).stdout


def view_host(routes: Path = ROUTES) -> HostView:
    """Return what this host has that a lab must not reach. The NAT networks of labs are looked at lab by lab."""
    addresses = [
        one.address
        for link, known in psutil.net_if_addrs().items()
        for one in known
        if one.family is socket.AF_INET and link != "lo" and IPv4Address(one.address) not in INTERNET_POOL
    ]
    ports = []
    with suppress(psutil.Error):
        ports = [
            one.laddr.port
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr and not one.laddr.ip.startswith(("127.", "::1"))
        ]
    networks = tuple(one for one in read_routes(routes) if not one.overlaps(INTERNET_POOL))
    return HostView(tuple(addresses), networks, read_gateways(routes), tuple(sorted(set(ports))[:MOST_PORTS]))


def read_gateways(routes: Path) -> tuple[str, ...]:
    """Return the host's gateways from the kernel's table of IPv4 routes."""
    try:
        lines = routes.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return ()
    fields = [line.split() for line in lines]
    found = (one[2] for one in fields if len(one) > 3 and one[2] != "00000000")  # noqa: PLR2004  flags stand behind it
    return tuple(dict.fromkeys(str(IPv4Address(int(text, 16).to_bytes(4, "little"))) for text in found))


def own_links(layout: Plan, links: Path = LINKS) -> frozenset[str]:
    """Return the host's links that are a lab's own: its bridges and what is plugged into them."""
    bridges = [network.bridge for network in layout.networks]
    ports = [port.name for bridge in bridges for port in links.glob(f"{bridge}/brif/*")]
    return frozenset([*bridges, *ports])


def check_isolation(
    place: Workplace, layout: Plan, topology: Topology, *, started: bool, host: HostView | None = None
) -> Proof:
    """Return whether a lab whose machines run is apart from all others, the host, the school and the Internet.

    Before the exam has started its links are up: the host's end of the management network, and where there is an
    Internet network all behind it, may answer then, and only what is sent to other labs counts.
    """
    own = [one.cidr for one in topology.networks.values() if isinstance(one, Segment)]
    nat = {
        one.member: str(next(IPv4Network(one.subnet).hosts()))
        for one in layout.networks
        if one.kind is NetworkKind.INTERNET and one.subnet
    }
    targets = find_targets(host or view_host(), own, nat)
    allowed = zones_before_start(has_internet=bool(nat)) if not started else frozenset()
    nodes = [node.member for node in layout.nodes]
    wanted = Isolation(targets, {}, {}, own_links(layout))
    return judge_isolation(probe(AgentInside(place, layout), nodes, wanted, listen), allowed)


def zones_before_start(*, has_internet: bool) -> Collection[Zone]:
    """Return what may answer while the links of a lab are still up."""
    return frozenset({Zone.MANAGEMENT, *([Zone.HOST, Zone.SCHOOL, Zone.INTERNET] if has_internet else [])})
