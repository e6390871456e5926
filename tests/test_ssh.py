"""Sessions that stay open, against a real SSH server of this process."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from labctl.ssh import Login, Sessions, Unreachable

LOGIN = Login("fw", "fe80::1%none", Path("/none"), Path("/none"))


class Server(paramiko.ServerInterface):
    """Lets everybody in, and answers each command with itself; `hang` gets no answer."""

    def check_auth_password(self, username: str, password: str) -> int:  # noqa: ARG002
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            channel.sendall(command)
            channel.send_exit_status(3)
            channel.close()

        if command != b"hang":
            threading.Timer(0.05, answer).start()
        return True


class Machine:
    """A guest by its connections: `logins` counts them."""

    def __init__(self) -> None:
        self.logins = 0
        self.transports: list[paramiko.Transport] = []

    @contextmanager
    def connect(self, login: Login, deadline: float) -> Iterator[paramiko.SSHClient]:  # noqa: ARG002
        self.logins += 1
        ours, theirs = socket.socketpair()
        served = paramiko.Transport(theirs)
        served.add_server_key(paramiko.ECDSAKey.generate())
        self.transports.append(served)
        listening = threading.Thread(target=served.start_server, kwargs={"server": Server()})
        listening.start()
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect("fw", username="root", password="x", sock=ours, allow_agent=False, look_for_keys=False)
        listening.join()
        try:
            yield client
        finally:
            client.close()
            served.close()


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def sessions(machine: Machine) -> Iterator[Sessions]:
    found = Sessions(machine.connect)
    yield found
    found.close()
    assert not any(transport.is_active() for transport in machine.transports)


def test_one_login_serves_many_commands_at_once_too(machine: Machine, sessions: Sessions) -> None:
    assert sessions.run(LOGIN, ["echo", "a b"]).stdout == "echo 'a b'"
    with ThreadPoolExecutor(4) as workers:
        found = [workers.submit(sessions.run, LOGIN, ["echo", str(number)]) for number in range(4)]
        assert [(one.result().code, one.result().stdout) for one in found] == [(3, f"echo {n}") for n in range(4)]
    assert machine.logins == 1


def test_each_machine_has_a_session_of_its_own(machine: Machine, sessions: Sessions) -> None:
    for login in (LOGIN, replace(LOGIN, name="web", address="fe80::2%none"), LOGIN):
        sessions.run(login, ["true"])
    assert machine.logins == 2


def test_after_the_end_of_a_session_the_next_command_logs_in_anew(machine: Machine, sessions: Sessions) -> None:
    sessions.run(LOGIN, ["true"])
    machine.transports[0].close()
    until = time.monotonic() + 10
    while True:
        try:
            assert sessions.run(LOGIN, ["true"]).code == 3
            break
        except Unreachable:  # the end was not seen yet: no command is run twice
            assert time.monotonic() < until
    assert machine.logins == 2


def test_a_command_that_hangs_costs_its_session(machine: Machine, sessions: Sessions) -> None:
    with pytest.raises(TimeoutError):
        sessions.run(LOGIN, ["hang"], deadline=0.3)
    assert sessions.run(LOGIN, ["true"]).code == 3
    assert machine.logins == 2


def test_a_machine_that_does_not_let_us_in_is_told_each_time() -> None:
    @contextmanager
    def closed(login: Login, deadline: float) -> Iterator[paramiko.SSHClient]:  # noqa: ARG001
        raise Unreachable("closed")
        yield

    for _again in range(2):
        with pytest.raises(Unreachable, match="closed"):
            Sessions(closed).run(LOGIN, ["true"])
