"""Runs commands on guests over SSH: the only door to paramiko.

A guest's host key is known before its first boot; an unknown or changed key is refused, never learnt.
"""

import logging
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko

from labctl import powershell
from labctl.checks.lines import printable
from labctl.errors import DeadlineMissed, LabctlError
from labctl.language import _
from labctl.plan.names import MANAGEMENT_PORT
from labctl.program import missing
from labctl.topology.hardware import System, runs_programs

USERS = {System.WINDOWS: "Administrator"}  # what an image of labctl calls it in every language; all others: root
USER = "root"
OUTPUT_LIMIT = 1 << 20  # bytes kept of each stream: a guest may flood
KEEPALIVE_SECONDS = 30  # a shell whose machine is gone ends
NOTHING_ON_WINDOWS = ("cmd.exe", "/c", "ver")
WRITE_SECONDS = 10.0  # in which a guest must take some keystrokes
BANNER_TIMEOUT = 60  # seconds; sshd under emulation forks slowly while a guest still boots

# Paramiko logs each refused connection with a traceback; errors are raised, so nothing is lost.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class Unreachable(LabctlError):
    """The guest does not answer, or refuses the login."""


class NoServer(Unreachable):
    """The machine has no SSH server of labctl's, and never will."""


@dataclass(frozen=True)
class Login:
    """How to reach one guest. `address` is an IPv6 link-local one with its zone; `name` its known_hosts entry."""

    name: str
    address: str
    key: Path
    known_hosts: Path
    system: System = System.DEBIAN

    @property
    def user(self) -> str:
        """Return the account that labctl logs in to."""
        return USERS.get(self.system, USER)

    @property
    def windows(self) -> bool:
        """Return whether commands are those of Windows."""
        return self.system is System.WINDOWS

    def command_line(self, argv: Sequence[str]) -> str:
        """Return a command, words quoted for the login shell."""
        return powershell.command_line(argv) if self.windows else shlex.join(argv)

    def read(self, code: int, out: bytes, err: bytes, truncated: bool) -> "Answer":
        """Return what a command did, its output decoded as the guest's system writes it."""
        if not self.windows:
            return Answer(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), truncated)
        return Answer(code, powershell.decode(out), powershell.read_errors(powershell.decode(err)), truncated)


@dataclass(frozen=True)
class Answer:
    """What a command on a guest did. The output was capped and decoded with replacement: never evaluate it."""

    code: int
    stdout: str
    stderr: str
    truncated: bool = False


def require_server(login: Login, hint: str = "") -> None:
    """Raise NoServer for an appliance or an imported image."""
    if not runs_programs(login.system):
        text = _("{name} has no SSH server that labctl could log in to: its system is not one of labctl's own images")
        raise NoServer(text.format(name=login.name), hint=hint)


@contextmanager
def connect(login: Login, deadline: float) -> Iterator[paramiko.SSHClient]:
    """Log in and give the session; `deadline` is in seconds. Raises Unreachable."""
    require_server(login)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_host_keys(str(login.known_hosts))
        client.connect(
            login.address, port=MANAGEMENT_PORT, username=login.user,
            pkey=paramiko.Ed25519Key.from_private_key_file(str(login.key)),
            timeout=deadline, banner_timeout=max(deadline, BANNER_TIMEOUT), auth_timeout=max(deadline, BANNER_TIMEOUT),
            allow_agent=False, look_for_keys=False,
        )  # fmt: skip
        yield client
    except paramiko.BadHostKeyException as exc:
        text = _("{name} shows another host key than the one labctl gave it: somebody else may be answering")
        raise Unreachable(text.format(name=login.name)) from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise unreachable(login, exc) from exc
    finally:
        client.close()


def unreachable(login: Login, error: Exception) -> Unreachable:
    """Return what paramiko means by an error."""
    text = _("{name} does not answer SSH at {address}: {error}")
    # A server's greeting may be in it.
    return Unreachable(text.format(name=login.name, address=login.address, error=printable(str(error))))


def wait_login(login: Login, deadline: float, pause: float = 0.5) -> float:
    """Log in as soon as the guest lets us, run a command that does nothing, and return how many seconds that took.

    Raises DeadlineMissed after `deadline` seconds; a changed host key ends the wait at once.
    """
    require_server(login)
    start = time.monotonic()
    while True:
        left = deadline - (time.monotonic() - start)
        try:
            with connect(login, max(1.0, min(left, 30.0))) as client:
                execute(client, login, NOTHING_ON_WINDOWS if login.windows else ["true"], deadline=max(5.0, left))
        except (Unreachable, TimeoutError) as exc:
            if isinstance(exc.__cause__, paramiko.BadHostKeyException):
                raise
            if time.monotonic() - start + pause >= deadline:
                text = _("{name}: no SSH login within {seconds:.0f} s; the last try said: {error}")
                raise DeadlineMissed(text.format(name=login.name, seconds=deadline, error=exc)) from exc
            time.sleep(pause)
        else:
            return time.monotonic() - start


def run(login: Login, argv: Sequence[str], *, stdin: bytes = b"", deadline: float = 60) -> Answer:
    """Run one command on a guest. Raises Unreachable, or TimeoutError after `deadline` seconds."""
    with connect(login, deadline) as client:
        return execute(client, login, argv, stdin=stdin, deadline=deadline)


LogIn = Callable[[Login, float], AbstractContextManager[paramiko.SSHClient]]


class Sessions:
    """Runs commands on guests as `run` does, over one session for each guest that stays open until `close`.

    A login costs an emulated guest a second and more: who asks a guest again and again logs in once.
    """

    def __init__(self, log_in: LogIn = connect) -> None:
        self._log_in = log_in
        self._guard = threading.Lock()
        self._locks: dict[Login, threading.Lock] = {}
        self._open: dict[Login, tuple[paramiko.SSHClient, ExitStack]] = {}

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes = b"", deadline: float = 60) -> Answer:
        """Run one command on a guest. Raises Unreachable, or TimeoutError after `deadline` seconds.

        After an error the next command logs in anew; no command is ever run twice.
        """
        client = self._client(login, deadline)
        try:
            return execute(client, login, argv, stdin=stdin, deadline=deadline)
        except TimeoutError:
            self._drop(login)
            raise
        except (paramiko.SSHException, OSError, EOFError) as exc:
            self._drop(login)
            raise unreachable(login, exc) from exc

    def close(self) -> None:
        """Close all sessions."""
        for login in list(self._open):
            self._drop(login)

    def _client(self, login: Login, deadline: float) -> paramiko.SSHClient:
        with self._guard:
            lock = self._locks.setdefault(login, threading.Lock())
        with lock:
            if login in self._open:
                client = self._open[login][0]
                transport = client.get_transport()
                if transport is not None and transport.is_active():
                    return client
                self._drop(login)
            with ExitStack() as stack:
                client = stack.enter_context(self._log_in(login, deadline))
                self._open[login] = client, stack.pop_all()
            return client

    def _drop(self, login: Login) -> None:
        _client, stack = self._open.pop(login, (None, ExitStack()))
        stack.close()


@contextmanager
def sessions() -> Iterator[Sessions]:
    """Give what runs commands over sessions that stay open, and close them at the end."""
    kept = Sessions()
    try:
        yield kept
    finally:
        kept.close()


class Shell:
    """A login shell on a guest, in a terminal of its own, until it ends or `close`.

    `fileno` can be given to select or poll; `read` returns b"" at the end.
    """

    def __init__(self, channel: paramiko.Channel, login: ExitStack) -> None:
        self._channel = channel
        self._login = login

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the guest wrote something, or at the end."""
        return self._channel.fileno()

    def read(self, size: int = 1 << 14) -> bytes:
        """Return up to `size` bytes that the guest wrote, waiting for the first; b"" at the end."""
        try:
            return self._channel.recv(size)
        except OSError:
            return b""

    def takes_input(self) -> bool:
        """Return whether some keystrokes can be written without waiting."""
        return self._channel.closed or self._channel.send_ready()

    def write(self, data: bytes) -> None:
        """Send keystrokes to the guest. Raises LabctlError once the shell is closed."""
        try:
            self._channel.sendall(data)
        except OSError as exc:
            raise LabctlError(_("the console is closed")) from exc

    def resize(self, columns: int, rows: int) -> None:
        """Tell the guest the size of the terminal, in letters and lines."""
        with suppress(paramiko.SSHException, OSError):
            self._channel.resize_pty(columns, rows)

    def close(self) -> None:
        """End the shell and its login."""
        with suppress(OSError, EOFError):
            self._channel.close()
        self._login.close()


def open_shell(login: Login, deadline: float, *, log_in: LogIn = connect) -> Shell:
    """Log in and start a shell in a terminal of 80 × 24. Raises Unreachable; `deadline` is in seconds."""
    with ExitStack() as stack:
        client = stack.enter_context(log_in(login, deadline))
        try:
            channel = client.invoke_shell(term="xterm-256color")
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise unreachable(login, exc) from exc
        channel.settimeout(WRITE_SECONDS)
        transport = client.get_transport()
        if transport is not None:
            transport.set_keepalive(KEEPALIVE_SECONDS)
        return Shell(channel, stack.pop_all())
    raise AssertionError  # an exit stack without callbacks hides no error


def execute(
    client: paramiko.SSHClient, login: Login, argv: Sequence[str], *, stdin: bytes = b"", deadline: float = 60
) -> Answer:
    """Run one command in an open session, words quoted for the login shell, output capped."""
    transport = client.get_transport()
    if transport is None:
        raise EOFError
    channel = transport.open_session(timeout=deadline)
    with channel:
        channel.settimeout(1.0)
        channel.exec_command(login.command_line(argv))
        send(channel, stdin)
        return login.read(*collect(channel, time.monotonic() + deadline))


def send(channel: paramiko.Channel, data: bytes) -> None:
    """Write all of stdin and close it."""
    with suppress(OSError):  # a command that ends early does not read the rest
        channel.sendall(data)
    channel.shutdown_write()


def collect(channel: paramiko.Channel, until: float) -> tuple[int, bytes, bytes, bool]:
    """Read both streams to the end and keep OUTPUT_LIMIT bytes of each; TimeoutError once `until` has passed.

    Returns the exit code, the streams, and whether one was cut.
    """
    kept = {"out": bytearray(), "err": bytearray()}
    truncated = False
    while True:
        for name, ready, receive in (
            ("out", channel.recv_ready, channel.recv),
            ("err", channel.recv_stderr_ready, channel.recv_stderr),
        ):
            while ready():
                chunk = receive(1 << 16)
                room = OUTPUT_LIMIT - len(kept[name])
                kept[name] += chunk[:room]
                truncated = truncated or len(chunk) > room
        if channel.exit_status_ready() and not channel.recv_ready() and not channel.recv_stderr_ready():
            break
        if time.monotonic() > until:
            raise TimeoutError(_("the command did not end in time"))
        channel.status_event.wait(0.05)
    return channel.recv_exit_status(), bytes(kept["out"]), bytes(kept["err"]), truncated


def answers(address: str, timeout: float, port: int = MANAGEMENT_PORT) -> bool:
    """Return whether something accepts TCP connections, on the SSH port or another; the kernel's word that it lives."""
    with suppress(OSError), socket.create_connection((address, port), timeout=timeout):
        return True
    return False


def client_command(login: Login, command: Sequence[str]) -> list[str]:
    """Return the OpenSSH command line for a person's session or command; it holds no secret, only paths."""
    options = {
        "UserKnownHostsFile": str(login.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "PasswordAuthentication": "no",
        "LogLevel": "ERROR",
    }
    words = ["ssh", "-p", str(MANAGEMENT_PORT), "-i", str(login.key)]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return [*words, f"{login.user}@{login.address}", *([login.command_line(command)] if command else [])]


def interactive(login: Login, command: Sequence[str]) -> int:
    """Give the terminal to OpenSSH's client and return its exit code, which is the command's."""
    try:
        return subprocess.run(client_command(login, command), check=False).returncode
    except FileNotFoundError as exc:
        raise missing("ssh") from exc
