"""Probes of flows and paths, against real sockets and real routers in network namespaces."""

import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from labctl.checks.agent_dhcp import OFFER, gather_offers, listen, message, option
from labctl.checks.decide import decide
from labctl.checks.model import Reply, Result
from labctl.checks.questions import ask
from tests.checks.asking import make, outcome, outcomes
from tests.links import joined_links

NTP_ADDRESS = "127.77.7.7"  # all of 127/8 is this machine; port 123 must be free there


@contextmanager
def answering(answer: Callable[[bytes], bytes | None], address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[int]:
    """Answer datagrams in a thread, and give the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(0.1)
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    data, client = sock.recvfrom(65535)
                except TimeoutError:
                    continue
                reply = answer(data)
                if reply is not None:
                    sock.sendto(reply, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            stopped.set()
            thread.join()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def udp(port: int, **more: Any) -> dict[str, Any]:
    return {"type": "udp", "to": "127.0.0.1", "port": port, **more}


def test_udp_tells_answered_from_refused_from_silent() -> None:
    with answering(lambda data: b"I got " + data) as port, answering(lambda _data: None) as silent:
        found = outcomes(
            udp(port), udp(port, send="hello", contains="I got hello"), udp(port, contains="other"), udp(silent),
            udp(free_port(socket.SOCK_DGRAM)), {"type": "udp", "to": "name.invalid", "port": 9},
        )  # fmt: skip
    assert [one.result for one in found] == [
        Result.PASSED, Result.PASSED, Result.FAILED, Result.FAILED, Result.FAILED, Result.UNKNOWN,
    ]  # fmt: skip
    assert (found[3].seen, found[4].seen) == ("no answer", "refused")


def flow(port: int, **more: Any) -> dict[str, Any]:
    return {"to": "127.0.0.1", "port": port, **more}


def matrix(**flows: Any) -> dict[str, Any]:
    return {"type": "flow", **flows}


def test_a_flow_matrix_is_decided_flow_by_flow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, answering(lambda data: data) as answered:
        is_open, closed = server.getsockname()[1], free_port()
        datagram, icmp = flow(answered, protocol="udp"), {"to": "127.0.0.1", "protocol": "icmp"}
        good, too_closed, too_open = outcomes(
            matrix(allow=[flow(is_open), datagram, icmp], deny=[flow(closed)]),
            matrix(allow=[flow(is_open), flow(closed)]),
            matrix(allow=[flow(is_open)], deny=[flow(is_open), flow(closed)]),
        )
    assert (good.result, good.seen) == (Result.PASSED, "as planned; flows that pass: 3, flows that are stopped: 1")
    assert (too_closed.result, too_closed.seen) == (Result.FAILED, f"127.0.0.1 tcp/{closed}: refused")
    assert (too_open.result, too_open.seen) == (Result.FAILED, f"127.0.0.1 tcp/{is_open}: passes")


def test_a_dead_target_does_not_prove_that_a_flow_is_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_open, closed, dead = server.getsockname()[1], free_port(), free_port()
        living, dying, elsewhere, elsewhere_dead = outcomes(
            matrix(deny=[flow(closed, alive={"port": is_open})]),
            matrix(deny=[flow(closed, alive={"port": dead})]),
            matrix(deny=[flow(closed, alive={"from": "there", "port": is_open})]),
            matrix(deny=[flow(closed, alive={"from": "there", "to": "name.invalid", "port": 1})]),
        )
    assert [living.result, dying.result] == [Result.PASSED, Result.UNKNOWN]
    assert [elsewhere.result, elsewhere_dead.result] == [Result.PASSED, Result.UNKNOWN]
    assert "shows no life" in dying.seen


def decided(probe: dict[str, Any], reply: Reply, *, negative: bool = False) -> Result:
    check = make(probe, negative=negative)
    return decide(check, ask(check), reply).result


@pytest.mark.parametrize(
    ("state", "alive", "expected"),
    [
        ("silent", None, Result.PASSED),
        ("refused", None, Result.PASSED),
        ("unreachable", None, Result.UNKNOWN),
        ("unreachable", "open", Result.PASSED),
        ("silent", "silent", Result.UNKNOWN),
        ("open", None, Result.FAILED),
        ("no-name", None, Result.UNKNOWN),
    ],
)
def test_a_stopped_flow_is_proved_by_silence_or_refusal(state: str, alive: str | None, expected: Result) -> None:
    denied = flow(22, alive={"port": 443}) if alive else flow(22)
    states = [state, alive] if alive else [state]
    assert decided(matrix(deny=[denied]), Reply(0, out=json.dumps(states))) is expected


def ip(*words: str, inside: str = "") -> None:
    command = ["ip", *(["-n", inside] if inside else []), *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def routers() -> Iterator[dict[str, str]]:
    """A client, two routers and a server in a row: 10.99.1.0/24, 10.99.2.0/24 and 10.99.3.0/24, hosts .1 and .2."""
    names = [f"lt{os.getpid()}-{number}" for number in range(4)]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", inside=name)
        for number, (left, right) in enumerate(pairwise(names), start=1):
            ip("link", "add", f"r{number}", "netns", left, "type", "veth", "peer", "name", f"l{number}", "netns", right)
            for space, card, host in ((left, f"r{number}", 1), (right, f"l{number}", 2)):
                ip("address", "add", f"10.99.{number}.{host}/24", "dev", card, inside=space)
                ip("link", "set", card, "up", inside=space)
        ip("route", "add", "default", "via", "10.99.1.2", inside=names[0])
        ip("route", "add", "10.99.3.0/24", "via", "10.99.2.2", inside=names[1])
        ip("route", "add", "10.99.1.0/24", "via", "10.99.2.1", inside=names[2])
        ip("route", "add", "default", "via", "10.99.3.1", inside=names[3])
        for name in names[1:3]:
            forward = ["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1"]
            subprocess.run(forward, check=True)
        yield {"here": names[0], "first": names[1], "second": names[2], "server": names[3]}
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def trace(*via: str, to: str = "10.99.3.2") -> dict[str, Any]:
    return {"type": "traceroute", "to": to, "via": list(via)}


def test_a_path_goes_through_the_expected_routers(routers: dict[str, str]) -> None:
    right, other, short, long, near = outcomes(
        trace("10.99.1.2", "10.99.2.2"), trace("10.99.1.2", "10.99.9.9"), trace("10.99.1.2"),
        trace("10.99.1.2", "10.99.2.2", "10.99.3.1"), trace(to="10.99.1.2"),
        spaces=routers,
    )  # fmt: skip
    assert (right.result, right.seen) == (Result.PASSED, "10.99.1.2 → 10.99.2.2 → 10.99.3.2")
    assert [one.result for one in (other, short, long)] == [Result.FAILED] * 3
    assert near.result is Result.PASSED


def test_a_path_that_ends_fails_and_a_silent_router_decides_nothing(routers: dict[str, str]) -> None:
    to_nowhere = outcome(trace("10.99.1.2", "10.99.2.2", to="10.99.2.77"), spaces=routers)
    assert to_nowhere.result is Result.FAILED
    two = trace("10.99.1.2", "10.99.2.2")
    assert decided(two, Reply(0, out="1 10.99.1.2\n2 *\n3 10.99.3.2")) is Result.UNKNOWN
    assert decided(two, Reply(1, out="1 10.99.1.2\n2 10.99.2.2")) is Result.UNKNOWN
    assert decided(two, Reply(1, out="1 10.99.1.2")) is Result.FAILED
    assert decided(two, Reply(2, err="Name or service not known")) is Result.UNKNOWN


@pytest.fixture(scope="module")
def dhcp_server(routers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dnsmasq of our own on the segment of the server, seen from the second router's card r3; gives its leases."""
    # libvirt needs it, so that `./bootstrap` installs it.
    program = shutil.which("dnsmasq")
    assert program
    leases = tmp_path_factory.mktemp("dhcp") / "leases"
    command = [
        "ip", "netns", "exec", routers["server"], program, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
        "--user=root", "--no-ping", "--interface=l3", "--bind-interfaces",
        "--dhcp-range=10.99.3.50,10.99.3.60,255.255.255.0,1h",
        "--dhcp-option=3,10.99.3.1", "--dhcp-option=6,10.99.3.2", f"--dhcp-leasefile={leases}", "--pid-file=",
    ]  # fmt: skip
    server = subprocess.Popen(command, stderr=subprocess.PIPE)
    time.sleep(0.3)
    try:
        yield leases
    finally:
        server.terminate()
        server.communicate()


def dhcp(**more: Any) -> dict[str, Any]:
    return {"type": "dhcp", "interface": "r3", **more}


def test_a_server_offers_an_address_with_its_options(routers: dict[str, str], dhcp_server: Path) -> None:
    spaces = {"here": routers["second"]}
    before = subprocess.run(["ip", "-4", "-n", routers["second"], "address"], capture_output=True, check=True).stdout
    good, *bad = outcomes(
        dhcp(first="10.99.3.50", last="10.99.3.60", router="10.99.3.1", dns=["10.99.3.2"], server="10.99.3.2"),
        dhcp(last="10.99.3.49"), dhcp(router="10.99.3.254"), dhcp(dns=["10.99.3.3"]), dhcp(server="10.99.3.254"),
        spaces=spaces,
    )  # fmt: skip
    assert (good.result, good.output) == (Result.PASSED, good.output), good
    assert [one.result for one in bad] == [Result.FAILED] * 4
    assert (
        subprocess.run(["ip", "-4", "-n", routers["second"], "address"], capture_output=True, check=True).stdout
        == before
    )
    assert dhcp_server.read_text() == ""


def test_a_lease_is_taken_and_given_back(routers: dict[str, str], dhcp_server: Path) -> None:
    found = outcome(dhcp(lease=True), spaces={"here": routers["second"]})
    assert found.result is Result.PASSED, found
    until = time.monotonic() + 5
    while dhcp_server.read_text() and time.monotonic() < until:
        time.sleep(0.1)
    assert dhcp_server.read_text() == ""


def test_no_server_is_a_failure_and_no_card_is_no_answer(routers: dict[str, str]) -> None:
    none, absent = outcomes(
        {"type": "dhcp", "interface": "r2"}, {"type": "dhcp", "interface": "eth9"}, spaces={"here": routers["first"]}
    )
    assert [none.result, absent.result] == [Result.FAILED, Result.UNKNOWN]


def frame(source: int, target: int, data: bytes) -> bytes:
    """Return a UDP datagram in an Ethernet frame to a MAC that no card has."""
    segment = struct.pack(">4H", source, target, 8 + len(data), 0) + data
    head = struct.pack(">2B3H2BH", 0x45, 0, 20 + len(segment), 0, 0, 64, 17, 0) + bytes([10, 99, 3, 2]) + b"\xff" * 4
    return b"\x02labct" + b"\x02serve" + b"\x08\x00" + head + segment


def test_an_offer_is_found_behind_what_a_busy_machine_hears_besides_and_after_its_time() -> None:
    """An emulated processor runs the agent's other tasks first: this one may come back when its time is over."""
    number, mac = b"1234", b"\x02abcde"
    with joined_links("lcd-a", "lcd-b"), listen("lcd-a") as here:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as there:
            there.bind(("lcd-b", 0))
            for _turn in range(3000):
                there.send(frame(445, 50000, bytes(1200)))
            there.send(frame(67, 68, message(OFFER, mac, number, option(54, bytes([10, 99, 3, 2])))))
        (offer,) = gather_offers(here, number, OFFER, 0.0)
    assert offer["server"] == "10.99.3.2"


def ntp_answer(offset: float, stratum: int = 2, leap: int = 0) -> Callable[[bytes], bytes]:
    def answer(_data: bytes) -> bytes:
        now = struct.pack(">2I", int(time.time() + offset) + 2208988800, int((time.time() + offset) % 1 * 2**32))
        return bytes([leap << 6 | 0x24, stratum]) + bytes(30) + now + now

    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ntp_answer(0), Result.PASSED),
        (ntp_answer(400), Result.FAILED),
        (ntp_answer(0, stratum=16), Result.FAILED),
        (ntp_answer(0, leap=3), Result.FAILED),
        (lambda _data: b"x", Result.FAILED),
    ],
)
def test_a_time_server_is_asked(answer: Callable[[bytes], bytes], expected: Result) -> None:
    with answering(answer, (NTP_ADDRESS, 123)):
        assert outcome({"type": "ntp", "server": NTP_ADDRESS}).result is expected


def clock(**facts: Any) -> Reply:
    return Reply(0, out=json.dumps({"by": "chrony", "synchronised": True, "offset": 0.002} | facts))


WIREGUARD = {"type": "vpn", "tunnel": "wireguard", "name": "wg0", "peer": "KEY="}
IPSEC = {"type": "vpn", "tunnel": "ipsec", "name": "site"}
SAS = "site: #1, ESTABLISHED, IKEv2, 1f_i* 2a_r\n  net: #2, reqid 1, INSTALLED, TUNNEL, ESP:AES_GCM_16-256\n"
RECORDED = [
    ({"type": "ntp"}, clock(), Result.PASSED),
    ({"type": "ntp"}, clock(offset=-2.5), Result.FAILED),
    ({"type": "ntp"}, clock(synchronised=False), Result.FAILED),
    ({"type": "ntp"}, clock(by="systemd", offset=None), Result.PASSED),
    ({"type": "ntp"}, Reply(1, err="Failed to connect to bus"), Result.UNKNOWN),
    (WIREGUARD, Reply(0, out='{"KEY=": 30}'), Result.PASSED),
    (WIREGUARD, Reply(0, out='{"KEY=": 4000}'), Result.FAILED),
    (WIREGUARD, Reply(0, out='{"KEY=": -1}'), Result.FAILED),
    (WIREGUARD, Reply(0, out='{"OTHER=": 3}'), Result.FAILED),
    (WIREGUARD, Reply(1, err="Unable to access interface: No such device"), Result.FAILED),
    (WIREGUARD, Reply(1, err="Unable to access interface: Operation not permitted"), Result.UNKNOWN),
    (WIREGUARD, Reply(error="not installed: wg"), Result.UNKNOWN),
    (IPSEC, Reply(0, out=SAS), Result.PASSED),
    (IPSEC, Reply(0, out=SAS.splitlines()[0]), Result.FAILED),
    (IPSEC, Reply(0, out="site: #1, CONNECTING, IKEv2"), Result.FAILED),
    (IPSEC, Reply(0), Result.FAILED),
    (IPSEC, Reply(2, err="connecting to 'default' URI failed: No such file or directory"), Result.FAILED),
]


@pytest.mark.parametrize(("probe", "reply", "expected"), RECORDED)
def test_what_programs_print_is_judged(probe: dict[str, Any], reply: Reply, expected: Result) -> None:
    assert decided(probe, reply) is expected
