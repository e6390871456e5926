"""A task of the agent: a new machine's talk with the DHCP servers of a segment, beside the node's own configuration."""

import json
import os
import select
import socket
import struct
import time
from array import array
from typing import Any

IPV4 = 0x0800  # EtherType
SOL_PACKET, ADD_MEMBERSHIP, PROMISCUOUS = 263, 1, 1  # packet(7); Python does not name them
ATTACH_FILTER = 26  # SO_ATTACH_FILTER, socket(7)
# Classic BPF: UDP from port 67 to 68, in IPv4. Other tasks of the agent talk on the same card: to read each of their
# frames, this one would have to wait for its turn each time, and get to an offer too late.
ANSWERS = (
    (0x30, 0, 0, 23), (0x15, 0, 6, 17),  # the protocol
    (0xB1, 0, 0, 14),  # what is behind the header, however long it is
    (0x48, 0, 0, 14), (0x15, 0, 3, 67), (0x48, 0, 0, 16), (0x15, 0, 1, 68),
    (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
)  # fmt: skip
MOST_FRAMES = 200  # of one round: whoever floods is not listened to for ever
COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
BROADCAST = b"\xff" * 6
ALL, NOBODY = "255.255.255.255", "0.0.0.0"  # noqa: S104  the address of who has none yet
LISTEN = 2.5  # seconds in which other servers may still offer something


def dhcp(task: dict[str, Any]) -> dict[str, Any]:
    """Ask for an address with a MAC of our own; with `lease`, take it and give it back.

    Code 0: offered; 1: nobody offers; 2: the card does not exist or is down; 3: offered, but not given. `out` has the
    offers as JSON.
    """
    mac = b"\x02" + os.urandom(5)
    number = os.urandom(4)
    try:
        sock = listen(task["interface"])
    except OSError as exc:
        return {"code": 2, "err": str(exc)}
    with sock:
        offers: list[dict[str, Any]] = []
        for _attempt in range(3):
            send(sock, mac, BROADCAST, (NOBODY, ALL), message(DISCOVER, mac, number, b""))
            offers = gather_offers(sock, number, OFFER, task["timeout"] / 3)
            if offers:
                break
        shown = json.dumps([{key: value for key, value in one.items() if key != "from"} for one in offers])
        if not offers:
            return {"code": 1, "out": shown, "err": "no offer"}
        if task["lease"] and not take_lease(sock, mac, number, offers[0]):
            return {"code": 3, "out": shown, "err": "no acknowledgement"}
        return {"code": 0, "out": shown}


def listen(interface: str) -> socket.socket:
    """Return a raw socket of a card that takes answers of DHCP, those to another MAC too, as long as it is open."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # nothing yet: what comes before the filter would stay
    try:
        program = array("B", b"".join(struct.pack("HBBI", *step) for step in ANSWERS))
        wanted = struct.pack("HL", len(ANSWERS), program.buffer_info()[0])
        sock.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, wanted)
        sock.bind((interface, IPV4))
        request = struct.pack("iHH8s", socket.if_nametoindex(interface), PROMISCUOUS, 0, b"")
        sock.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, request)
        with open(f"/sys/class/net/{interface}/operstate") as state:
            if state.read().strip() == "down":
                raise OSError(f"{interface} is down")  # noqa: TRY301  it is closed like after any other trouble
    except OSError:
        sock.close()
        raise
    return sock


def gather_offers(sock: socket.socket, number: bytes, kind: int, timeout: float) -> list[dict[str, Any]]:
    """Return the answers of a kind that come in time; after the first one, wait only a little for others.

    On a busy machine, time may be over before this runs again: what has come by then came in time.
    """
    found: list[dict[str, Any]] = []
    until = time.monotonic() + timeout
    for _frame in range(MOST_FRAMES):
        if not select.select([sock], [], [], max(0.0, until - time.monotonic()))[0]:
            break
        one = read_answer(sock.recv(4096), number)
        if one and one["kind"] in (kind, NAK) and one not in found:
            found.append(one)
            until = min(until, time.monotonic() + (LISTEN if kind == OFFER else 0))
    return [one for one in found if one["kind"] == kind]


def take_lease(sock: socket.socket, mac: bytes, number: bytes, offer: dict[str, Any]) -> bool:
    """Accept an offer, then give the address back; tell whether the server had given it."""
    server = socket.inet_aton(offer["server"])
    wanted = option(50, socket.inet_aton(offer["address"])) + option(54, server)
    for _attempt in range(2):
        send(sock, mac, BROADCAST, (NOBODY, ALL), message(REQUEST, mac, number, wanted))
        if gather_offers(sock, number, ACK, 4):
            data = message(RELEASE, mac, number, option(54, server), address=offer["address"])
            send(sock, mac, bytes.fromhex(offer["from"]), (offer["address"], offer["server"]), data)
            return True
    return False


def option(code: int, value: bytes) -> bytes:
    """Return one DHCP option."""
    return bytes([code, len(value)]) + value


def message(kind: int, mac: bytes, number: bytes, options: bytes, address: str = NOBODY) -> bytes:
    """Return a DHCP message of a client (RFC 2131) that wants its answers by broadcast."""
    flags = 0 if kind == RELEASE else 0x8000
    head = struct.pack(">4B4s2H", 1, 1, 6, 0, number, 0, flags) + socket.inet_aton(address) + bytes(12)
    wanted = b"" if kind == RELEASE else option(55, bytes([1, 3, 6, 15, 51, 54]))
    identity = option(61, b"\x01" + mac) + (b"" if kind == RELEASE else option(12, b"labctl-check"))
    body = head + mac + bytes(10 + 64 + 128) + COOKIE + option(53, bytes([kind])) + identity + options + wanted
    return (body + b"\xff").ljust(300, b"\0")


def send(sock: socket.socket, mac: bytes, target: bytes, ends: tuple[str, str], data: bytes) -> None:
    """Send a UDP datagram from port 68 to 67 in a frame of our own making."""
    source, destination = (socket.inet_aton(end) for end in ends)
    segment = struct.pack(">4H", 68, 67, 8 + len(data), 0) + data  # no checksum: IPv4 allows it
    head = struct.pack(">2B3H2BH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 17, 0, source, destination)
    total = sum(struct.unpack(">10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    head = head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    sock.send(target + mac + struct.pack(">H", IPV4) + head + segment)


def read_answer(frame: bytes, number: bytes) -> Any:
    """Return what a server answers to our number, None for any other frame."""
    packet = frame[14:]
    if len(packet) < 20 or packet[9] != socket.IPPROTO_UDP:  # noqa: PLR2004  an IPv4 header
        return None
    segment = packet[(packet[0] & 15) * 4 :]
    data = segment[8:]
    if segment[:4] != struct.pack(">2H", 67, 68) or data[4:8] != number or data[236:240] != COOKIE:
        return None
    options = read_options(data[240:])
    kind = options.get(53, b"\0")
    return {
        "kind": kind[0] if kind else 0,
        "address": socket.inet_ntoa(data[16:20]),
        "server": (addresses(options.get(54, b"")) or [socket.inet_ntoa(packet[12:16])])[0],
        "mask": (addresses(options.get(1, b"")) or [""])[0],
        "router": addresses(options.get(3, b"")),
        "dns": addresses(options.get(6, b"")),
        "domain": options.get(15, b"").rstrip(b"\0").decode("ascii", "replace"),
        "seconds": int.from_bytes(options.get(51, b""), "big"),
        "from": frame[6:12].hex(),
    }


def read_options(data: bytes) -> dict[int, bytes]:
    """Return the options of a DHCP message; what is cut off is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:  # noqa: PLR2004  the end of the options
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1]
        found[data[at]] = found.get(data[at], b"") + data[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def addresses(value: bytes) -> list[str]:
    """Return the IPv4 addresses of an option."""
    return [socket.inet_ntoa(value[at : at + 4]) for at in range(0, len(value) - len(value) % 4, 4)]
