"""The REST client against a local server that answers as OPNsense's documentation says, and as it must not."""

import base64
import datetime
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from labctl.appliances.api import OPNsense, Unreachable
from labctl.errors import DeadlineMissed, LabctlError, Refused

KEY, SECRET = "key-of-the-lab", "secret-of-the-lab"
RULE = {"description": "Panne", "action": "block", "interface": "lan", "protocol": "TCP", "destination_port": "443"}


def make_certificate() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fw")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500)).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


class Firewall(ThreadingHTTPServer):
    """Keeps rules and what was asked; `odd` maps a path to what is answered instead, `slow` seconds to wait before."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rules: dict[str, Any] = {}
        self.asked: list[str] = []
        self.odd: dict[str, tuple[int, bytes]] = {}
        self.slow = 0.0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the test."""


class Handler(BaseHTTPRequestHandler):
    server: Firewall

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: Any) -> None:
        time.sleep(self.server.slow)
        path = self.path.removeprefix("/api/")
        self.server.asked.append(path)
        given = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        if path in self.server.odd:
            status, data = self.server.odd[path]
        elif given != f"{KEY}:{SECRET}":
            status, data = 401, b'{"status":401,"message":"Authentication Failed"}'
        else:
            status, data = 200, json.dumps(self.act(path, body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def act(self, path: str, body: Any) -> Any:
        if path == "firewall/filter/add_rule":
            if "interface" not in body["rule"]:
                return {"result": "failed", "validations": {"rule.interface": "A value is required."}}
            self.server.rules["u-1"] = body["rule"]
            return {"result": "saved", "uuid": "u-1"}
        if path.startswith("firewall/filter/del_rule/"):
            found = self.server.rules.pop(path.rpartition("/")[2], None)
            return {"result": "deleted" if found else "not found"}
        if path == "firewall/filter/savepoint":
            return {"status": "ok", "retention": "60", "revision": "1583.12"}
        return {"status": "OK\n\n"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    public, private = make_certificate()
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    path.write_text(public + private)
    return public, path


@pytest.fixture
def server(certificate: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Firewall]:
    monkeypatch.setenv("LABCTL_LANG", "en")
    firewall = Firewall()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1])
    firewall.socket = context.wrap_socket(firewall.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=firewall.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield firewall
    firewall.shutdown()
    thread.join()
    firewall.server_close()


def client(server: Firewall, pem: str, secret: str = SECRET, timeout: float = 30.0) -> OPNsense:
    return OPNsense("127.0.0.1", KEY, secret, pem, server.server_port, timeout)


def test_a_rule_is_added_applied_and_removed(server: Firewall, certificate: tuple[str, Path]) -> None:
    fw = client(server, certificate[0])
    uuid = fw.add_rule(RULE)
    assert server.rules == {uuid: RULE}
    fw.apply()
    fw.remove_rule(uuid)
    assert server.rules == {}
    assert server.asked == [
        "firewall/filter/add_rule", "firewall/filter/savepoint", "firewall/filter/apply/1583.12",
        "firewall/filter/cancel_rollback/1583.12", "firewall/filter/del_rule/u-1",
    ]  # fmt: skip


def test_a_wrong_field_is_told_in_the_firewall_s_words(server: Firewall, certificate: tuple[str, Path]) -> None:
    with pytest.raises(LabctlError, match=r"rule\.interface: A value is required"):
        client(server, certificate[0]).add_rule({"action": "pass"})


def test_a_rule_that_is_gone_is_told(server: Firewall, certificate: tuple[str, Path]) -> None:
    with pytest.raises(LabctlError, match="del_rule: not found"):
        client(server, certificate[0]).remove_rule("u-2")


def test_another_certificate_is_refused_before_the_key_is_sent(server: Firewall) -> None:
    with pytest.raises(Refused, match="certificate"):
        client(server, make_certificate()[0]).add_rule(RULE)
    assert server.asked == []


def test_refused_keys_are_told_without_them(server: Firewall, certificate: tuple[str, Path]) -> None:
    with pytest.raises(Refused, match="key") as caught:
        client(server, certificate[0], "wrong-secret").add_rule(RULE)
    assert "wrong-secret" not in caught.value.message
    assert "wrong-secret" not in repr(client(server, certificate[0], "wrong-secret"))


def test_a_slow_server_is_given_up_in_time(server: Firewall, certificate: tuple[str, Path]) -> None:
    server.slow = 2.0
    with pytest.raises(Unreachable, match="no answer in time"):
        client(server, certificate[0], timeout=0.5).get("firewall/filter/search_rule")


@pytest.mark.parametrize(
    ("status", "data"), [(200, b"<html>login</html>"), (200, b"[]"), (500, b"{}"), (200, b"x" * (2 << 20))]
)
def test_an_answer_of_another_kind_is_told(
    server: Firewall, certificate: tuple[str, Path], status: int, data: bytes
) -> None:
    server.odd["firewall/filter/savepoint"] = (status, data)
    with pytest.raises(LabctlError, match="not as its documentation says"):
        client(server, certificate[0]).apply()


def test_a_firewall_that_starts_is_waited_for_until_the_deadline(
    server: Firewall, certificate: tuple[str, Path]
) -> None:
    fw = client(server, certificate[0])
    server.odd["diagnostics/system/system_information"] = (503, b"")
    with pytest.raises(DeadlineMissed, match="did not answer within 0 s"):
        fw.wait_ready(0.1)
    timer = threading.Timer(0.5, server.odd.clear)
    timer.start()
    fw.wait_ready(60)
    timer.join()
    assert len(server.asked) >= 2


def test_nobody_there(certificate: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        OPNsense("127.0.0.1", KEY, SECRET, certificate[0], 1, 5).get("x")


def test_a_zone_is_the_hosts_own_and_not_said_to_the_firewall() -> None:
    assert OPNsense("fe80::5054:ff:fe12:3456%lb0123456789ab", KEY, SECRET, "").host == "[fe80::5054:ff:fe12:3456]"
