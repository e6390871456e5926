"""What checking passes around: a question for a node, the raw reply, and the outcome that follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from labctl.topology.hardware import System
from labctl.topology.model import Check

Task = Mapping[str, JsonValue]  # what a node does, in the agent's format
TIMEOUT = "timeout"  # the agent's word for what did not end in time


class Result(StrEnum):
    """The three outcomes. "Could not be checked" never counts as failed, nor as passed."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Question:
    """What a node does for one check; `command` is what a person would type there, on that system.

    `then` has what other nodes do afterwards, by node; the node "" is the one that was asked.
    """

    check: str
    task: Task
    command: str
    then: Mapping[str, Task] = field(default_factory=dict)
    system: System = System.DEBIAN


@dataclass(frozen=True)
class Reply:
    """What came back. `error` says why there is no answer; output is capped and untrusted.

    `then` has what came back from those who were asked afterwards.
    """

    code: int = 0
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    error: str = ""
    then: Mapping[str, "Reply"] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a probe showed: True it succeeded, False it surely did not, None it says nothing; and what was seen.

    `proof` is False where it did not succeed because nothing answered: a dead server has not refused anything.
    """

    success: bool | None
    seen: str
    proof: bool = True


@dataclass(frozen=True)
class Outcome:
    """The result of one check with its evidence. `seen` is what was observed, in the reader's language.

    `told` has it by language, for documents whose reader is another one; what programs said is in it as they said it.
    `rebooted` says that the nodes it is about were rebooted just before, as a check with `after_reboot` wants.
    """

    check: Check
    result: Result
    seen: str
    command: str
    output: str
    seconds: float
    rebooted: bool = False
    told: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self, language: str) -> dict[str, JsonValue]:
        """Return the outcome as `--json` shows it; keys are stable."""
        return {
            "id": self.check.id,
            "title": self.check.title.pick(language),
            "from": self.check.origin,
            "competency": self.check.competency,
            "points": self.check.points,
            "negative": self.check.negative,
            "after_reboot": self.check.after_reboot,
            "rebooted": self.rebooted,
            "result": str(self.result),
            "text": self.text(language),
            "seen": self.seen,
            "told": dict(self.told),
            "command": self.command,
            "output": self.output,
            "seconds": round(self.seconds, 2),
        }

    def text(self, language: str) -> str:
        """Return the sentence of the topology's author for this outcome; empty where it could not be checked."""
        if self.result is Result.UNKNOWN:
            return ""
        return (self.check.passed if self.result is Result.PASSED else self.check.failed).pick(language)
