"""Checks asked of this very machine: nodes are subprocesses, each in a network namespace if a test wants one."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labctl.checks.model import Outcome, Question, Reply
from labctl.checks.questions import agent_program
from labctl.lab.checking import parse_replies, run_checks
from labctl.monitor import Silent
from labctl.ssh import Answer
from labctl.topology.hardware import System
from labctl.topology.model import Check

TEXTS = {"en": "text", "fr": "texte"}


def make(probe: dict[str, Any], *, negative: bool = False, origin: str = "here", **more: Any) -> Check:
    """Return a check of one probe."""
    return Check.model_validate({
        "id": "one", "title": TEXTS, "from": origin, "probe": probe, "negative": negative,
        "competency": "B2.2.1", "pass": {"en": "good", "fr": "bien"}, "fail": {"en": "bad", "fr": "mal"}, **more,
    })  # fmt: skip


@dataclass(frozen=True)
class Local:
    """A prober whose nodes are Python processes; `spaces` has the network namespace of a node."""

    spaces: Mapping[str, str] = field(default_factory=dict)

    def probe(self, node: str, questions: Sequence[Question]) -> Sequence[Reply]:
        inside = ["ip", "netns", "exec", self.spaces[node]] if node in self.spaces else []
        done = subprocess.run(
            [*inside, sys.executable, "-I", "-"], input=agent_program(questions), capture_output=True,
            check=False, timeout=120,
        )  # fmt: skip
        answer = Answer(done.returncode, done.stdout.decode(), done.stderr.decode())
        return parse_replies(answer, len(questions))

    def address(self, _node: str) -> str:
        return "127.0.0.1"

    def system(self, _node: str) -> System:
        return System.DEBIAN


def outcome(probe: dict[str, Any], *, negative: bool = False, spaces: Mapping[str, str] | None = None) -> Outcome:
    """Return what comes of one probe, asked, answered and judged as in a lab."""
    (found,) = run_checks([make(probe, negative=negative)], Local(spaces or {}), Silent())
    return found


def outcomes(*probes: dict[str, Any], spaces: Mapping[str, str] | None = None) -> list[Outcome]:
    """Return what comes of several probes, asked at once."""
    checks = [make(probe, id=f"n{number}") for number, probe in enumerate(probes)]
    return list(run_checks(checks, Local(spaces or {}), Silent()))
