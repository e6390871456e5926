"""Checks from the host: real peers on this machine and beyond a link of its own, asked without root's rights."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from labctl.checks.kinds import KINDS
from labctl.checks.model import Outcome, Result
from labctl.checks.questions import ask
from labctl.cli.checks import choose_checks
from labctl.cli.labs import choose_nodes
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.rebooting import concerned_nodes
from labctl.lab.vantage import NOBODY, run_here
from labctl.monitor import Silent
from labctl.report.expected import describe_expected
from labctl.ssh import Answer, Login
from labctl.topology.load import load_topology
from labctl.topology.probes import HOST, HOST_KEYS, kind_name
from tests.checks.asking import make
from tests.checks.test_lies import EXAMPLES
from tests.checks.test_messages import dovecot, mail_server, postfix
from tests.checks.test_names import snmp_agent
from tests.checks.test_network import NTP_ADDRESS, answering, ntp_answer
from tests.lab.doubles import World, make_place
from tests.lab.test_rebooting import small
from tests.lab.test_up import SMALL, up
from tests.worlds import catalogue

SPACE, NEAR, FAR = "t-vantage", "t-vantage0", "t-vantage1"

# A page on port 8080 and an echo of datagrams on port 9000, over IPv6 as on a management link.
PEER = """
import http.server, socket, threading
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"asked for " + self.headers["Host"].encode())
echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
echo.bind(("::", 9000))
threading.Thread(target=lambda: [echo.sendto(*echo.recvfrom(999)) for _turn in iter(int, 1)], daemon=True).start()
server = Server(("::", 8080), Page)
print("ready", flush=True)
server.serve_forever()
"""


class Nobody:
    """Guests that nothing may be asked of: a check from the host needs no login."""

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes, deadline: float) -> Answer:
        raise NotImplementedError


def found(address: str, *probes: dict[str, Any], negative: bool = False) -> list[Outcome]:
    """Return what comes of probes from the host of a node `web` that has this address."""
    prober = SshProber(Nobody(), {"web": Login("web", address, Path(), Path())})
    checks = [make(probe, id=f"n{number}", origin=HOST, negative=negative) for number, probe in enumerate(probes)]
    return list(run_checks(checks, prober, Silent()))


def results(address: str, *probes: dict[str, Any], negative: bool = False) -> list[Result]:
    return [one.result for one in found(address, *probes, negative=negative)]


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """The address of a machine behind a link with nothing but link-local addresses, as a management link is."""

    def ip(*words: str) -> str:
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout

    ip("netns", "add", SPACE)
    peer = None
    try:
        ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", SPACE)
        for place, link, address in ((["-n", SPACE], FAR, "fe80::2/64"), ([], NEAR, "fe80::3/64")):
            ip(*place, "address", "add", address, "dev", link, "nodad")
            ip(*place, "link", "set", link, "up")
        command = ["ip", "netns", "exec", SPACE, sys.executable, "-c", PEER]
        peer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert peer.stdout
        assert peer.stdout.readline() == b"ready\n"
        yield f"fe80::2%{NEAR}"
    finally:
        if peer:
            peer.kill()
            peer.communicate()
        subprocess.run(["ip", "netns", "delete", SPACE], check=False, capture_output=True)


def program(name: str, otherwise: Result) -> Result:
    """Return what is expected where this host has a program, and that nothing could be checked where it has not."""
    return otherwise if shutil.which(name) else Result.UNKNOWN


def test_a_node_is_asked_on_its_link(node: str) -> None:
    page = {"type": "http", "url": "http://web:8080/x"}
    assert results(
        node,
        {"type": "tcp", "to": "web", "port": 8080}, {"type": "tcp", "to": "web", "port": 8081},
        {"type": "udp", "to": "web", "port": 9000, "send": "hello", "contains": "hello"},
        {"type": "udp", "to": "web", "port": 9001},
        {"type": "ping", "to": "web"},
        {**page, "contains": "asked for [fe80::2]:8080"}, {**page, "status": 404}, {**page, "url": "http://web/"},
        {"type": "dns", "server": "web", "name": "x.example"},
    ) == [
        Result.PASSED, Result.FAILED, Result.PASSED, Result.FAILED, program("ping", Result.PASSED),
        program("curl", Result.PASSED), program("curl", Result.FAILED), program("curl", Result.FAILED),
        program("dig", Result.FAILED),
    ]  # fmt: skip


def test_a_forbidden_flow_is_seen_both_ways(node: str) -> None:
    probes = [{"type": "tcp", "to": "web", "port": port} for port in (8080, 8081)]
    assert results(node, *probes, negative=True) == [Result.FAILED, Result.PASSED]


def test_the_other_kinds_are_asked_too() -> None:
    names = {"type": "smtp", "server": "web", "sender": "a@lab.example"}
    imap = {"type": "imap", "server": "web", "user": "alice"}
    with (
        mail_server("220 lab", postfix) as mail,
        mail_server("* OK ready", dovecot) as box,
        answering(snmp_agent) as port,
    ):
        snmp = {"type": "snmp", "to": "web", "port": port, "community": "lab"}
        assert results(
            "127.0.0.1",
            {**names, "port": mail, "recipient": "b@lab.example"},
            {**names, "port": mail, "recipient": "b@other.example"},
            {**imap, "port": box, "password": "right"}, {**imap, "port": box, "password": "wrong"},
            snmp, {**snmp, "contains": "edge"},
        ) == [Result.PASSED, Result.FAILED] * 3  # fmt: skip
    for offset, expected in ((0, Result.PASSED), (400, Result.FAILED)):
        with answering(ntp_answer(offset), (NTP_ADDRESS, 123)):
            assert results(NTP_ADDRESS, {"type": "ntp", "server": "web"}) == [expected]


def test_a_lab_that_does_not_run_decides_nothing() -> None:
    probes: list[dict[str, Any]] = [{"type": "tcp", "to": "web", "port": 80}, {"type": "http", "url": "http://web/"}]
    for negative in (False, True):
        unknown = found("fe80::2%t-absent", *probes, negative=negative)
        assert [one.result for one in unknown] == [Result.UNKNOWN] * 2
        assert "t-absent" in unknown[0].seen


def test_the_program_has_nobodys_rights(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    code = f"""
import json, os
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
try:
    read = open({str(secret)!r}).read()
except OSError as exc:
    read = type(exc).__name__
ids = sorted({{*os.getresuid(), *os.getresgid(), *os.getgroups()}})
print(json.dumps([ids, int(status["CapEff"], 16), int(status["CapPrm"], 16), read, os.getcwd(), sorted(os.environ)]))
"""
    ids, effective, permitted, read, folder, environment = json.loads(run_here(code.encode(), 20).stdout)
    root = os.geteuid() == 0
    assert (effective, permitted, folder) == (0, 0, "/")
    assert ids == [NOBODY] if root else os.geteuid() in ids
    assert read == ("PermissionError" if root else "x")
    assert set(environment) <= {"LC_CTYPE"}, "Python's own"


def test_a_program_that_hangs_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        run_here(b"import time; time.sleep(60)", 0.5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_only_what_is_listed_is_asked_by_the_host(kind: type) -> None:
    check = make(EXAMPLES[kind.__name__], origin=HOST)
    if kind in HOST_KEYS:
        task = ask(check, "", lambda _node: "fe80::2%link").task
        assert task["do"] in {"run", "tcp", "udp", "sntp", "snmp", "smtp", "imap"}
        words = task.get("argv", ["ping"])
        assert isinstance(words, list)
        assert words[0] in ("ping", "curl", "dig")
    else:
        with pytest.raises(KeyError):
            ask(check)


def test_the_keys_of_the_list_are_keys_of_the_models_and_lead_to_no_file() -> None:
    for kind, keys in HOST_KEYS.items():
        assert set(keys) <= set(kind.model_fields)
        assert not [key for key in keys if key.endswith(("file", "path", "authority"))], kind
        assert kind_name(kind) == make(EXAMPLES[kind.__name__]).probe.type
        assert all(not field.is_required() for key, field in kind.model_fields.items() if key not in {*keys, "type"})


def test_what_validation_would_refuse_is_left_out_of_the_question() -> None:
    """The list decides once more when a question is made."""
    check = make({"type": "smtp", "server": "web", "user": "u", "password_file": "/etc/shadow"}, origin=HOST)
    assert ask(check).task["password_file"] == ""


@pytest.mark.parametrize("name", ["-f/etc/passwd", "@192.0.2.1", "+trace"])
def test_a_name_that_is_looked_up_is_no_option(name: str) -> None:
    for probe in ({"type": "dns", "name": name}, {"type": "zone_transfer", "zone": name}):
        words = ask(make({**probe, "server": "web"}, origin=HOST)).task["argv"]
        assert isinstance(words, list)
        assert words[words.index(name) - 1] == "-q"


def test_evidence_shows_the_address_and_sheets_the_name(node: str) -> None:
    (one,) = found(node, {"type": "tcp", "to": "web", "port": 8080})
    assert one.command == f"nc -vz -w 5 {node} 8080"
    assert (one.to_dict("en")["from"], one.check.node) == ("host", "web")
    assert "web" in describe_expected(one.check, "en")


def test_the_node_that_the_host_asks_is_rebooted() -> None:
    topology = small()
    for probe in ({"type": "http", "url": "http://desk:80/x"}, {"type": "snmp", "to": "desk"}):
        assert concerned_nodes([make(probe, origin=HOST, after_reboot=True)], topology) == ["desk"]


@pytest.mark.parametrize(
    "url", ["http://web@127.0.0.1/", "http://127.0.0.1/#web", "http://web:80@127.0.0.1/", "http://x"]
)
def test_nothing_in_a_url_leads_elsewhere(url: str) -> None:
    argv = ask(make({"type": "http", "url": url}, origin=HOST), "", lambda _node: "192.0.2.9").task["argv"]
    assert isinstance(argv, list)
    assert argv[-1] == "http://192.0.2.9"


def from_host(folder: Path, port: int) -> Path:
    """Return the small lab with its ready check asked by the host, of a port of the server."""
    text = SMALL.read_text(encoding="utf-8")
    for old, new in (("from: desk", "from: host"), ("to: 10.0.0.1, port: 22", f"to: server, port: {port}")):
        assert old in text
        text = text.replace(old, new)
    file = folder / "from-host.yml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_node_is_ready_once_the_host_sees_it(tmp_path: Path) -> None:
    """The node that is asked is held back, no other one; then its link is there, and a port of it open."""
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        source = from_host(tmp_path, server.getsockname()[1])
        place = make_place(tmp_path / "without", World())
        plan, result = up(place, source=source)
        assert result.ready(plan) == ("desk",)
        assert "does not run" in result.failures["server"].message
        address, _percent, link = plan.node("server").address.partition("%")
        subprocess.run(["ip", "link", "add", link, "type", "bridge"], check=True)
        try:
            subprocess.run(["ip", "address", "add", f"{address}/64", "dev", link, "nodad"], check=True)
            subprocess.run(["ip", "link", "set", link, "up"], check=True)
            plan, result = up(make_place(tmp_path / "with", World()), source=source)
            assert result.ready(plan) == ("server", "desk")
        finally:
            subprocess.run(["ip", "link", "delete", link], check=True)


def test_checks_from_the_host_are_chosen_by_its_name(tmp_path: Path) -> None:
    topology = load_topology(from_host(tmp_path, 80), catalogue())
    assert [one.id for one in choose_checks(topology, "host", "")] == ["reach"]
    assert choose_checks(topology, "server", "") == []
    with pytest.raises(click.BadParameter):
        choose_nodes(topology, "host")  # it is no machine to configure or reset
