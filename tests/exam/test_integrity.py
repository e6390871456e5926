"""Isolation is proven by what did not answer and by a mark that was seen where it belongs, and nowhere else."""

import json
import re
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from labctl.errors import LabctlError
from labctl.exam.integrity import (
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
from labctl.exam.isolation import Ear, listen, own_links, probe, read_gateways, view_host, zones_before_start
from tests.links import joined_links
from tests.worlds import plan

HOST = HostView(
    addresses=("10.1.2.3", "192.168.50.7"),
    networks=(IPv4Network("10.1.2.0/24"),),
    gateways=("10.1.2.1",),
    ports=(22, 8443),
)
OWN = (IPv4Network("192.168.50.0/24"),)
TARGETS = (Target(Zone.HOST, "10.1.2.3", 22), Target(Zone.INTERNET, "1.1.1.1", 443))
BRIDGES = frozenset({"lcaa", "vnet1"})


def isolation(
    reached: dict[str, str] | None = None, heard: frozenset[str] = BRIDGES, error: str = "", *, listening: bool = True
) -> Isolation:
    answers = {"web": Answers(reached or {}, ("ens1",), error)}
    return Isolation(TARGETS, answers, {"web": heard}, BRIDGES, listening=listening)


def test_targets_are_all_that_is_not_the_labs_own() -> None:
    found = find_targets(HOST, OWN, {"internet": "198.18.0.1"})
    said = {(one.zone, one.address, one.port) for one in found}
    assert (Zone.HOST, "10.1.2.3", 22) in said
    assert (Zone.HOST, "10.1.2.3", 8443) in said
    assert (Zone.HOST, "198.18.0.1", 22) in said
    assert (Zone.SCHOOL, "10.1.2.1", 0) in said
    assert (Zone.SCHOOL, "10.1.2.2", 0) in said  # somebody beside the host
    assert (Zone.MANAGEMENT, "fe80::1", 22) in said
    assert any(zone is Zone.INTERNET for zone, _address, _port in said)
    # In the lab, this address is one of its own machines'.
    assert not any(address == "192.168.50.7" for _zone, address, _port in said)
    assert len(found) == len(said)


def test_a_lab_that_reaches_nothing_and_is_heard_at_home_is_apart() -> None:
    proof = judge_isolation(isolation())
    assert proof.holds is True
    assert proof.facts["machines"] == 1


@pytest.mark.parametrize("answer", ["reached", "refused"])
def test_what_answers_is_reached_even_where_it_refuses(answer: str) -> None:
    proof = judge_isolation(isolation({"10.1.2.3|22": answer}))
    assert proof.holds is False
    assert "10.1.2.3:22" in proof.reason


def test_zones_whose_links_are_still_up_may_answer_before_the_start() -> None:
    found = isolation({"10.1.2.3|22": "reached"})
    assert judge_isolation(found, zones_before_start(has_internet=True)).holds is True
    assert judge_isolation(found, zones_before_start(has_internet=False)).holds is False


def test_a_mark_on_a_link_of_somebody_else_is_a_leak() -> None:
    proof = judge_isolation(isolation(heard=BRIDGES | {"eth0", "lcbb"}))
    assert proof.holds is False
    assert "eth0, lcbb" in proof.reason


def test_what_was_not_seen_asked_or_listened_to_proves_nothing() -> None:
    for found in (isolation(heard=frozenset()), isolation(error="no agent"), isolation(listening=False)):
        proof = judge_isolation(found)
        assert proof.holds is None
        assert proof.reason


def test_many_reasons_are_counted() -> None:
    targets = tuple(Target(Zone.HOST, "10.1.2.3", port) for port in range(1, 20))
    reached = {f"10.1.2.3|{one.port}": "reached" for one in targets}
    found = Isolation(targets, {"web": Answers(reached, ("ens1",))}, {"web": BRIDGES}, BRIDGES)
    assert "15" in judge_isolation(found).reason


@pytest.mark.parametrize(
    "output",
    [b"", b"[]", b"{}", b"null", b'{"answers": 3, "sent": []}', b'{"answers": {}, "sent": 3}', b"[" * 9999, b"\xff"],
)
def test_a_machine_may_print_anything(output: bytes) -> None:
    assert read_answers(output).error


def test_answers_are_taken_for_no_more_than_they_are() -> None:
    found = read_answers(json.dumps({"answers": {"a|1": "reached", "b|2": "rm -rf"}, "sent": ["x" * 99]}).encode())
    assert found.reached == {"a|1": "reached"}
    assert found.sent == ("x" * 15,)


def test_the_program_of_the_machines_knocks_for_real() -> None:
    with socket.socket() as server, socket.socket() as closed:
        server.bind(("127.0.0.1", 0))
        server.listen()
        closed.bind(("127.0.0.1", 0))
        here, there = server.getsockname()[1], closed.getsockname()[1]
        targets = [Target(Zone.HOST, "127.0.0.1", port) for port in (here, there)]
        program = make_program(targets, "labctl-test")
        done = subprocess.run([sys.executable, "-I", "-S", "-"], input=program, capture_output=True, check=True)
    found = read_answers(done.stdout)
    assert found.reached == {f"127.0.0.1|{here}": "reached", f"127.0.0.1|{there}": "refused"}


class Lab:
    """Machines that are where this process is; one of them cannot be asked."""

    def look(self, node: str, targets: Sequence[Target], mark: str) -> bytes:
        if node == "dead":
            raise LabctlError("switched off")
        program = make_program(targets, mark)
        return subprocess.run([sys.executable, "-I", "-S", "-"], input=program, capture_output=True, check=True).stdout


class Hearing:
    def __init__(self, links: Sequence[str]) -> None:
        self.links = frozenset(links)
        self.marks: list[str] = []

    def heard(self, mark: str) -> frozenset[str]:
        self.marks.append(mark)
        return self.links


def test_all_machines_are_asked_each_with_a_mark_of_its_own() -> None:
    ear = Hearing(["lcaa"])
    found = probe(Lab(), ["web", "fw", "dead"], Isolation((), {}, {}, BRIDGES), lambda: nullcontext(ear))
    assert len(set(ear.marks)) == 3
    assert found.answers["dead"].error == "switched off"
    assert judge_isolation(found).holds is None
    assert not found.answers["web"].error


def test_a_host_that_may_not_listen_says_so() -> None:
    @contextmanager
    def deaf() -> Iterator[Ear | None]:
        yield None

    assert probe(Lab(), ["web"], Isolation((), {}, {}, BRIDGES), deaf).listening is False


def test_a_mark_is_heard_on_the_links_that_it_passes() -> None:
    """Two real links that are joined, and a third one that is not."""
    with joined_links("lct-a", "lct-b"), listen() as ear, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        assert ear is not None
        one.bind(("lct-a", 0))
        one.send(b"\xff" * 6 + one.getsockname()[4] + b"\x88\xb5" + b"labctl-mark".ljust(60, b"\0"))
        one.send(b"\xff" * 6 + one.getsockname()[4] + b"\x08\x00" + b"labctl-other".ljust(60, b"\0"))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as two:  # as Windows machines do
            two.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("lct-a"))
            until = time.monotonic() + 15
            for mark, port in (("labctl-udp", MARK_PORT), ("labctl-port", MARK_PORT + 1)):
                while not is_sent(two, mark, port):
                    assert time.monotonic() < until
                    time.sleep(0.2)
        assert ear.heard("labctl-mark") == {"lct-a", "lct-b"}
        assert ear.heard("labctl-udp") == {"lct-a", "lct-b"}
        assert ear.heard("labctl-port") == frozenset()
        assert ear.heard("labctl-other") == frozenset()


def is_sent(sender: socket.socket, mark: str, port: int) -> bool:
    """Return whether a mark was sent to all nodes; a new link has no address of its own for a second or two."""
    try:
        return sender.sendto(mark.encode(), ("ff02::1", port)) == len(mark)
    except OSError:
        return False


def test_a_windows_machine_is_told_the_same_by_its_own_program() -> None:
    script = b64decode(make_script(TARGETS, "labctl-mark")).decode()
    tree = Parser(Language(tree_sitter_powershell.language())).parse(script.encode())
    assert not tree.root_node.has_error
    line, rest = script.split("\n", 1)
    found = re.fullmatch(r"\$told = '([A-Za-z0-9+/=]+)'", line)
    assert found
    told = json.loads(b64decode(found[1]))
    assert told["targets"] == [{"address": "10.1.2.3", "port": 22}, {"address": "1.1.1.1", "port": 443}]
    assert (told["mark"], told["port"]) == ("labctl-mark", MARK_PORT)
    assert set(re.findall(r"\$wanted\.(\w+)", rest)) == set(told)


def test_a_labs_own_links_are_its_bridges_and_their_ports(tmp_path: Path) -> None:
    layout = plan()
    bridge = layout.networks[0].bridge
    (tmp_path / bridge / "brif" / "vnet7").mkdir(parents=True)
    (tmp_path / "lcother" / "brif" / "vnet8").mkdir(parents=True)
    assert own_links(layout, tmp_path) == {*(one.bridge for one in layout.networks), "vnet7"}


def test_the_host_is_looked_at(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t0102010A\t0003\t0\t0\t0\t00000000\n"
        "eth0\t0002010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
    )
    assert read_gateways(routes) == ("10.1.2.1",)
    assert view_host(routes).networks == (IPv4Network("10.1.2.0/24"),)
    assert read_gateways(tmp_path / "nothing") == ()
