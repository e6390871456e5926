"""What must not be reachable from inside a lab, asked from inside: targets to a program, its answers to a Proof.

Two ways, because neither is proof alone. *Knocking*: each machine tries addresses of the host, of its networks and of
the Internet; what answers is reached. *A mark*: each machine sends a frame with a word that nobody else knows on each
of its links, and the host listens on all of its own: the mark must be seen on this lab's bridges, which shows that it
was sent, and nowhere else. All labs of a topology have the same inner addresses, so that knocking alone could not tell
another lab from one's own.
"""

import json
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pydantic import JsonValue

from labctl import powershell
from labctl.exam.doors import Proof
from labctl.language import _

PORTS = (22, 80, 443, 5900, 8443, 16509, 16514)  # SSH, pages, screens, the portal, libvirt by TCP and TLS
INTERNET = (("192.0.43.8", 80), ("1.1.1.1", 443), ("9.9.9.9", 53))  # IANA's example.org, two public resolvers
SECONDS = 3  # for a connection: nothing here is far away
ETHERTYPE = 0x88B5  # for local experiments (IEEE 802): nothing answers it, and no lab teaches it
MARK_PORT = 0x88B5  # UDP to all nodes of a link (ff02::1), where a program may not send frames
LOOK_AROUND = Path(__file__).with_name("look_around.ps1")
SHOWN = 4  # targets that a reason names


class Zone(StrEnum):
    """What a lab must be apart from."""

    LABS = "labs"
    HOST = "host"
    MANAGEMENT = "management"
    SCHOOL = "school"
    INTERNET = "internet"


@dataclass(frozen=True)
class Target:
    """An address that must not answer. `port` 0 asks by an echo."""

    zone: Zone
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.port else self.address


@dataclass(frozen=True)
class HostView:
    """What is known of the host: its own addresses, the networks that it routes, its gateways, its listening ports."""

    addresses: tuple[str, ...] = ()
    networks: tuple[IPv4Network, ...] = ()
    gateways: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


def find_targets(host: HostView, own: Collection[IPv4Network], subnets: Mapping[str, str]) -> tuple[Target, ...]:
    """Return what machines of a lab must not reach.

    `own` are the lab's own networks: what is the same there is not the host's. `subnets` maps each of the lab's
    Internet networks to the host's address on it.
    """
    ports = tuple(dict.fromkeys((*PORTS, *host.ports)))

    def foreign(address: str) -> bool:
        return not any(IPv4Address(address) in network for network in own)

    found = [Target(Zone.HOST, address, port) for address in host.addresses if foreign(address) for port in ports]
    found += [Target(Zone.HOST, address, port) for address in subnets.values() for port in ports]
    found += [Target(Zone.SCHOOL, gateway, port) for gateway in host.gateways if foreign(gateway) for port in (0, 80)]
    found += [Target(Zone.SCHOOL, str(neighbour), 0) for neighbour in neighbours(host) if foreign(str(neighbour))]
    found += [Target(Zone.MANAGEMENT, "fe80::1", port) for port in ports]
    found += [Target(Zone.INTERNET, address, port) for address, port in INTERNET]
    return tuple(dict.fromkeys(found))


def neighbours(host: HostView) -> Iterable[IPv4Address]:
    """Yield an address of each network of the host's that is not the host itself: the first one."""
    mine = set(host.addresses) | set(host.gateways)
    for network in host.networks:
        first = next((one for one in network.hosts() if str(one) not in mine), None)
        if first is not None:
            yield first


PROGRAM = r"""
import concurrent.futures, json, socket, time
targets, mark, seconds = json.loads(INPUT)
links = [name for _number, name in socket.if_nameindex() if name != "lo"]

def knock(address, port, link):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM if port else socket.SOCK_RAW,
                        0 if port else socket.IPPROTO_ICMP)
    one.settimeout(seconds)
    try:
        if not port:
            echo = b"\x08\x00" + b"\x00\x00" + b"lb\x00\x01"
            total = sum(int.from_bytes(echo[at:at + 2], "big") for at in range(0, len(echo), 2))
            total = 0xffff - ((total & 0xffff) + (total >> 16))
            one.sendto(echo[:2] + total.to_bytes(2, "big") + echo[4:], (address, 0))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                answer, source = one.recvfrom(256)
                if source[0] == address and answer[(answer[0] & 15) * 4] == 0:
                    return "reached"
            return ""
        place = (address, port, 0, socket.if_nametoindex(link)) if family == socket.AF_INET6 else (address, port)
        one.connect(place)
        return "reached"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return ""
    finally:
        one.close()

def shout(link):
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
            one.bind((link, 0))
            one.send(b"\xff" * 6 + one.getsockname()[4] + ETHERTYPE.to_bytes(2, "big") + mark.encode().ljust(60, b"\0"))
            return True
    except OSError:
        return False

asked = [(address, port, link) for address, port in targets for link in (links if ":" in address else [""])]
with concurrent.futures.ThreadPoolExecutor(64) as workers:
    answers = list(workers.map(lambda one: knock(*one), asked))
found = {}
for (address, port, _link), said in zip(asked, answers):
    key = "%s|%d" % (address, port)
    found[key] = found.get(key) or said
sent = [link for link in links if shout(link)]
print(json.dumps({"answers": found, "sent": sent}))
"""


def make_program(targets: Sequence[Target], mark: str) -> bytes:
    """Return the Python program that a machine runs; what it is told is a literal of JSON, never code."""
    told = json.dumps([[[one.address, one.port] for one in targets], mark, SECONDS])
    return f"INPUT = {told!r}\nETHERTYPE = {ETHERTYPE}\n{PROGRAM}".encode()


def make_script(targets: Sequence[Target], mark: str) -> bytes:
    """Return what a Windows machine reads to do the same, by `powershell.RUN_SCRIPT`; what it is told is base64."""
    asked = [{"address": one.address, "port": one.port} for one in targets]
    told = json.dumps({"targets": asked, "mark": mark, "seconds": SECONDS, "port": MARK_PORT})
    script = LOOK_AROUND.read_text(encoding="utf-8")
    return powershell.payload(f"$told = {powershell.quote(b64encode(told.encode()).decode())}\n{script}")


@dataclass(frozen=True)
class Answers:
    """What one machine said: what answered it, and on how many links it sent its mark. `error` says why nothing."""

    reached: Mapping[str, str] = field(default_factory=dict)
    sent: tuple[str, ...] = ()
    error: str = ""


def read_answers(output: bytes) -> Answers:
    """Return what a machine printed; it may print anything."""
    try:
        data = json.loads(output)
        reached = {str(key): str(value) for key, value in data["answers"].items() if value in {"reached", "refused"}}
        return Answers(reached, tuple(str(link)[:15] for link in data["sent"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Answers(error=_("its answer makes no sense"))


@dataclass(frozen=True)
class Isolation:
    """What was found from inside one lab, by machine.

    `answers` is what each machine said; `heard` are the host's links on which its mark was seen, `own` those of the
    lab's bridges and machines. `listening` says that the host could listen at all.
    """

    targets: tuple[Target, ...]
    answers: Mapping[str, Answers]
    heard: Mapping[str, frozenset[str]]
    own: frozenset[str]
    listening: bool = True


def judge_isolation(found: Isolation, allowed: Collection[Zone] = ()) -> Proof:
    """Return whether a lab is apart from all that it must be apart from; `allowed` zones may answer.

    A machine that could not be asked, and a mark that nobody saw anywhere, prove nothing.
    """
    wrong, unknown = [], []
    for node, said in found.answers.items():
        if said.error:
            unknown.append(_("{node} could not be asked: {error}").format(node=node, error=said.error))
            continue
        for target in found.targets:
            answer = said.reached.get(f"{target.address}|{target.port}", "")
            if answer and target.zone not in allowed:
                text = _("{node} reaches {target} ({zone})")
                wrong.append(text.format(node=node, target=target, zone=zone_text(target.zone)))
        strangers = sorted(found.heard.get(node, frozenset()) - found.own)
        if strangers:
            text = _("what {node} sends arrives on {links}")
            wrong.append(text.format(node=node, links=", ".join(strangers)))
        if not found.listening:
            unknown.append(_("the host cannot listen to its own networks"))
        elif not found.heard.get(node):
            unknown.append(_("what {node} sends was not even seen on its own networks").format(node=node))
    facts: dict[str, JsonValue] = {
        "targets": len(found.targets), "machines": len(found.answers), "wrong": [*wrong],
        "unknown": [*dict.fromkeys(unknown)],
        "heard": {node: [*sorted(links)] for node, links in found.heard.items()},
    }  # fmt: skip
    reasons = list(dict.fromkeys([*wrong, *unknown]))
    more = [_("and {count} more").format(count=len(reasons) - SHOWN)] if len(reasons) > SHOWN else []
    return Proof(False if wrong else None if unknown else True, "; ".join([*reasons[:SHOWN], *more]), facts)


def zone_text(zone: Zone) -> str:
    """Return a zone in the reader's words."""
    return {
        Zone.LABS: _("another lab"),
        Zone.HOST: _("the host"),
        Zone.MANAGEMENT: _("the management network"),
        Zone.SCHOOL: _("the school's network"),
        Zone.INTERNET: _("the Internet"),
    }[zone]
