"""Turns checks into questions for a node: the agent's task and the command that a person would type."""

import json
import shlex
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import JsonValue

from labctl.checks.model import Question
from labctl.topology.model import Check
from labctl.topology.probes import Command, Dns, File, Http, Ping, RecordType, ServiceUnit, Tcp

AGENT = Path(__file__).with_name("agent.py")
CONNECT_TIMEOUT = 5  # seconds; three SYNs (RFC 6298: sent at 0, 1 and 3 s), so that one lost packet decides nothing
HANDSHAKE_TIMEOUT = 15  # seconds; curl counts the TLS handshake in, which a busy emulated machine takes long for
PROGRAM_TIMEOUT = 30  # seconds for a whole program
MARK = "labctl-status:"  # starts the line that curl adds after the page


def ask(check: Check) -> Question:
    """Return the question of one check."""
    probe = check.probe
    match probe:
        case Tcp(to=host, port=port):
            task: dict[str, JsonValue] = {"do": "tcp", "host": host, "port": port, "timeout": CONNECT_TIMEOUT}
            return Question(check.id, task, f"nc -vz -w {CONNECT_TIMEOUT} {shlex.quote(host)} {port}")
        case File(path=path):
            return Question(check.id, {"do": "file", "path": path}, f"stat {shlex.quote(path)}")
        case _:
            argv = command_of(probe)
            return Question(check.id, {"do": "run", "argv": [*argv], "timeout": PROGRAM_TIMEOUT}, shlex.join(argv))


def command_of(probe: Ping | Http | Dns | Command | ServiceUnit) -> list[str]:
    """Return the program and arguments of a probe that is a command."""
    match probe:
        case Ping(to=host):
            return ["ping", "-n", "-c", "2", "-i", "0.5", "-W", "3", host]
        case Http(url=url):
            return [
                "curl", "--silent", "--show-error", "--noproxy", "*", "--connect-timeout", str(HANDSHAKE_TIMEOUT),
                "--max-time", str(PROGRAM_TIMEOUT - 5), "--write-out", f"\n{MARK}%{{http_code}} %{{redirect_url}}", url,
            ]  # fmt: skip
        case Dns():
            return dig(probe)
        case Command(run=run):
            return [*run]
        case ServiceUnit(unit=unit):
            return ["systemctl", "show", "--property=LoadState,ActiveState,SubState,UnitFileState", unit]


def dig(probe: Dns) -> list[str]:
    """Return the dig command; an address asked for as PTR is turned round by dig itself."""
    server = [f"@{probe.server}"] if probe.server else []
    options = ["+noall", "+comments", "+answer", "+time=3", "+tries=2"]
    if probe.record is RecordType.PTR and is_address(probe.name):
        return ["dig", *options, *server, "-x", probe.name]
    return ["dig", *options, *server, probe.name, str(probe.record)]


def is_address(text: str) -> bool:
    """Return whether the text is an IPv4 address."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def agent_program(questions: Sequence[Question]) -> bytes:
    """Return the Python program that a node reads from its standard input to answer the questions.

    The tasks are a string literal of JSON: nothing in them is code.
    """
    tasks = json.dumps([question.task for question in questions])
    return f"{AGENT.read_text(encoding='utf-8')}\nmain(json.loads({tasks!r}))\n".encode()
