"""Frames seen on a network to its flows: who spoke to whom, when, how much, and whether anybody answered."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from pydantic import JsonValue

SEEN_BYTES = 256  # of each frame: its heads, and the name that a DNS question asks for
MOST_FLOWS = 20_000  # of one lab; a scan of ports has more, and the count tells it
ETHERNET, VLAN, IPV4, IPV6, ARP = 14, 0x8100, 0x0800, 0x86DD, 0x0806
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMP6: "icmp6"}
DNS = 53
SYN, ACK = 0x02, 0x10
Key = tuple[str, str, int, str, int]  # protocol, source, its port, destination, its port


@dataclass(frozen=True)
class Packet:
    """What one frame was: its flow, whether it opens a TCP connection, the name that it asks DNS for."""

    key: Key
    opens: bool = False
    name: str = ""


@dataclass
class Flow:
    """One flow as counted: packets and bytes both ways; times are seconds since 1970, UTC."""

    first: float
    last: float
    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    name: str = ""

    def add(self, other: "Flow") -> None:
        """Take over what was counted before, by a process that is gone."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.sent, self.sent_bytes = self.sent + other.sent, self.sent_bytes + other.sent_bytes
        self.received += other.received
        self.received_bytes += other.received_bytes
        self.name = self.name or other.name


@dataclass
class FlowTable:
    """The flows of one network. `left_out` counts packets of flows beyond the limit, `lost` those nobody saw."""

    flows: dict[Key, Flow] = field(default_factory=dict)
    packets: int = 0
    left_out: int = 0
    lost: int = 0
    most: int = MOST_FLOWS

    def add(self, frame: bytes, length: int, now: float) -> None:
        """Count a frame of `length` bytes, of which the first are given."""
        packet = read_frame(frame)
        if packet is None:
            return
        self.packets += 1
        back = (packet.key[0], packet.key[3], packet.key[4], packet.key[1], packet.key[2])
        if packet.key not in self.flows and back in self.flows:
            flow = self.flows[back]
            flow.received, flow.received_bytes, flow.last = flow.received + 1, flow.received_bytes + length, now
            return
        if packet.key not in self.flows and len(self.flows) >= self.most:
            self.left_out += 1
            return
        flow = self.flows.setdefault(packet.key, Flow(now, now))
        flow.sent, flow.sent_bytes, flow.last = flow.sent + 1, flow.sent_bytes + length, now
        flow.name = flow.name or packet.name

    def dump(self) -> dict[str, JsonValue]:
        """Return the flows as JSON, in the order in which they began."""
        rows: list[JsonValue] = [
            {
                "protocol": key[0], "from": key[1], "from_port": key[2], "to": key[3], "to_port": key[4],
                "first": round(flow.first, 3), "last": round(flow.last, 3), "sent": flow.sent,
                "sent_bytes": flow.sent_bytes, "received": flow.received, "received_bytes": flow.received_bytes,
                "name": flow.name,
            }
            for key, flow in sorted(self.flows.items(), key=lambda one: (one[1].first, one[0]))
        ]  # fmt: skip
        return {
            "version": 1, "packets": self.packets, "left_out": self.left_out, "lost": self.lost, "flows": rows,
        }  # fmt: skip

    def take_over(self, data: Mapping[str, Any]) -> None:
        """Add what a process counted that is gone. Raises KeyError, TypeError or ValueError for what is no table."""
        self.packets += int(data["packets"])
        self.left_out += int(data["left_out"])
        self.lost += int(data["lost"])
        for row in data["flows"]:
            key = (
                str(row["protocol"]), str(row["from"]), int(row["from_port"]), str(row["to"]), int(row["to_port"]),
            )  # fmt: skip
            flow = Flow(
                float(row["first"]), float(row["last"]), int(row["sent"]), int(row["sent_bytes"]),
                int(row["received"]), int(row["received_bytes"]), str(row["name"]),
            )  # fmt: skip
            if key in self.flows:
                self.flows[key].add(flow)
            else:
                self.flows[key] = flow


def read_frame(frame: bytes) -> Packet | None:
    """Return the packet of an Ethernet frame, None for one that is cut or of no protocol that is counted."""
    try:
        kind, offset = struct.unpack_from(">H", frame, 12)[0], ETHERNET
        while kind == VLAN:
            kind, offset = struct.unpack_from(">H", frame, offset + 2)[0], offset + 4
        if kind == IPV4:
            return read_ipv4(frame, offset)
        if kind == IPV6:
            return read_ipv6(frame, offset)
        if kind == ARP:
            source, target = frame[offset + 14 : offset + 18], frame[offset + 24 : offset + 28]
            return Packet(("arp", str(ip_address(source)), 0, str(ip_address(target)), 0))
    except (struct.error, ValueError, IndexError):
        pass
    return None


def read_ipv4(frame: bytes, offset: int) -> Packet:
    """Return the packet in an IPv4 head (RFC 791). Raises struct.error, ValueError or IndexError."""
    source, target = (str(ip_address(frame[at : at + 4])) for at in (offset + 12, offset + 16))
    length, protocol = (frame[offset] & 0x0F) * 4, frame[offset + 9]
    later = struct.unpack_from(">H", frame, offset + 6)[0] & 0x1FFF  # a further fragment has no ports
    return read_transport(frame, offset + length, 0 if later else protocol, protocol, source, target)


def read_ipv6(frame: bytes, offset: int) -> Packet:
    """Return the packet in an IPv6 head (RFC 8200); behind extension heads no ports are looked for."""
    source, target = (str(ip_address(frame[at : at + 16])) for at in (offset + 8, offset + 24))
    protocol = frame[offset + 6]
    return read_transport(frame, offset + 40, protocol, protocol, source, target)


def read_transport(frame: bytes, offset: int, known: int, protocol: int, source: str, target: str) -> Packet:
    """Return the packet with its ports, where its protocol has some."""
    name = PROTOCOLS.get(protocol, f"ip-{protocol}")
    if known not in {TCP, UDP}:
        return Packet((name, source, 0, target, 0))
    mine, theirs = struct.unpack_from(">HH", frame, offset)
    if known == TCP:
        flags = frame[offset + 13]
        return Packet((name, source, mine, target, theirs), opens=bool(flags & SYN) and not flags & ACK)
    asked = dns_name(frame[offset + 8 :]) if theirs == DNS else ""
    return Packet((name, source, mine, target, theirs), name=asked)


def dns_name(message: bytes) -> str:
    """Return the name that a DNS question asks for, "" where there is none that can be read."""
    labels, offset = [], 12
    while offset < len(message) and message[offset]:
        length = message[offset]
        if length > 63 or offset + 1 + length > len(message):  # noqa: PLR2004  RFC 1035
            return ""
        labels.append(message[offset + 1 : offset + 1 + length].decode("ascii", "backslashreplace"))
        offset += 1 + length
    return ".".join(labels)
