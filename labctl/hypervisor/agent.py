"""Requests to the agent inside a machine (set its clock, run a program) to its answers, which are a guest's claims."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

import libvirt_qemu

from labctl.errors import LabctlError
from labctl.hypervisor.binding import Connection, Domain
from labctl.hypervisor.domains import find_own
from labctl.language import _

ANSWER_SECONDS = 30  # for one request; the agent answers at once where it answers at all, unless the host is busy
LARGEST_INPUT = 1 << 20  # bytes; beyond, the agent's channel is the wrong way
LARGEST_OUTPUT = 256 << 10  # bytes that are kept, F-42
KILLED = 128  # added to a signal's number, as shells do


@dataclass(frozen=True)
class Ended:
    """How a program in the guest ended: its exit code and the start of what it wrote to stdout."""

    code: int
    stdout: bytes


def start_program(connection: Connection, name: str, lab: str, argv: Sequence[str], stdin: bytes) -> int:
    """Start a program in our domain and return its number in the guest. Raises ValueError for too large an input."""
    if len(stdin) > LARGEST_INPUT:
        raise ValueError(len(stdin))
    words = {
        "path": argv[0],
        "arg": list(argv[1:]),
        "capture-output": True,
        "input-data": base64.b64encode(stdin).decode(),
    }
    answer = ask(find_own(connection, name, lab), "guest-exec", words)
    try:
        return int(answer["pid"])
    except (KeyError, TypeError, ValueError) as exc:
        raise nonsense(name) from exc


def find_end(connection: Connection, name: str, lab: str, pid: int) -> Ended | None:
    """Return how a started program ended, None while it runs."""
    answer = ask(find_own(connection, name, lab), "guest-exec-status", {"pid": pid})
    try:
        if not answer["exited"]:
            return None
        code = int(answer["exitcode"]) if "exitcode" in answer else KILLED + int(answer.get("signal", 0))
        return Ended(code, base64.b64decode(answer.get("out-data", ""))[:LARGEST_OUTPUT])
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        raise nonsense(name) from exc


def ask(domain: Domain, command: str, arguments: dict[str, object]) -> dict[str, str]:
    """Send one request to the agent and return what it says; nothing in the answer can be trusted."""
    request = json.dumps({"execute": command, "arguments": arguments})
    answer = libvirt_qemu.qemuAgentCommand(domain, request, ANSWER_SECONDS, 0)
    try:
        returned = json.loads(answer)["return"]
    except (KeyError, TypeError, ValueError) as exc:
        raise nonsense(domain.name()) from exc
    if not isinstance(returned, dict):
        raise nonsense(domain.name())
    return returned


def nonsense(name: str) -> LabctlError:
    """Return the error for an agent that does not speak its protocol."""
    return LabctlError(_('the guest agent of "{name}" gives an answer that makes no sense').format(name=name))
