"""A local HTTPS server that answers as OPNsense's documentation and sources say, and oddly where a test wants it."""

import base64
import datetime
import json
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY, SECRET = "key-of-the-lab", "secret-of-the-lab"


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
    """Keeps rules and what was asked; `force` is what a new set of rules does once it is in force.

    `odd` maps a path to what is answered instead, `slow` seconds to wait before.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rules: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.odd: dict[str, tuple[int, bytes]] = {}
        self.slow = 0.0
        self.force: Callable[[Collection[Mapping[str, str]]], None] = lambda _rules: None

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
        verb, _slash, name = path.removeprefix("firewall/filter/").partition("/")
        rules = self.server.rules
        if verb == "set_rule":
            if not body["rule"].get("interface"):
                return {"result": "failed", "validations": {"rule.interface": "A value is required."}}
            rules[name] = body["rule"]
            return {"result": "saved"}
        if verb == "get_rule":
            return {"rule": shown(rules[name])} if name in rules else []
        if verb == "del_rule":
            return {"result": "deleted" if rules.pop(name, None) else "not found"}
        if verb == "savepoint":
            return {"status": "ok", "retention": "60", "revision": "1583.12"}
        if verb == "apply":
            self.server.force([*rules.values()])
        # rollback_cancel.php prints nothing, and what it prints is the status.
        return {"status": "" if verb == "cancel_rollback" else "OK\n\n"}


def shown(rule: Mapping[str, str]) -> dict[str, Any]:
    """Return a rule as it is read: closed sets as lists of options, of which one is selected."""
    sets = {"action": ["pass", "block", "reject"], "protocol": ["any", "TCP", "UDP", "TCP/UDP", "ICMP"]}
    listed = {
        name: {value: {"value": value.title(), "selected": int(value == rule[name])} for value in values}
        for name, values in sets.items()
        if name in rule
    }
    return {**rule, **listed}


def make_pair(folder: Path) -> tuple[str, Path]:
    """Return a certificate as PEM text, and the file that has it with its key."""
    public, private = make_certificate()
    path = folder / "pair.pem"
    path.write_text(public + private)
    return public, path


@contextmanager
def running_firewall(pair: Path) -> Iterator[Firewall]:
    """Give a firewall that answers on a port of this machine."""
    firewall = Firewall()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    firewall.socket = context.wrap_socket(firewall.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=firewall.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield firewall
    finally:
        firewall.shutdown()
        thread.join()
        firewall.server_close()
