"""Logins by the school's directory: a small LDAP server of our own that answers binds, and what must never reach it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from labctl.errors import HostNotReady, Refused
from labctl.roster import Student
from labctl.worker.accounts import Accounts
from labctl.worker.certificate import ensure_certificate
from labctl.worker.directory import Directory, check_directory, read_directory, write_directory
from labctl.worker.records import Records
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

PASSWORD = "Lycée-2026!"
UPN = "{id}@school.example"


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def split(data: bytes) -> list[tuple[int, bytes]]:
    """Return the elements of short BER data."""
    found = []
    while data:
        length = data[1]
        found.append((data[0], data[2 : 2 + length]))
        data = data[2 + length :]
    return found


class School:
    """A directory with one person. `code` is what it answers to anybody else, None to hang up."""

    def __init__(self, person: str, code: int | None = 49) -> None:
        self.person = person
        self.code = code
        self.context: ssl.SSLContext | None = None
        self.asked: list[tuple[str, str]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ldap://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def secure(self, home: Path) -> str:
        """Speak TLS from now on; return the file of the certificate."""
        made = ensure_certificate(home, ("localhost", "127.0.0.1"))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(made.chain, made.key)
        self.url = self.url.replace("ldap://127.0.0.1", "ldaps://localhost")
        return str(made.chain)

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
                with self.context.wrap_socket(connection, server_side=True) if self.context else connection as talk:
                    self.answer(talk)
            except ssl.SSLError:
                connection.close()
            except OSError:
                return

    def answer(self, connection: socket.socket) -> None:
        data = connection.recv(4096)
        if not data or self.code is None:
            return
        (_tag, message), *_rest = split(data)
        (_integer, number), (_bind, request) = split(message)[:2]
        (_version, _three), (_name, name), (_simple, secret) = split(request)[:3]
        self.asked.append((name.decode(), secret.decode()))
        good = self.asked[-1] == (self.person, PASSWORD)
        result = element(0x0A, bytes([0 if good else self.code])) + element(0x04, b"") + element(0x04, b"")
        connection.sendall(element(0x30, element(0x02, number) + element(0x61, result)))


@pytest.fixture
def school() -> Iterator[School]:
    found = School("lea.martin@school.example")
    yield found
    found.listener.close()


def accounts_with(home: Path, directory: Directory) -> Accounts:
    accounts = Accounts(Records(home), lambda: directory)
    accounts.enrol("sisr2", "", [Student("lea.martin", "lea-martin", "Léa Martin", "", Fraction(1), "", 2)])
    return accounts


def test_the_right_password_logs_in_without_a_code(tmp_path: Path, school: School) -> None:
    accounts = accounts_with(tmp_path, Directory(school.url, UPN))
    session = accounts.log_in("Lea.Martin", PASSWORD, "10.0.0.1").row
    assert (session.account.name, session.must_choose) == ("lea-martin", False)
    assert school.asked == [("lea.martin@school.example", PASSWORD)]


def test_a_password_goes_over_tls_that_was_checked(tmp_path: Path, school: School) -> None:
    authority = school.secure(tmp_path)
    assert Directory(school.url, UPN, authority).lets_in("lea.martin", PASSWORD)
    assert not Directory(school.url, UPN, authority).lets_in("lea.martin", "wrong")
    school.asked.clear()
    with pytest.raises(HostNotReady, match="does not prove who it is"):
        Directory(school.url, UPN).lets_in("lea.martin", PASSWORD)
    assert school.asked == [], "a certificate that nobody vouches for gets no password"


def test_the_wrong_password_is_refused_and_counted(tmp_path: Path, school: School) -> None:
    accounts = accounts_with(tmp_path, Directory(school.url, UPN))
    refusals = []
    for _ in range(6):
        with pytest.raises(NotDone) as caught:
            accounts.log_in("lea-martin", "wrong", "10.0.0.1")
        refusals.append(caught.value.refusal)
    assert refusals == [Refusal.WRONG_SECRET] * 5 + [Refusal.TOO_MANY]
    assert len(school.asked) == 5, "the directory is not asked either, or it would lock the account"


@pytest.mark.parametrize("secret", ["", "\0"])
def test_an_empty_password_never_reaches_the_directory(tmp_path: Path, school: School, secret: str) -> None:
    directory = Directory(school.url, UPN)
    if not secret:
        assert not directory.lets_in("lea.martin", secret)
        assert school.asked == []
    accounts = accounts_with(tmp_path, directory)
    with pytest.raises(NotDone):
        accounts.log_in("lea-martin", secret, "10.0.0.1")


@pytest.mark.parametrize("identity", ["*", "a)(uid=*", "lea,dc=x", "x\0y", "lea@other.example", "é" * 3, "a" * 65])
def test_a_name_that_could_mean_another_is_not_asked_for(school: School, identity: str) -> None:
    assert not Directory(school.url, "uid={id},ou=people,dc=x").lets_in(identity, PASSWORD)
    assert school.asked == []


def test_somebody_without_an_account_here_is_not_asked_for(tmp_path: Path, school: School) -> None:
    accounts = accounts_with(tmp_path, Directory(school.url, UPN))
    with pytest.raises(NotDone):
        accounts.log_in("somebody", PASSWORD, "10.0.0.1")
    assert school.asked == []


@pytest.mark.parametrize("code", [None, 51])
def test_a_directory_that_does_not_answer_is_told_and_not_counted(tmp_path: Path, code: int | None) -> None:
    school = School("lea.martin@school.example", code)
    accounts = accounts_with(tmp_path, Directory(school.url, UPN))
    for _ in range(7):
        with pytest.raises(NotDone) as caught:
            accounts.log_in("lea-martin", "x", "10.0.0.1")
        assert caught.value.refusal is Refusal.HOST_NOT_READY
    school.listener.close()


def test_nobody_is_there() -> None:
    with pytest.raises(HostNotReady):
        Directory("ldap://127.0.0.1:1", UPN).lets_in("lea", "x")


@pytest.mark.parametrize(
    ("url", "user"), [("http://dc", UPN), ("dc.school.example", UPN), ("ldaps://", UPN), ("ldaps://dc", "admin")]
)
def test_bad_settings_are_refused(url: str, user: str) -> None:
    with pytest.raises(Refused):
        check_directory(Directory(url, user))


def test_settings_are_kept_for_root_alone(tmp_path: Path) -> None:
    assert read_directory(tmp_path) is None
    write_directory(tmp_path, Directory("ldaps://dc.school.example", UPN))
    path = tmp_path / "portal" / "directory.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_directory(tmp_path) == Directory("ldaps://dc.school.example", UPN)
    write_directory(tmp_path, None)
    assert read_directory(tmp_path) is None
