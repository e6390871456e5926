"""What checking knows of one kind of probe: how it is asked and how its reply is judged."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import JsonValue

from labctl.checks.model import Reply, Task, Verdict

P = TypeVar("P")

CONNECT_TIMEOUT = 5  # seconds; three SYNs (RFC 6298: sent at 0, 1 and 3 s), so that one lost packet decides nothing
HANDSHAKE_TIMEOUT = 15  # seconds; TLS on a busy emulated machine takes long
PROGRAM_TIMEOUT = 30  # seconds for a whole program
NO_NAME = 2  # the agent's code for a name that does not resolve


@dataclass(frozen=True)
class Asked:
    """A task in the agent's format, what a person would type, and the tasks for other nodes that follow, by node."""

    task: Task
    command: str
    then: Mapping[str, Task] = field(default_factory=dict)


def never(_reply: Reply) -> bool:
    """Return that a reply of a program that ended by itself is not late."""
    return False


@dataclass(frozen=True)
class Kind(Generic[P]):
    """One kind of probe. `late` tells of a reply whether the program itself gave up what had begun to answer."""

    probe: type[P]
    ask: Callable[[P], Asked]
    judge: Callable[[P, Reply], Verdict]
    late: Callable[[Reply], bool] = never


def program(*argv: str, command: str = "", **more: JsonValue) -> Asked:
    """Return the question that runs a program; `command` is what a person would type, where it is not the same."""
    words: list[JsonValue] = [*argv]
    return Asked({"do": "run", "argv": words, "timeout": PROGRAM_TIMEOUT, **more}, command or shlex.join(argv))
