"""Probes of certificates, SNMP values and zones: real TLS servers, a small SNMP agent, what dig prints."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from labctl.checks.agent_messages import certificate, smtp
from labctl.checks.agent_network import pack_oid, read_tlvs, tlv
from labctl.checks.decide import decide
from labctl.checks.model import Reply, Result
from labctl.checks.questions import ask
from tests.checks.asking import make, outcome, outcomes
from tests.checks.test_network import answering, decided

DAYS = 30
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
NAME = "www.lab.example"


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def issue(folder: Path, name: str, days: int, names: str) -> None:
    """Make NAME.pem, a certificate of the folder's authority, with its key in NAME.key."""
    openssl(folder, "req", *KEY, "-keyout", f"{name}.key", "-out", "x.csr", "-subj", "/CN=x")
    (folder / "x.ext").write_text(f"subjectAltName={names}\n")
    openssl(
        folder, "x509", "-req", "-in", "x.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", str(days),
        "-extfile", "x.ext", "-out", f"{name}.pem",
    )  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a good certificate, one for another name and one that lasts two days."""
    folder = tmp_path_factory.mktemp("authority")
    openssl(
        folder, "req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.pem",
        "-days", "100", "-subj", "/CN=Lab authority",
    )  # fmt: skip
    issue(folder, "good", DAYS, f"DNS:{NAME}")
    issue(folder, "other", DAYS, "DNS:other.lab.example")
    issue(folder, "short", 2, f"DNS:{NAME}")
    return folder


@contextmanager
def tls_server(folder: Path, name: str) -> Iterator[int]:
    """Show a certificate to whoever connects, and give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stopped = threading.Event()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    plain, _address = server.accept()
                    with plain, context.wrap_socket(plain, server_side=True) as sock:
                        sock.recv(1)
                except OSError:
                    continue  # nobody came, or they did not like the certificate

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            thread.join()


def shown(port: int, folder: Path, **more: Any) -> dict[str, Any]:
    authority = str(folder / "ca.pem")
    return {"type": "certificate", "name": NAME, "server": "127.0.0.1", "port": port, "authority": authority, **more}


def test_a_servers_certificate_is_verified(authority: Path) -> None:
    with (
        tls_server(authority, "good") as good,
        tls_server(authority, "other") as other,
        tls_server(authority, "short") as short,
    ):
        found = outcomes(
            shown(good, authority), shown(good, authority, days=DAYS + 1), shown(other, authority),
            shown(short, authority, days=14), shown(short, authority),
            {**shown(good, authority), "authority": "/etc/ssl/certs/ca-certificates.crt"},
        )  # fmt: skip
    results = [Result.PASSED, Result.FAILED, Result.FAILED, Result.FAILED, Result.PASSED, Result.FAILED]
    assert [one.result for one in found] == results
    assert found[0].seen == "days left: 29"
    assert "Hostname mismatch" in found[2].seen


def test_a_dead_server_has_no_certificate_and_proves_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    probe = {"type": "certificate", "name": NAME, "server": "127.0.0.1", "port": port}
    assert outcome(probe).result is Result.FAILED
    assert outcome(probe, negative=True).result is Result.UNKNOWN
    assert outcome({**probe, "server": "name.invalid"}).result is Result.UNKNOWN


@pytest.mark.parametrize(("backlog", "expected"), [(8, Result.UNKNOWN), (0, Result.FAILED)], ids=["slow", "blocked"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_that_is_slow_is_not_one_that_is_out_of_reach(scheme: str, backlog: int, expected: Result) -> None:
    """A server whose queue is full drops what would open a connection, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server, ExitStack() as others:
        for _number in range(0 if backlog else 3):
            sock = others.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        check = make({"type": "http", "url": f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"})
        question = ask(check)
        argv = list(map(str, cast("list[str]", question.task["argv"])))
        for option in ("--connect-timeout", "--max-time"):
            argv[argv.index(option) + 1] = "1"
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 28, done.stderr
    assert decide(check, question, Reply(done.returncode, done.stdout, done.stderr)).result is expected


@pytest.mark.parametrize(
    "task", [{"do": certificate, "name": NAME}, {"do": smtp, "tls": "tls"}, {"do": smtp, "tls": "none"}]
)
def test_a_server_that_takes_the_connection_and_says_nothing_was_not_looked_at(task: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        end = {"host": "127.0.0.1", "port": server.getsockname()[1], "authority": "", "timeout": 0.3}
        assert task["do"](task | end) == {"error": "timeout"}


def test_a_certificate_in_a_file_is_verified(authority: Path) -> None:
    def kept(name: str, **more: Any) -> dict[str, Any]:
        return shown(443, authority, path=str(authority / f"{name}.pem"), **more)

    good, other, short, none = outcomes(kept("good"), kept("other"), kept("short", days=14), kept("none"))
    assert [one.result for one in (good, other, short, none)] == [Result.PASSED, *[Result.FAILED] * 3]
    assert "ostname mismatch" in other.seen


SYSNAME = "1.3.6.1.2.1.1.5.0"


def snmp_agent(data: bytes) -> bytes | None:
    """Answer a GET with the community "lab"; of other equipment's values, only the name is known."""
    _version, (_kind, community), (_get, pdu) = read_tlvs(read_tlvs(data)[0][1])
    if community != b"lab":
        return None
    (_int, number), _status, _index, (_seq, binds) = read_tlvs(pdu)
    (_oid, name), _null = read_tlvs(read_tlvs(binds)[0][1])
    value = tlv(0x04, b"core-switch") if name == pack_oid(SYSNAME) else tlv(0x80, b"")
    bind = tlv(0x30, tlv(0x30, tlv(0x06, name) + value))
    answer = tlv(0xA2, tlv(0x02, number) + tlv(0x02, b"\0") + tlv(0x02, b"\0") + bind)
    return tlv(0x30, tlv(0x02, b"\x01") + tlv(0x04, community) + answer)


def test_an_equipment_gives_a_value_to_who_knows_the_community() -> None:
    with answering(snmp_agent) as port, answering(lambda _data: b"\x30\x82") as broken:
        probe = {"type": "snmp", "to": "127.0.0.1", "port": port, "community": "lab"}
        found = outcomes(
            probe, {**probe, "contains": "core"}, {**probe, "contains": "edge"}, {**probe, "community": "public"},
            {**probe, "oid": "1.3.6.1.2.1.1.6.0"}, {**probe, "to": "name.invalid"}, {**probe, "port": broken},
        )  # fmt: skip
    assert [one.result for one in found] == [
        Result.PASSED, Result.PASSED, Result.FAILED, Result.FAILED, Result.FAILED, Result.UNKNOWN, Result.UNKNOWN,
    ]  # fmt: skip
    assert (found[0].seen, found[4].seen) == ("core-switch", "noSuchObject")
    assert "lab" not in found[0].command.split()


TRANSFER = {"type": "zone_transfer", "zone": "lab.example", "server": "192.0.2.53"}
ZONE = """lab.example.\t3600\tIN\tSOA\tns.lab.example. root.lab.example. 1 2 3 4 5
lab.example.\t3600\tIN\tNS\tns.lab.example.
ns.lab.example.\t3600\tIN\tA\t192.0.2.53
lab.example.\t3600\tIN\tSOA\tns.lab.example. root.lab.example. 1 2 3 4 5
"""
REFUSED = Reply(0, out="; <<>> DiG <<>> @192.0.2.53 lab.example AXFR\n; Transfer failed.\n")
DEAD = Reply(9, out=";; communications error to 192.0.2.53#53: connection refused\n;; no servers could be reached\n")
SIGNED = {"type": "dns", "name": "lab.example", "dnssec": "signed"}
VALIDATED = {"type": "dns", "name": "lab.example", "dnssec": "validated"}
HEAD = ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n;; flags: qr rd ra{ad}; QUERY: 1, ANSWER: 2\n"
RECORD = "lab.example.\t60\tIN\tA\t192.0.2.1\n"
SIGNATURE = "lab.example.\t60\tIN\tRRSIG\tA 13 2 60 20300101000000 20200101000000 1 lab.example. abc==\n"


@pytest.mark.parametrize(
    ("probe", "reply", "expected"),
    [
        (TRANSFER, Reply(0, out=ZONE), Result.PASSED),
        (TRANSFER, REFUSED, Result.FAILED),
        (TRANSFER, DEAD, Result.FAILED),
        (TRANSFER, Reply(1, err="dig: unknown option"), Result.UNKNOWN),
        ({**TRANSFER, "negative": True}, REFUSED, Result.PASSED),
        ({**TRANSFER, "negative": True}, DEAD, Result.UNKNOWN),
        ({**TRANSFER, "negative": True}, Reply(0, out=ZONE), Result.FAILED),
        (SIGNED, Reply(0, out=HEAD + RECORD + SIGNATURE), Result.PASSED),
        (SIGNED, Reply(0, out=HEAD + RECORD), Result.FAILED),
        (VALIDATED, Reply(0, out=HEAD.format(ad=" ad") + RECORD), Result.PASSED),
        (VALIDATED, Reply(0, out=HEAD.format(ad="") + RECORD), Result.FAILED),
        (VALIDATED, Reply(0, out=HEAD.replace("NOERROR", "SERVFAIL").format(ad=" ad")), Result.FAILED),
    ],
)
def test_what_dig_prints_is_judged(probe: dict[str, Any], reply: Reply, expected: Result) -> None:
    fields = {key: value for key, value in probe.items() if key != "negative"}
    assert decided(fields, reply, negative=bool(probe.get("negative"))) is expected
