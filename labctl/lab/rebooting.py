"""Reboots nodes of a lab by their own command, and waits until each has come up again under another boot id."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from labctl.checks.model import Outcome, Result
from labctl.checks.questions import ask
from labctl.errors import DeadlineMissed, LabctlError
from labctl.lab.checking import Prober, run_checks
from labctl.lab.doors import Runner
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.powershell import RUN_SCRIPT, payload
from labctl.ssh import Answer, Login, Unreachable
from labctl.topology.model import Check, Topology

STEP = "reboot"
DEADLINE = 300  # seconds; a machine without hardware acceleration takes up to a minute and a half for a boot
SERVICES = 120  # seconds for what starts at boot to have started
ANSWER = 30  # seconds for one question
PAUSE = 1.0  # seconds between two looks


@dataclass(frozen=True)
class Words:
    """One command as Debian takes it, and as Windows does, with what it reads there."""

    debian: Sequence[str]
    windows: tuple[Sequence[str], bytes]


# Of the process that is there once, from the start on: the time of the start itself moves when the clock is set.
BOOT_TIME = "(Get-CimInstance -ClassName Win32_Process -Filter \"Name = 'wininit.exe'\").CreationDate.ToFileTimeUtc()"
# Services that begin by themselves: those that begin late, or only when they are needed, are not waited for.
STARTED = f"""
$until = (Get-Date).AddSeconds({SERVICES - ANSWER})
do {{
    Start-Sleep -Seconds 1
    $left = Get-CimInstance -ClassName Win32_Service -Filter "StartMode = 'Auto' AND State = 'Start Pending'"
}} while ($left -and (Get-Date) -lt $until)
"""
TELL_BOOT = Words(["cat", "/proc/sys/kernel/random/boot_id"], (RUN_SCRIPT, payload(BOOT_TIME)))
REBOOT = Words(["systemctl", "reboot"], (["shutdown.exe", "/r", "/t", "0"], b""))
WAIT_SERVICES = Words(["systemctl", "is-system-running", "--wait"], (RUN_SCRIPT, payload(STARTED)))


@dataclass(frozen=True)
class Rebooting:
    """Reboots nodes over SSH."""

    guests: Runner
    logins: Mapping[str, Login]
    monitor: Monitor
    deadline: float = DEADLINE

    def reboot(self, nodes: Collection[str]) -> dict[str, LabctlError]:
        """Reboot nodes side by side; return why some did not come up again. Work that was not saved is lost."""
        with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as workers:
            work = {node: workers.submit(self.reboot_node, node) for node in nodes}
            return {node: error for node, done in work.items() if (error := done.result())}

    def reboot_node(self, node: str) -> LabctlError | None:
        """Reboot one node; return why it did not come up again."""
        self.monitor.tell(Event(node, STEP, Progress.STARTED))
        try:
            before = self.first_boot_id(node)
            # The connection may end before the answer comes.
            with suppress(Unreachable, TimeoutError):
                self.run(node, REBOOT)
            self.wait_boot(node, before)
        except (LabctlError, TimeoutError) as exc:
            error = exc if isinstance(exc, LabctlError) else LabctlError(str(exc))
            self.monitor.tell(Event(node, STEP, Progress.FAILED, error.message))
            return error
        self.monitor.tell(Event(node, STEP, Progress.DONE))
        return None

    def first_boot_id(self, node: str) -> str:
        """Return the id of the node's boot. Raises LabctlError where it tells none."""
        found = self.boot_id(node)
        if not found:
            raise LabctlError(_("{node} does not tell when it was started").format(node=node))
        return found

    def boot_id(self, node: str) -> str:
        """Return the id of the node's boot."""
        return self.run(node, TELL_BOOT).stdout.strip()

    def run(self, node: str, asked: Words, deadline: float = ANSWER) -> Answer:
        """Run one of two commands on a node, by its system. Raises Unreachable or TimeoutError."""
        login = self.logins[node]
        words, stdin = asked.windows if login.windows else (asked.debian, b"")
        return self.guests.run(login, words, stdin=stdin, deadline=deadline)

    def wait_boot(self, node: str, before: str) -> None:
        """Wait for another boot id, then for the services. Raises DeadlineMissed."""
        until = time.monotonic() + self.deadline
        while True:
            with suppress(Unreachable, TimeoutError):
                if self.boot_id(node) not in ("", before):
                    break
            if time.monotonic() > until:
                text = _("{node} has not come up again within {seconds:.0f} s after a reboot")
                raise DeadlineMissed(text.format(node=node, seconds=self.deadline))
            time.sleep(PAUSE)
        # A unit that fails makes it end with an error: the checks say what that means.
        with suppress(Unreachable, TimeoutError):
            self.run(node, WAIT_SERVICES, SERVICES)


def run_rebooted_checks(
    checks: Sequence[Check], topology: Topology, rebooting: Rebooting, prober: Prober
) -> tuple[Outcome, ...]:
    """Reboot the nodes that checks are about, then run the checks.

    A node that does not come up again fails no check: what is about it could not be checked.
    """
    lost = rebooting.reboot(concerned_nodes(checks, topology))
    missing = {
        check.id: "; ".join(lost[node].message for node in concerned_nodes([check], topology) if node in lost)
        for check in checks
    }
    asked = [check for check in checks if not missing[check.id]]
    found = {outcome.check.id: outcome for outcome in run_checks(asked, prober, rebooting.monitor)}
    return tuple(
        replace(found[check.id], rebooted=True)
        if check.id in found
        else Outcome(check, Result.UNKNOWN, missing[check.id], ask(check, "", prober.address).command, "", 0.0)
        for check in checks
    )


def concerned_nodes(checks: Sequence[Check], topology: Topology) -> list[str]:
    """Return the nodes that checks with `after_reboot` are about, in the order of the topology.

    They are those that probe, and those whose name or address is what is probed.
    """
    named = {word for check in checks if check.after_reboot for word in words_of(check)}
    return [
        name
        for name, node in topology.nodes.items()
        if name in named or named & {str(card.address) for card in node.interfaces.values()}
    ]


def words_of(check: Check) -> Iterator[str]:
    """Yield the names and addresses that a check may be about."""
    yield check.node
    fields = check.probe.model_dump(mode="json")
    for key in ("to", "server", "at"):
        word = str(fields.get(key))
        yield from (word, word.partition(".")[0])  # a machine is its name in a domain too
    for key in ("allow", "deny"):
        yield from (str(flow["to"]) for flow in fields.get(key) or ())
