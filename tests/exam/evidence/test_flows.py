"""Frames are counted as flows, within limits, and what was counted outlives the process that did."""

import json
import os
import socket
import struct
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from labctl.exam.audit import Act, Step
from labctl.exam.evidence.capture import FlowWatch, open_bridge
from labctl.exam.evidence.flows import FlowTable, read_frame
from labctl.exam.evidence.watching import find_bridges, watch_flows
from labctl.monitor import Silent
from tests.exam.papers import GOOD, SCENARIO
from tests.exam.sessions import HandClock, make_session
from tests.lab.doubles import World, make_place
from tests.topology.known import known

WEB, OUT = "198.18.0.2", "203.0.113.9"


def ipv4(source: str, target: str, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0,
        ip_address(source).packed, ip_address(target).packed,
    )  # fmt: skip
    return bytes(12) + b"\x08\x00" + head + payload


def tcp(mine: int, theirs: int, flags: int) -> bytes:
    return struct.pack(">HHIIBBHHH", mine, theirs, 0, 0, 0x50, flags, 0, 0, 0)


def question(name: str) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return struct.pack(">HHHH", 40000, 53, 0, 0) + bytes(12) + labels + bytes(5)


def test_both_ways_are_one_flow() -> None:
    table = FlowTable()
    table.add(ipv4(WEB, OUT, 6, tcp(40000, 443, 2)), 74, 1.0)
    table.add(ipv4(OUT, WEB, 6, tcp(443, 40000, 0x12)), 74, 1.5)
    table.add(ipv4(WEB, OUT, 6, tcp(40000, 443, 0x10)), 66, 2.0)
    (row,) = json.loads(json.dumps(table.dump()))["flows"]
    assert row == {
        "protocol": "tcp", "from": WEB, "from_port": 40000, "to": OUT, "to_port": 443, "first": 1.0, "last": 2.0,
        "sent": 2, "sent_bytes": 140, "received": 1, "received_bytes": 74, "name": "",
    }  # fmt: skip


def test_names_that_were_asked_are_kept() -> None:
    table = FlowTable()
    table.add(ipv4(WEB, "198.18.0.1", 17, question("www.example.org")), 90, 1.0)
    assert [flow.name for flow in table.flows.values()] == ["www.example.org"]


def test_other_protocols_tags_and_fragments() -> None:
    six = bytes(12) + b"\x86\xdd" + b"\x60" + bytes(5) + b"\x3a\x40" + ip_address("fe80::1").packed * 2 + bytes(8)
    tagged = ipv4(WEB, OUT, 1, bytes(8))
    tagged = tagged[:12] + b"\x81\x00\x00\x05" + tagged[12:]
    arp = bytes(12) + b"\x08\x06" + bytes(14) + ip_address(WEB).packed + bytes(6) + ip_address(OUT).packed
    keys = [read_frame(frame) for frame in (six, tagged, arp, ipv4(WEB, OUT, 17, b"rest", fragment=100))]
    assert [one and one.key[0] for one in keys] == ["icmp6", "icmp", "arp", "udp"]
    assert keys[3] is not None
    assert keys[3].key[2] == 0


@pytest.mark.parametrize("length", range(0, 60, 3))
def test_frames_that_are_cut_do_no_harm(length: int) -> None:
    table = FlowTable()
    table.add(ipv4(WEB, OUT, 6, tcp(1, 2, 2))[:length], length, 1.0)
    table.add(os.urandom(length), length, 1.0)


def test_a_scan_of_ports_has_a_limit_and_is_counted() -> None:
    table = FlowTable(most=10)
    for port in range(50):
        table.add(ipv4(WEB, OUT, 6, tcp(40000, port, 2)), 60, float(port))
    assert (len(table.flows), table.packets, table.left_out) == (10, 50, 40)


def watch_once(path: Path, frames: list[bytes]) -> dict[str, object]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with FlowWatch({path: "lcbridge"}, lambda _bridge: ours):
        for frame in frames:
            theirs.send(frame)
        time.sleep(0.3)
    theirs.close()
    found: dict[str, object] = json.loads(path.read_bytes())
    return found


def test_what_was_counted_before_a_crash_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "flows" / "001.json"
    frame = ipv4(WEB, OUT, 6, tcp(40000, 443, 2)) + bytes(400)  # longer than what is looked at
    assert watch_once(path, [frame])["packets"] == 1
    found = watch_once(path, [frame, ipv4(WEB, OUT, 17, question("a.example"))])
    assert found["packets"] == 3
    rows = found["flows"]
    assert isinstance(rows, list)
    assert [row["sent"] for row in rows] == [2, 1]
    assert rows[0]["sent_bytes"] == 2 * len(frame)
    path.write_bytes(b"{")
    assert watch_once(path, [frame])["packets"] == 1


def test_a_network_that_cannot_be_watched_is_told(tmp_path: Path) -> None:
    watch = FlowWatch({tmp_path / "001.json": "lcnothing0"})
    assert "lcnothing0" in watch.unseen[tmp_path / "001.json"]


def test_a_real_link_is_watched(tmp_path: Path) -> None:
    try:
        open_bridge("lo").close()
    except PermissionError:
        pytest.skip("only root may open a packet socket")
    with FlowWatch({tmp_path / "lo.json": "lo"}), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _turn in range(3):
            sender.sendto(b"x" * 1000, ("127.0.0.1", 9))
        time.sleep(0.3)
    rows = json.loads((tmp_path / "lo.json").read_bytes())["flows"]
    (found,) = [row for row in rows if row["protocol"] == "udp" and row["to_port"] == 9]
    assert found["sent"] >= 3
    assert found["sent_bytes"] >= 3 * 1028


def test_the_bridges_of_a_session_under_way_are_found(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock(), 2)
    place = replace(make_place(tmp_path, World()), catalogue=known())
    for source, name in ((GOOD, "exam.yml"), (SCENARIO, SCENARIO.name)):
        text = source.read_text(encoding="utf-8")
        outside = "networks:\n  outside: {kind: internet}\n"
        (session.papers / name).write_text(text.replace("networks:\n", outside), encoding="utf-8")
    assert find_bridges(place, session, tmp_path) == {}  # nothing has begun
    with session.writing() as log:
        for step in (Act.PREPARE, Act.SEAL, Act.OPEN):
            log.add(step, Step.DONE)
        log.add(Act.START, Step.DONE, "001", phase="practical")
    found = find_bridges(place, session, tmp_path)
    assert [path.name for path in found] == ["c001.outside.json", "c002.outside.json"]
    assert len(set(found.values())) == 2
    with session.writing() as log:
        log.add(Act.CLOSE, Step.DONE, "001")
    assert [path.name for path in find_bridges(place, session, tmp_path)] == ["c002.outside.json"]
    off = (session.papers / "exam.yml").read_text().replace("evidence:\n", "evidence:\n  flows: false\n")
    (session.papers / "exam.yml").write_text(off)
    assert find_bridges(place, session, tmp_path) == {}
    with watch_flows(place, session, tmp_path, Silent()):
        pass
