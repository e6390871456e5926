"""Runs playbooks on a lab with ansible-runner and turns its events into progress and one report per node."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress

KEPT_RUNS = 5  # artifact folders kept per lab
FORKS = 12
STEP = "configure"
EMPTY_SETTINGS = "ansible.cfg"  # Ansible wants a file of this name, /dev/null will not do

# The controller's children must die with labctl: Ansible would go on alone and race the next run. A PID
# namespace whose first process is ansible-playbook takes its forks and SSH masters down with it, and
# the parent-death signal (prctl(2), PR_SET_PDEATHSIG) ends that one when labctl is killed.
LEASH = ("setpriv", "--pdeathsig=KILL", "unshare", "--fork", "--kill-child=KILL", "--pid", "--mount-proc")


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed on a node; `message` is the module's own, not evaluated, not translated."""

    task: str
    message: str


@dataclass
class NodeReport:
    """What a run did on one node. A node that no play matched has `seen` unset: that is a failure too."""

    node: str
    seen: bool = False
    ok: int = 0
    changed: int = 0
    changes: list[str] = field(default_factory=list)
    failures: list[TaskFailure] = field(default_factory=list)
    unreachable: str = ""

    @property
    def succeeded(self) -> bool:
        """Return whether the node was reached and every task ended well."""
        return self.seen and not self.failures and not self.unreachable

    def explain(self) -> str:
        """Return in one sentence what went wrong."""
        if self.unreachable:
            return _("{node} could not be reached: {error}").format(node=self.node, error=self.unreachable)
        if self.failures:
            first = self.failures[0]
            text = _('{node}: the task "{task}" failed: {message}')
            return text.format(node=self.node, task=first.task, message=first.message)
        return _("{node}: no play was run on it").format(node=self.node)


@dataclass(frozen=True)
class Report:
    """What a run did, by node; `tail` is the end of Ansible's own output."""

    nodes: Mapping[str, NodeReport]
    tail: str

    @property
    def failed(self) -> tuple[NodeReport, ...]:
        """Return the nodes that are not configured."""
        return tuple(report for report in self.nodes.values() if not report.succeeded)


def configure(
    folder: Path,
    plays: Sequence[Mapping[str, JsonValue]],
    inventory: Mapping[str, JsonValue],
    roles: Path,
    monitor: Monitor,
    *,
    limit: Sequence[str],
) -> Report:
    """Run the plays on the inventory's hosts in one ansible-playbook.

    `folder` is the lab's private data folder; `limit` the nodes to configure. Raises LabctlError where Ansible
    itself fails (a syntax error, a missing role); a failing or unreachable node is a result, not an exception.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / EMPTY_SETTINGS).touch(mode=0o600)
    write_private(folder / "project" / "site.json", plays)
    write_private(folder / "inventory" / "hosts.json", inventory)
    listener = Listener({node: NodeReport(node) for node in limit}, monitor)
    with short_folder() as control:
        runner = ansible_runner.interface.init_runner(
            private_data_dir=str(folder), playbook="site.json", inventory=str(folder / "inventory" / "hosts.json"),
            envvars=environment(folder, roles, control), event_handler=listener.hear, quiet=True,
            rotate_artifacts=KEPT_RUNS, suppress_env_files=True, limit=",".join(limit),
        )  # fmt: skip
        runner.config.command = [*LEASH, *runner.config.command]
        runner.run()
    tail = read_tail(Path(runner.config.artifact_dir) / "stdout")
    if runner.rc and not listener.started:
        raise LabctlError(_("Ansible could not start:\n{output}").format(output=tail), hint=f"ls {roles}")
    return Report(listener.reports, tail)


def environment(folder: Path, roles: Path, control: str) -> dict[str, str]:
    """Return Ansible's settings; the user's own configuration must not change what a lab is."""
    return {
        "ANSIBLE_CONFIG": str(folder / EMPTY_SETTINGS),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_ROLES_PATH": str(roles),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_TIMEOUT": "60",
        "ANSIBLE_HOST_KEY_CHECKING": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": control,
        "ANSIBLE_SSH_RETRIES": "2",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


@contextlib.contextmanager
def short_folder() -> Iterator[str]:
    """Give a private folder with a short name: a Unix socket's path has at most 107 characters (unix(7))."""
    path = tempfile.mkdtemp(prefix="lc-", dir="/tmp")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_private(path: Path, data: object) -> None:
    """Write JSON for the owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")


def read_tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of Ansible's output."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


class Listener:
    """Hears the runner's events one by one; keeps the reports and tells the monitor."""

    def __init__(self, reports: dict[str, NodeReport], monitor: Monitor) -> None:
        self.reports = reports
        self.monitor = monitor
        self.started = False

    def hear(self, event: Mapping[str, Any]) -> bool:
        """Take one event; return False so that the runner keeps no file of it: a result may hold a secret."""
        kind = event.get("event", "")
        data = event.get("event_data", {})
        report = self.reports.get(data.get("host", ""))
        if kind == "playbook_on_play_start":
            self.started = True
        elif kind == "playbook_on_stats":
            self.close(data)
        elif report is not None and kind.startswith("runner_"):
            self.hear_task(kind, data, report)
        return False

    def hear_task(self, kind: str, data: Mapping[str, Any], report: NodeReport) -> None:
        """Take one task's start or result on one node."""
        task = str(data.get("task", ""))
        if kind == "runner_on_start":
            self.monitor.tell(Event(report.node, STEP, Progress.RUNNING, task))
        elif kind == "runner_on_ok":
            report.ok += 1
            if data.get("res", {}).get("changed"):
                report.changes.append(task)
        elif kind == "runner_on_unreachable":
            report.unreachable = first_line(data.get("res", {}))
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            report.failures.append(TaskFailure(task, first_line(data.get("res", {}))))

    def close(self, data: Mapping[str, Any]) -> None:
        """Take the final count; only nodes that were processed count as seen."""
        for node, report in self.reports.items():
            report.seen = node in data.get("processed", {})
            report.changed = data.get("changed", {}).get(node, 0)
            progress = Progress.DONE if report.succeeded else Progress.FAILED
            self.monitor.tell(Event(node, STEP, progress, "" if report.succeeded else report.explain()))


def first_line(result: Mapping[str, Any]) -> str:
    """Return what a module said, one line, cut: guests choose its words. A loop's own word is that of a failed item."""
    for item in result.get("results") or ():
        if isinstance(item, Mapping) and item.get("failed"):
            return first_line(item)
    for key in ("msg", "stderr", "module_stderr", "stdout", "censored"):
        text = str(result.get(key) or "").strip()
        if text:
            line = " ".join(text.split())
            return "".join(letter for letter in line if letter.isprintable())[:300]
    return _("no message")
