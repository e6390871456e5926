"""Turns checks into questions for a node, and questions into the program that the node runs: Python or PowerShell."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from labctl import powershell
from labctl.checks.kinds import kind_of
from labctl.checks.model import Question
from labctl.topology.hardware import System
from labctl.topology.model import Check
from labctl.topology.probes import HOST, asked_at

FOLDER = Path(__file__).parent
CORE = "agent.py"
WINDOWS_CORE = "agent.ps1"
CONTROLLER = "controller.ps1"  # runs what is sent to a Windows node
WINDOWS_ROUND = 130  # seconds for all tasks, as the agent in Python has them
FIRST = "from __future__ import annotations"

# The tasks of the agent, by the file that has them; the core is always sent.
TASKS: Mapping[str, tuple[str, ...]] = {
    CORE: ("run", "tcp", "file"),
    "agent_network.py": ("udp", "flows", "trace", "sntp", "clock", "handshakes", "snmp"),
    "agent_dhcp.py": ("dhcp",),
    "agent_messages.py": ("smtp", "imap", "certificate", "certificate_file", "write_log", "arrival"),
    "agent_system.py": ("account", "group", "smb", "digest", "backup"),
}


# The same for the agent in PowerShell.
WINDOWS_TASKS: Mapping[str, tuple[str, ...]] = {
    WINDOWS_CORE: ("run", "tcp", "ping"),
    "agent_network.ps1": ("dns", "http"),
    "agent_system.ps1": (
        "file", "service", "account", "group", "registry", "feature", "policy", "scope", "share", "events", "rule",
    ),
}  # fmt: skip


def ask(check: Check, token: str = "", address: Callable[[str], str] = str, system: System = System.DEBIAN) -> Question:
    """Return the question of one check; `token` tells this run from others, where a probe leaves something behind.

    `address` gives that of a node on its management link, by which the host asks it; `system` is the one that is asked.
    """
    probe = asked_at(check.probe, address(check.node)) if check.origin == HOST else check.probe
    asked = kind_of(probe, system).ask(probe)
    mark = f"{token}-{check.id}"
    then = {node: {**task, "token": mark} for node, task in asked.then.items()}
    return Question(check.id, {**asked.task, "token": mark}, asked.command, then, system)


def agent_program(questions: Sequence[Question]) -> bytes:
    """Return the Python program that a node reads from its standard input to answer the questions.

    The tasks are a string literal of JSON: nothing in them is code.
    """
    wanted = {str(question.task["do"]) for question in questions}
    files = [name for name, tasks in TASKS.items() if name == CORE or wanted.intersection(tasks)]
    functions = [task for name in files for task in TASKS[name] if task in wanted]
    tasks = json.dumps([dict(question.task) for question in questions])
    last = f"main([{', '.join(functions)}], json.loads({tasks!r}))\n"
    return "\n\n".join([FIRST, *map(source, files), last]).encode()


def windows_program(questions: Sequence[Question]) -> bytes:
    """Return what a Windows node reads from its standard input to answer the questions, by `powershell.RUN_SCRIPT`.

    Both the functions and the tasks are base64: nothing in them is put together with code.
    """
    wanted = {str(question.task["do"]) for question in questions}
    files = [name for name, tasks in WINDOWS_TASKS.items() if name == WINDOWS_CORE or wanted.intersection(tasks)]
    functions = literal("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in files))
    tasks = literal(json.dumps({"tasks": [dict(question.task) for question in questions]}))
    return windows_payload(
        f"$functions = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String({functions}))\n"
        f". ([ScriptBlock]::Create($functions))\nInvoke-Round $functions {tasks} {WINDOWS_ROUND}\n"
    )


def windows_payload(script: str) -> bytes:
    """Return a script as `powershell.RUN_SCRIPT` reads it; on a domain controller, it has the rights of the system.

    Who logs in by a key has no credentials there (PowerShell/Win32-OpenSSH, issues 951 and 1881).
    """
    return powershell.payload(f"$script = {literal(script)}\n{(FOLDER / CONTROLLER).read_text(encoding='utf-8')}")


def literal(text: str) -> str:
    """Return a text in base64 as a string of PowerShell."""
    return powershell.quote(base64.b64encode(text.encode()).decode("ascii"))


def source(name: str) -> str:
    """Return a file of the agent without its imports from the others: a node has all of them in one namespace.

    Annotations are never looked at there, so that what they need is not imported either.
    """
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith(("from labctl.", "from typing ")))
