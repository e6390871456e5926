"""Asks nodes of a lab and the host a topology's checks, waits where one may wait, and gives outcomes in order."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Protocol

from labctl.checks.decide import decide, is_late
from labctl.checks.lines import printable
from labctl.checks.model import Outcome, Question, Reply, Result
from labctl.checks.questions import agent_program, ask, windows_program
from labctl.crew import Crew
from labctl.errors import LabctlError
from labctl.lab.doors import Runner
from labctl.lab.vantage import require_links, run_here
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.powershell import RUN_SCRIPT
from labctl.ssh import Answer, Login
from labctl.topology.hardware import System
from labctl.topology.model import Check
from labctl.topology.probes import HOST

STEP = "check"
ROUND_DEADLINE = 200  # seconds for all probes of one node: its agent takes 130, and starts late on a busy host
PAUSE = 2.0  # seconds between two rounds of checks that may wait


class Prober(Protocol):
    """Asks one node or the host; one that cannot be asked gives a reply with an error for each question.

    `address` is that of a node on its management link, by which the host asks it; `system` what runs on it.
    """

    def probe(self, node: str, questions: Sequence[Question]) -> Sequence[Reply]: ...
    def address(self, node: str) -> str: ...
    def system(self, node: str) -> System: ...


@dataclass(frozen=True)
class SshProber:
    """Asks over SSH, by a program that the node's Python or PowerShell reads from standard input; the host, without."""

    guests: Runner
    logins: Mapping[str, Login]

    def probe(self, node: str, questions: Sequence[Question]) -> Sequence[Reply]:
        """Return the replies in the order of the questions."""
        try:
            answer = self.run_on_host(agent_program(questions)) if node == HOST else self.run_on_node(node, questions)
        except (LabctlError, TimeoutError) as exc:
            return [Reply(error=str(exc))] * len(questions)
        return parse_replies(answer, len(questions))

    def run_on_node(self, node: str, questions: Sequence[Question]) -> Answer:
        """Run the program that asks on a node. Raises Unreachable or TimeoutError."""
        login = self.logins[node]
        command: Sequence[str] = RUN_SCRIPT if login.windows else ("python3", "-I", "-S", "-")
        program = windows_program(questions) if login.windows else agent_program(questions)
        return self.guests.run(login, command, stdin=program, deadline=ROUND_DEADLINE)

    def run_on_host(self, program: bytes) -> Answer:
        """Run a program on the host. Raises LabctlError, for a lab that does not run too, or TimeoutError."""
        require_links(login.address for login in self.logins.values())
        return run_here(program, ROUND_DEADLINE)

    def address(self, node: str) -> str:
        """Return the address of a node on its management link, with its zone."""
        return self.logins[node].address

    def system(self, node: str) -> System:
        """Return what runs on a node; the host is asked as a Debian node is."""
        return System.DEBIAN if node == HOST else self.logins[node].system


def parse_replies(answer: Answer, count: int) -> Sequence[Reply]:
    """Return what the agent printed; a guest may print anything, and then nothing was checked."""
    try:
        replies = [parse_reply(item) for item in json.loads(answer.stdout)]
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        replies = []
    if len(replies) != count:
        said = " ".join((answer.stderr or answer.stdout).split())[-200:]
        return [Reply(error=_("the node gave no usable answer: {said}").format(said=printable(said)))] * count
    return replies


def parse_reply(item: Mapping[str, Any]) -> Reply:
    """Return one reply of the agent. Raises a Python error where it is none."""
    seconds = float(item["seconds"])
    if not isfinite(seconds):
        raise ValueError(seconds)
    out, err, error = (whole(str(item.get(key, ""))) for key in ("out", "err", "error"))
    return Reply(int(item.get("code", 0)), out, err, seconds, error)


def whole(text: str) -> str:
    """Return a text that can be written as UTF-8: JSON may hold one half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def run_checks(
    checks: Sequence[Check], prober: Prober, monitor: Monitor, clock: Callable[[], float] = time.monotonic
) -> tuple[Outcome, ...]:
    """Return the outcome of each check, in order; nodes are asked side by side."""
    by_node: dict[str, list[Check]] = {}
    for check in checks:
        by_node.setdefault(check.origin, []).append(check)
    with Crew(max_workers=max(1, len(by_node))) as workers:
        work = [workers.submit(check_node, node, asked, prober, monitor, clock) for node, asked in by_node.items()]
        found = {outcome.check.id: outcome for done in work for outcome in done.result()}
    return tuple(found[check.id] for check in checks)


def check_node(
    node: str, checks: Sequence[Check], prober: Prober, monitor: Monitor, clock: Callable[[], float]
) -> list[Outcome]:
    """Ask one node until every check has passed or may wait no longer.

    Those that did not end in time are asked again as long as others do: each round has fewer, so that it ends.
    """
    start = clock()
    settled: dict[str, Outcome] = {}
    open_checks = list(checks)
    while open_checks:
        detail = _("{count} left").format(count=len(open_checks))
        fraction = len(settled) / len(checks)
        monitor.tell(Event(node, STEP, Progress.RUNNING, detail, fraction))
        token = secrets.token_hex(6)
        questions = [ask(check, token, prober.address, prober.system(node)) for check in open_checks]
        replies = ask_afterwards(node, questions, prober.probe(node, questions), prober)
        # What a slow machine does not do in time beside all the rest, it may do after it.
        asked = zip(open_checks, questions, replies, strict=True)
        late = [is_late(check, question, reply) for check, question, reply in asked]
        waiting = []
        for number, (check, question, reply) in enumerate(zip(open_checks, questions, replies, strict=True)):
            outcome = decide(check, question, reply)
            settled[check.id] = outcome
            may_wait = outcome.result is not Result.PASSED and clock() - start + PAUSE < check.wait
            if may_wait or (late[number] and not all(late)):
                waiting.append(check)
        open_checks = waiting
        if open_checks:
            time.sleep(PAUSE)
    bad = [outcome for outcome in settled.values() if outcome.result is not Result.PASSED]
    monitor.tell(Event(node, STEP, Progress.FAILED if bad else Progress.DONE, "", 1.0))
    return list(settled.values())


def ask_afterwards(
    node: str, questions: Sequence[Question], replies: Sequence[Reply], prober: Prober
) -> Sequence[Reply]:
    """Return the replies with those of the nodes that are asked after them; each is asked once for all questions."""
    wanted: dict[str, list[tuple[int, str, Question]]] = {}
    for position, (question, reply) in enumerate(zip(questions, replies, strict=True)):
        for other, task in () if reply.error else question.then.items():
            later = Question(question.check, task, question.command)
            wanted.setdefault(other or node, []).append((position, other, later))
    found: dict[int, dict[str, Reply]] = {}
    for other, asked in wanted.items():
        answers = prober.probe(other, [question for _position, _key, question in asked])
        for (position, key, _question), answer in zip(asked, answers, strict=True):
            found.setdefault(position, {})[key] = answer
    return [
        replace(reply, then=found[position]) if position in found else reply for position, reply in enumerate(replies)
    ]
