"""What a lab reaches where the host holds it to some names: rules tried by the kernel, pins by libvirt's resolver."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from labctl.errors import HostNotReady
from labctl.hypervisor import allow_list
from labctl.hypervisor.allow_list import match_question, render_hosts, render_rules, require_program
from labctl.hypervisor.door import Hypervisor
from tests.hypervisor.descriptions import make_tag, network_xml

LAB, HOST, OUTSIDE = "lctest-inside", "lctest-host", "lctest-outside"
BRIDGE = "lctest-nat"
NAME = "allowed-name.of-a-school.example"
REFUSED = {"EHOSTUNREACH", "silent"}  # the kernel does not send as many refusals as are due: icmp(7), icmp_ratelimit
PINNED = {NAME: ("203.0.113.5",), "forgotten.example": ()}


def test_a_question_is_compared_word_by_word() -> None:
    assert match_question("a.bc") == "@th,160,48 0x01610262630"[:-1] + "00"
    assert match_question("Allowed.example") == "@th,160,128 0x07616c6c6f776564076578616d706c65 @th,288,8 0x00"


def test_entries_of_the_resolver_have_one_address_each_with_all_its_names() -> None:
    hosts = dict(
        render_hosts({"a.example": ("198.51.100.1", "198.51.100.2"), "b.example": ("198.51.100.1",), "c.example": ()})
    )
    assert {ip: [one.text for one in host] for ip, host in hosts.items()} == {
        "198.51.100.1": ["a.example", "b.example"],
        "198.51.100.2": ["a.example"],
    }


def test_a_host_without_nftables_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_words, **_options: None)
    with pytest.raises(HostNotReady) as found:
        require_program()
    assert found.value.hint == "apt install nftables"


# Three hosts: a machine of a lab, labctl's host with the rules, and what lies outside. Each is a network namespace.
KNOCK = """
import errno, json, socket, struct, sys
def knock(address, port):
    with socket.socket() as one:
        one.settimeout(3)
        try:
            one.connect((address, port))
            return "reached"
        except OSError as exc:
            return errno.errorcode.get(exc.errno, "silent")
def question(name):
    labels = b"".join(bytes([len(part)]) + part for part in name.encode().split(b".")) + b"\\0"
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", 1, 1)
def say(port, data, source=0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(3)
        one.bind(("", source))
        try:
            one.connect(("198.51.100.1", port))
            one.send(data)
            return "heard" if one.recv(600) == data else "else"
        except OSError as exc:
            return errno.errorcode.get(exc.errno, "silent")
name, subname, other = sys.argv[1:]
print(json.dumps({
    "pinned": knock("203.0.113.5", 80), "other": knock("203.0.113.6", 80),
    "host": knock("198.51.100.1", 80), "host by its other address": knock("203.0.113.1", 80),
    "name": say(53, question(name)), "name below": say(53, question(subname)), "other name": say(53, question(other)),
    "lease": say(67, b"lease", 68), "anything": say(53, b"x" * 40),
}))
"""
SERVE = """
import select, socket
ports = []
for address in ("203.0.113.5", "203.0.113.6", "198.51.100.1", "203.0.113.1"):
    try:
        ports.append(socket.create_server((address, 80)))
    except OSError:
        pass
for port in (53, 67):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("", port))
    ports.append(one)
print("ready", flush=True)
while True:
    for one in select.select(ports, [], [])[0]:
        if one.type == socket.SOCK_STREAM:
            one.accept()[0].close()
        else:
            data, source = one.recvfrom(600)
            one.sendto(data, source)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(space: str, *words: str, stdin: str = "") -> str:
    command = ["ip", "netns", "exec", space, *words]
    return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def _spaces() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces and nftables are root's")
    require_program()  # bootstrap brings it
    servers: list[subprocess.Popen[str]] = []
    try:
        for space in (LAB, HOST, OUTSIDE):
            ip("netns", "add", space)
            inside(space, "ip", "link", "set", "lo", "up")
        ip("link", "add", "lctest-a", "netns", LAB, "type", "veth", "peer", "name", "lctest-p", "netns", HOST)
        ip("link", "add", "lctest-o", "netns", HOST, "type", "veth", "peer", "name", "lctest-b", "netns", OUTSIDE)
        inside(HOST, "ip", "link", "add", BRIDGE, "type", "bridge")
        inside(HOST, "ip", "link", "set", "lctest-p", "master", BRIDGE)
        for space, link, *addresses in (
            (LAB, "lctest-a", "198.51.100.2/24"),
            (HOST, "lctest-p"),
            (HOST, BRIDGE, "198.51.100.1/24"),
            (HOST, "lctest-o", "203.0.113.1/24"),
            (OUTSIDE, "lctest-b", "203.0.113.5/24", "203.0.113.6/24"),
        ):
            for address in addresses:
                inside(space, "ip", "address", "add", address, "dev", link)
            inside(space, "ip", "link", "set", link, "up")
        inside(LAB, "ip", "route", "add", "default", "via", "198.51.100.1")
        inside(OUTSIDE, "ip", "route", "add", "default", "via", "203.0.113.1")
        inside(HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for space in (HOST, OUTSIDE):
            command = ["ip", "netns", "exec", space, sys.executable, "-c", SERVE]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            servers.append(server)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield
    finally:
        for server in servers:
            server.kill()
            server.communicate()
        for space in (LAB, HOST, OUTSIDE):
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


def knock(name: str = NAME) -> dict[str, str]:
    found: dict[str, str] = json.loads(inside(LAB, sys.executable, "-c", KNOCK, name, f"www.{name}", "other.example"))
    return found


@pytest.mark.usefixtures("_spaces")
@pytest.mark.timeout(120)
def test_the_kernel_lets_through_names_and_their_addresses_and_nothing_else() -> None:  # SEC-32
    assert set(knock().values()) <= {"reached", "heard"}, "nothing is refused before there are rules"
    rules = render_rules(BRIDGE, PINNED)
    for _turn in range(2):  # the same rules may come again
        inside(HOST, str(require_program()), "-f", "-", stdin=rules)
    found = knock()
    assert {what for what, answer in found.items() if answer in {"reached", "heard"}} == {"pinned", "name", "lease"}
    assert set(found.values()) <= {"reached", "heard", *REFUSED}
    inside(HOST, str(require_program()), "-f", "-", stdin=render_rules(BRIDGE, {}))
    nothing = knock()
    assert nothing.pop("lease") == "heard"
    assert set(nothing.values()) <= REFUSED
    inside(HOST, str(require_program()), "-f", "-", stdin=allow_list.empty_table(BRIDGE, keep=False))
    assert set(knock().values()) <= {"reached", "heard"}


NAT = """<forward mode='nat'/>
  <ip address='198.51.100.1' prefix='24'><dhcp><range start='198.51.100.10' end='198.51.100.20'/></dhcp></ip>"""
NETWORK, TAGGED = "lctest-internet", "lctest-lab"


@pytest.fixture
def system() -> Iterator[Hypervisor]:
    with Hypervisor() as hypervisor:
        yield hypervisor
        hypervisor.remove_network(NETWORK, TAGGED)


def ask_resolver(name: str) -> list[str]:
    """Return what the resolver of the network says, asked by the host itself, which no rule binds."""
    command = ["dig", "+short", "+time=3", "+tries=1", "@198.51.100.1", name]
    return sorted(subprocess.run(command, check=False, capture_output=True, text=True).stdout.split())


def tables() -> str:
    return subprocess.run([require_program(), "list", "tables"], check=True, capture_output=True, text=True).stdout


@pytest.mark.vm
@pytest.mark.timeout(120)
def test_a_running_network_is_limited_told_other_names_and_forgotten_with_its_rules(system: Hypervisor) -> None:
    system.create_network(network_xml(NETWORK, make_tag("internet", lab=TAGGED), bridge=BRIDGE, inside=NAT))
    system.limit_network(NETWORK, TAGGED, {NAME: ("203.0.113.5", "203.0.113.6"), "b.example": ("203.0.113.5",)})
    assert f"labctl-{BRIDGE}" in tables()
    assert ask_resolver(NAME) == ["203.0.113.5", "203.0.113.6"]
    assert ask_resolver("b.example") == ["203.0.113.5"]
    system.limit_network(NETWORK, TAGGED, {NAME: ("203.0.113.7",)})
    assert ask_resolver(NAME) == ["203.0.113.7"]
    assert ask_resolver("b.example") == []
    kept = subprocess.run(
        ["virsh", "--connect", "qemu:///system", "net-dumpxml", "--inactive", NETWORK],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert NETWORK in kept
    assert NAME not in kept, "the description stays as it was made"
    system.remove_network(NETWORK, TAGGED)
    assert f"labctl-{BRIDGE}" not in tables()
