"""Logins of the portal by a real directory: the lab `annuaire`'s Samba domain controller, from the host, over TLS."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labctl.hypervisor.door import Hypervisor
from labctl.lab.site import DEFAULT_URI
from labctl.lab.workplace import Workplace
from labctl.ssh import client_command
from labctl.worker.values import Refusal, Role
from tests.vm.conftest import Installation
from tests.vm.shipped import ShippedLab

pytestmark = [
    pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a process a host table of its own"),
]  # fmt: skip

ANNUAIRE = ShippedLab("annuaire")
NAME, ADDRESS, UPN = "dc.ad.cimes.example", "172.16.20.1", "{id}@ad.cimes.example"
PORTS = {"ldap": 389, "ldaps": 636}
SECURE = ("ldaps", "ldap")  # the second one by StartTLS
PATIENCE = 240.0  # seconds; an emulated controller starts slowly
NOT_READY = Refusal.HOST_NOT_READY
Wanted = Callable[[Mapping[str, Any]], bool]
# What the worker does with a login, in a portal of one person: nothing that was tried before makes anybody wait.
LOG_IN = """
import json, sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from labctl.roster import Student
from labctl.worker.accounts import Accounts
from labctl.worker.directory import Directory
from labctl.worker.records import Records
from labctl.worker.values import Role
from labctl.worker.wire import NotDone
wish = json.load(sys.stdin)
with TemporaryDirectory() as home:
    accounts = Accounts(Records(Path(home)), lambda: Directory(wish["url"], wish["user"], wish["ca"]))
    if wish["role"] == Role.STUDENT:
        accounts.enrol("one", "", [Student(wish["name"], wish["name"], wish["name"], "", Fraction(1), "", 2)])
    else:
        accounts.set_account(wish["name"], wish["name"], Role(wish["role"]), ("*",))
    try:
        row = accounts.log_in(wish["name"], wish["secret"], "10.0.0.1").row
        print(json.dumps({"role": row.account.role, "must_choose": row.must_choose}))
    except NotDone as exc:
        print(json.dumps({"refusal": exc.refusal, "said": exc.message}))
"""
# A host table of its own: the certificate is for the controller's name, which only the lab's DNS server knows.
WITH_NAMES = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh"]


@dataclass(frozen=True)
class School:
    """The domain as the portal sees it. `ports` are those of this host that lead to the controller's."""

    ports: Mapping[str, int]
    hosts: Path
    ca: Path
    host: str = NAME
    role: Role = Role.STUDENT

    def password(self, name: str) -> str:
        """Return the first password of an account of the lab, as the role derives it."""
        secret = (ANNUAIRE.folder / "secrets" / "directory.password").read_text(encoding="ascii").strip()
        mark = hashlib.sha256(f"{secret}:{name}".encode()).hexdigest()
        return f"{mark[:6]}-{mark[6:12]}-{mark[12:18]}-Aa"

    def ask(self, scheme: str, name: str, secret: str) -> dict[str, Any]:
        """Log in once and return what came of it."""
        wish = {
            "url": f"{scheme}://{self.host}:{self.ports[scheme]}", "user": UPN, "ca": str(self.ca), "name": name,
            "secret": secret, "role": self.role,
        }  # fmt: skip
        done = subprocess.run(
            [*WITH_NAMES, str(self.hosts), sys.executable, "-P", "-c", LOG_IN], input=json.dumps(wish),
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "LABCTL_LANG": "en", "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def decide(self, scheme: str, name: str, secret: str) -> dict[str, Any]:
        """Log in, again while the controller is too busy to answer."""
        return self.wait(scheme, name, secret, lambda found: found.get("refusal") != NOT_READY)

    def wait(self, scheme: str, name: str, secret: str, wanted: Wanted) -> dict[str, Any]:
        """Log in until what comes of it is as wanted."""
        until = time.monotonic() + PATIENCE
        while not wanted(found := self.ask(scheme, name, secret)):
            assert time.monotonic() < until, found
            time.sleep(2)
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_open(port: int) -> bool:
    """Return whether somebody listens to a port of this host."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def reaching(labctl: Installation) -> Iterator[dict[str, int]]:
    """Give ports of this host that lead to the controller: it listens on the lab's own network only."""
    with Hypervisor(labctl.environment.get("LABCTL_URI", DEFAULT_URI)) as machines:
        place = Workplace.open(machines, labctl.environment)
        words = client_command(place.logins(ANNUAIRE.lab, ANNUAIRE.topology)["dc"], [])
    ports = {scheme: free_port() for scheme in PORTS}
    ways = [word for scheme, port in PORTS.items() for word in ("-L", f"127.0.0.1:{ports[scheme]}:{ADDRESS}:{port}")]
    command = [*words[:-1], "-N", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15", *ways, words[-1]]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as forwarding:
        try:
            until = time.monotonic() + PATIENCE
            for port in ports.values():
                while not is_open(port):
                    assert forwarding.poll() is None, "ssh has ended"
                    assert time.monotonic() < until
                    time.sleep(0.5)
            yield ports
        finally:
            forwarding.terminate()


@pytest.fixture(scope="module")
def school(labctl: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    hosts = tmp_path_factory.mktemp("names") / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n", encoding="ascii")
    with ExitStack() as stack:
        stack.enter_context(ANNUAIRE.running(labctl))
        ports = stack.enter_context(reaching(labctl))
        yield School(ports, hosts, ANNUAIRE.folder / "secrets" / "ca.pem")


@contextmanager
def controller_with(labctl: Installation, setting: str, certificate: str = "") -> Iterator[None]:
    """Have the controller run with another line in its settings, and then as it was."""
    start = """
    systemctl restart samba-ad-dc
    for second in $(seq 180); do ss -ltn | grep -q ':389 ' && exit 0; sleep 1; done
    exit 1
    """
    change = f"""
    cp -a /etc/samba/smb.conf /root/smb.conf.before
    printf '%s' '{certificate}' >/root/portal.pem
    sed -i -e '/^[[:space:]]*{setting.partition(" =")[0]} =/d' -e '/^\\[global\\]/a {setting}' /etc/samba/smb.conf
    """
    try:
        ANNUAIRE.on(labctl, "dc", change + start)
        yield
    finally:
        ANNUAIRE.on(labctl, "dc", "cp -a /root/smb.conf.before /etc/samba/smb.conf" + start)


def expired_certificate(labctl: Installation) -> str:
    """Return a certificate of the controller, by the lab's authority, that has ended an hour ago."""
    secrets = ANNUAIRE.folder / "secrets"
    authority = x509.load_pem_x509_certificate((secrets / "ca.pem").read_bytes())
    key = serialization.load_pem_private_key((secrets / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    asked = x509.load_pem_x509_csr(ANNUAIRE.on(labctl, "dc", "cat /etc/samba/tls/dc.csr").encode())
    ended = datetime.now(UTC) - timedelta(hours=1)
    made = x509.CertificateBuilder(
        issuer_name=authority.subject, subject_name=asked.subject, public_key=asked.public_key(),
        serial_number=x509.random_serial_number(), not_valid_before=ended - timedelta(days=9), not_valid_after=ended,
        extensions=list(asked.extensions),
    )  # fmt: skip
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("scheme", SECURE)
def test_the_password_of_the_domain_lets_in_without_a_code(school: School, scheme: str) -> None:
    found = school.decide(scheme, "alice", school.password("alice"))
    assert found == {"role": "student", "must_choose": False}


@pytest.mark.parametrize("scheme", SECURE)
@pytest.mark.parametrize(
    ("name", "owner"), [("alice", ""), ("odile", "odile"), ("nobody-there", "alice")],
    ids=["wrong password", "disabled account", "unknown account"],
)  # fmt: skip
def test_who_the_domain_does_not_know_stays_out(school: School, scheme: str, name: str, owner: str) -> None:
    found = school.decide(scheme, name, school.password(owner) if owner else "wrong")
    assert found["refusal"] == Refusal.WRONG_SECRET


def test_what_somebody_is_here_comes_from_here_and_not_from_their_groups(school: School) -> None:
    """Alice and hugo are in the same groups of the domain."""
    trainer = replace(school, role=Role.TRAINER)
    assert trainer.decide("ldaps", "hugo", school.password("hugo"))["role"] == Role.TRAINER
    assert school.decide("ldaps", "hugo", school.password("hugo"))["role"] == Role.STUDENT


def test_an_account_that_the_domain_has_locked_stays_out(school: School) -> None:
    for _number in range(6):
        assert school.decide("ldaps", "bruno", "wrong")["refusal"] == Refusal.WRONG_SECRET
    assert school.decide("ldaps", "bruno", school.password("bruno"))["refusal"] == Refusal.WRONG_SECRET


@pytest.mark.parametrize("scheme", SECURE)
def test_another_authority_is_not_believed(school: School, scheme: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
         "-keyout", tmp_path / "other.key", "-out", other, "-subj", "/CN=other"], check=True, capture_output=True,
    )  # fmt: skip
    wrong = replace(school, ca=other)
    found = wrong.wait(scheme, "alice", school.password("alice"), lambda said: "prove" in said.get("said", ""))
    assert found["refusal"] == NOT_READY


def test_a_password_in_clear_is_refused_by_the_controller_too(school: School) -> None:
    """To this host itself the portal would speak without TLS; what is behind the port is the controller."""
    clear = replace(school, host="127.0.0.1")
    found = clear.wait("ldap", "alice", school.password("alice"), lambda said: "code 8" in said.get("said", ""))
    assert found["refusal"] == NOT_READY


@pytest.mark.parametrize("scheme", SECURE)
def test_a_certificate_that_has_ended_is_not_believed(school: School, labctl: Installation, scheme: str) -> None:
    with controller_with(labctl, "tls certfile = /root/portal.pem", expired_certificate(labctl)):
        found = school.wait(scheme, "alice", school.password("alice"), lambda said: "expired" in said.get("said", ""))
        assert found["refusal"] == NOT_READY


def test_a_controller_without_tls_is_told_no_password(school: School, labctl: Installation) -> None:
    with controller_with(labctl, "tls enabled = no"):
        for _number in range(3):
            assert school.ask("ldap", "alice", school.password("alice"))["refusal"] == NOT_READY
            time.sleep(2)
    assert school.decide("ldap", "alice", school.password("alice"))["role"] == Role.STUDENT, (
        "it was that, and not alice"
    )
