"""Tasks of the agent about flows and paths: datagrams, routers on the way, flow matrices, clocks, SNMP values."""

import errno
import json
import os
import select
import socket
import struct
import time
from typing import Any

from labctl.checks.agent import run

EPOCH_1900 = 2208988800  # seconds from 1900, where NTP counts from, to 1970
ECHO_REPLY, UNREACHABLE, ECHO_REQUEST, TIME_EXCEEDED = 0, 3, 8, 11
RAW_HEADER = 20  # bytes of an IPv4 header without options


def udp_request(port: int, text: str) -> bytes:
    """Return the datagram that the service of a port answers, or a text."""
    if text:
        return text.encode()
    if port == 53:  # noqa: PLR2004  DNS: the name servers of the root, recursion wanted
        return struct.pack(">6H", 0x4C42, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">2H", 2, 1)
    if port == 123:  # noqa: PLR2004  NTP: version 4, mode client
        return b"\x23" + bytes(47)
    return b"labctl"


def udp(task: dict[str, Any]) -> dict[str, Any]:
    """Send a datagram up to three times. Code 0: answered; 1: refused or silent; 2: the name is unknown."""
    try:
        state, answer = ask_udp(task["host"], task["port"], udp_request(task["port"], task["send"]), task["timeout"])
    except socket.gaierror as exc:
        return {"code": 2, "err": str(exc)}
    return {"code": 0 if state == "open" else 1, "out": answer.decode("utf-8", "replace"), "err": state}


def ask_udp(host: str, port: int, request: bytes, timeout: float) -> tuple[str, bytes]:
    """Return the state of a UDP port ("open", "refused", "silent", "unreachable") and its answer."""
    wanted = socket.AF_INET6 if ":" in host else socket.AF_INET  # a name is looked up as labs have addresses
    family, kind, number, _name, address = socket.getaddrinfo(host, port, wanted, socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, number) as sock:
        sock.settimeout(timeout / 3)
        for _attempt in range(3):
            try:
                sock.connect(address)
                sock.send(request)
                return "open", sock.recv(65535)
            except OSError as exc:
                state = state_of(exc)
                if state != "silent":
                    return state, b""
    return "silent", b""


def state_of(exc: OSError) -> str:
    """Return what an error says about a flow."""
    if isinstance(exc, ConnectionRefusedError) or exc.errno in (errno.EPERM, errno.EACCES):
        return "refused"
    if isinstance(exc, (TimeoutError, socket.timeout)) or exc.errno == errno.ETIMEDOUT:
        return "silent"
    return "unreachable"


def flows(task: dict[str, Any]) -> dict[str, Any]:
    """Try flows side by side; `out` has their states as JSON, in order."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as workers:
        states = list(workers.map(lambda flow: try_flow(flow, task["timeout"]), task["flows"]))
    return {"code": 0, "out": json.dumps(states)}


def try_flow(flow: dict[str, Any], timeout: float) -> str:
    """Return the state of one flow: open, refused, silent, unreachable, or no-name."""
    try:
        if flow["protocol"] == "icmp":
            return "open" if any(ping_path(flow["host"], [64], timeout)[1]) else "silent"
        if flow["protocol"] == "udp":
            return ask_udp(flow["host"], flow["port"], udp_request(flow["port"], ""), timeout)[0]
        socket.create_connection((flow["host"], flow["port"]), timeout=timeout).close()
    except socket.gaierror:
        return "no-name"
    except OSError as exc:
        return state_of(exc)
    return "open"


def trace(task: dict[str, Any]) -> dict[str, Any]:
    """Find the routers up to a host by ICMP echoes with a growing TTL.

    Code 0: reached; 1: not; 2: unknown name. `out` has a line for each hop, the host itself last.
    """
    try:
        hops, reached = ping_path(task["host"], list(range(1, task["hops"] + 1)), task["timeout"])
    except socket.gaierror as exc:
        return {"code": 2, "err": str(exc)}
    except OSError as exc:
        return {"code": 1, "err": str(exc)}
    last = min(reached) if reached else max(hops, default=0)
    way = [reached.get(ttl) or hops.get(ttl, "*") for ttl in range(1, last + 1)]
    # A router that says "unreachable" says it for every TTL beyond its own.
    way = [hop for place, hop in enumerate(way) if hop == "*" or hop not in way[:place]]
    return {"code": 0 if reached else 1, "out": "\n".join("%d %s" % hop for hop in enumerate(way, 1))}


def ping_path(host: str, ttls: list[int], timeout: float) -> tuple[dict[int, str], dict[int, str]]:
    """Send an ICMP echo for each TTL, twice; return who said that it expired, and who answered, by TTL."""
    address = socket.gethostbyname(host)
    ident = int.from_bytes(os.urandom(2), "big")
    hops: dict[int, str] = {}
    reached: dict[int, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        for attempt in range(2):
            for ttl in ttls:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
                sock.sendto(echo(ident, attempt << 8 | ttl), (address, 0))
            until = time.monotonic() + timeout / 2
            while not reached and (left := until - time.monotonic()) > 0:
                if select.select([sock], [], [], left)[0]:
                    note_answer(sock.recv(2048), ident, hops, reached)
            if reached:
                gather(sock, ident, hops, reached)
                break
    return hops, reached


def gather(sock: socket.socket, ident: int, hops: dict[int, str], reached: dict[int, str]) -> None:
    """Read for half a second more: the host may answer before the routers on the way."""
    until = time.monotonic() + 0.5
    while (left := until - time.monotonic()) > 0:
        if select.select([sock], [], [], left)[0]:
            note_answer(sock.recv(2048), ident, hops, reached)


def echo(ident: int, sequence: int) -> bytes:
    """Return an ICMP echo request."""
    body = struct.pack(">2H", ident, sequence) + b"labctl--"
    total = sum(struct.unpack(">%dH" % (len(body) // 2), body)) + (ECHO_REQUEST << 8)
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack(">BBH", ECHO_REQUEST, 0, ~(total + (total >> 16)) & 0xFFFF) + body


def note_answer(packet: bytes, ident: int, hops: dict[int, str], reached: dict[int, str]) -> None:
    """Note one received packet, if it answers one of our echoes."""
    icmp = packet[(packet[0] & 15) * 4 :]
    source = socket.inet_ntoa(packet[12:16])
    kind = icmp[0] if len(icmp) >= 8 else -1  # noqa: PLR2004  an ICMP header
    if kind in (TIME_EXCEEDED, UNREACHABLE) and len(icmp) >= 8 + RAW_HEADER + 8:
        inner = icmp[8:]
        icmp = inner[(inner[0] & 15) * 4 :]
        if len(icmp) >= 8 and icmp[0] == ECHO_REQUEST and struct.unpack(">H", icmp[4:6])[0] == ident:  # noqa: PLR2004  its header
            hops.setdefault(icmp[7], source)
    elif kind == ECHO_REPLY and struct.unpack(">H", icmp[4:6])[0] == ident:
        reached.setdefault(icmp[7], source)


def sntp(task: dict[str, Any]) -> dict[str, Any]:
    """Ask a time server. Code 1: no answer; 2: unknown name. `out` has offset in seconds, stratum and leap as JSON."""
    start = time.time()
    try:
        state, answer = ask_udp(task["host"], 123, udp_request(123, ""), task["timeout"])
    except socket.gaierror as exc:
        return {"code": 2, "err": str(exc)}
    end = time.time()
    if state != "open" or len(answer) < 48:  # noqa: PLR2004  an NTP header
        return {"code": 1, "err": state if state != "open" else "not NTP"}
    received, sent = (
        seconds - EPOCH_1900 + fraction / 2**32
        for seconds, fraction in (struct.unpack(">2I", answer[at : at + 8]) for at in (32, 40))
    )
    offset = ((received - start) + (sent - end)) / 2
    return {"code": 0, "out": json.dumps({"offset": offset, "stratum": answer[1], "leap": answer[0] >> 6})}


def clock(_task: dict[str, Any]) -> dict[str, Any]:
    """Ask chrony, else systemd, whether the clock follows a source; `out` has synchronised and offset as JSON."""
    try:
        said = run({"argv": ["chronyc", "-c", "-n", "tracking"], "timeout": 10})
        fields = said.get("out", "").strip().split(",")
        if said.get("code") == 0 and len(fields) >= 14:  # noqa: PLR2004  chronyc(1), tracking
            synchronised = fields[13] != "Not synchronised"
            found = {"by": "chrony", "synchronised": synchronised, "offset": float(fields[4]), "source": fields[1]}
            return {"code": 0, "out": json.dumps(found)}
    except FileNotFoundError:
        pass
    said = run({"argv": ["timedatectl", "show", "--property=NTPSynchronized", "--value"], "timeout": 15})
    if said.get("code") != 0:
        return said
    found = {"by": "systemd", "synchronised": said["out"].strip() == "yes", "offset": None}
    return {"code": 0, "out": json.dumps(found)}


def handshakes(task: dict[str, Any]) -> dict[str, Any]:
    """Return the age in seconds of the last handshake with each WireGuard peer as JSON; -1 for never."""
    said = run({"argv": ["wg", "show", task["interface"], "latest-handshakes"], "timeout": task["timeout"]})
    if said.get("code") != 0:
        return said
    pairs = [line.split() for line in said["out"].splitlines() if line.strip()]
    ages = {key: int(time.time()) - int(when) if int(when) else -1 for key, when in pairs}
    return {"code": 0, "out": json.dumps(ages)}


def snmp(task: dict[str, Any]) -> dict[str, Any]:
    """Get a value by SNMPv2c (RFC 3416). Code 0: it is in `out`; 1: no answer; 2: unknown name; 3: no such value."""
    number = int.from_bytes(os.urandom(3), "big")
    bind = tlv(0x30, tlv(0x30, tlv(0x06, pack_oid(task["oid"])) + tlv(0x05, b"")))
    pdu = tlv(0xA0, tlv(0x02, pack_int(number)) + tlv(0x02, b"\0") + tlv(0x02, b"\0") + bind)
    request = tlv(0x30, tlv(0x02, b"\x01") + tlv(0x04, task["community"].encode()) + pdu)
    try:
        state, answer = ask_udp(task["host"], task["port"], request, task["timeout"])
    except socket.gaierror as exc:
        return {"code": 2, "err": str(exc)}
    if state != "open":
        return {"code": 1, "err": state}
    _version, _community, (_kind, body) = read_tlvs(read_tlvs(answer)[0][1])
    _number, (_kind, status), _index, (_kind, binds) = read_tlvs(body)
    if int.from_bytes(status, "big"):
        return {"code": 3, "err": "error-status %d" % int.from_bytes(status, "big")}
    _oid, (kind, value) = read_tlvs(read_tlvs(binds)[0][1])
    if kind in (0x80, 0x81, 0x82):
        return {"code": 3, "err": {0x80: "noSuchObject", 0x81: "noSuchInstance", 0x82: "endOfMibView"}[kind]}
    return {"code": 0, "out": value_text(kind, value)}


def tlv(tag: int, body: bytes) -> bytes:
    """Return one BER element."""
    if len(body) < 128:  # noqa: PLR2004  the short form of a length
        return bytes([tag, len(body)]) + body
    return bytes([tag, 0x82]) + struct.pack(">H", len(body)) + body


def read_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Return the BER elements of some bytes."""
    found = []
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    return found


def pack_int(number: int) -> bytes:
    """Return a number that is not negative as BER writes it."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def pack_oid(text: str) -> bytes:
    """Return an OID as BER writes it."""
    first, second, *rest = (int(part) for part in text.split("."))
    packed = b""
    for number in (first * 40 + second, *rest):
        part = bytes([number & 0x7F])
        while number := number >> 7:
            part = bytes([0x80 | number & 0x7F]) + part
        packed += part
    return packed


def value_text(kind: int, value: bytes) -> str:
    """Return an SNMP value as text."""
    if kind == 0x40:  # noqa: PLR2004  IpAddress
        return ".".join(str(byte) for byte in value)
    if kind in (0x02, 0x41, 0x42, 0x43, 0x46, 0x47):
        return str(int.from_bytes(value, "big", signed=kind == 0x02))  # noqa: PLR2004  Integer32
    return value.decode("utf-8", "replace")
