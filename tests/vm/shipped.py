"""What the tests of every shipped lab do alike: bring it up, break it by a table of scripts, and see what notices."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.faults import Fault
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh
from tests.vm.trials import Clone, groups, prove_faults


@dataclass(frozen=True)
class Sabotage:
    """What is done to a node, and the checks that see it."""

    node: str
    script: str
    fails: frozenset[str]


def sabotage(node: str, script: str, fails: str) -> Sabotage:
    """Return what a shell script does to a node; `fails` has the checks, separated by blanks."""
    return Sabotage(node, script, frozenset(fails.split()))


def all_fails(*tables: Iterable[Sabotage]) -> frozenset[str]:
    """Return the checks that some tables name."""
    return frozenset(name for table in tables for one in table for name in one.fails)


@dataclass(frozen=True)
class ShippedLab:
    """One lab of a shipped topology."""

    name: str

    @cached_property
    def topology(self) -> Topology:
        return load_topology(shipped_folder("topologies") / f"{self.name}.yml", shipped_catalogue())

    @cached_property
    def checks(self) -> frozenset[str]:
        return frozenset(check.id for check in self.topology.checks)

    @cached_property
    def groups(self) -> Mapping[str, Sequence[Fault]]:
        return groups(self.topology)

    @property
    def lab(self) -> str:
        return f"{self.name}-test"

    @property
    def folder(self) -> Path:
        return TEST_HOME / "labs" / self.lab

    @contextmanager
    def running(self, labctl: Installation) -> Iterator[None]:
        """Bring up the lab, behind a golden lab whose checks all passed, and remove it; the golden lab stays."""
        done = labctl.run("up", self.name, "--student", "test", timeout=2300)
        assert done.returncode == 0, done.stdout + done.stderr
        nodes = len(self.topology.nodes)
        assert done.stdout.strip() == f"{self.lab}: {nodes} of {nodes} nodes ready"
        yield
        labctl.run("down", self.lab)
        assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"

    def not_passed(self, labctl: Installation, *words: str) -> dict[str, str]:
        """Run checks, all but for `words`; return those that did not pass with what was seen."""
        found = labctl.json("check", self.lab, *words)["checks"]
        assert words or {check["id"] for check in found} == self.checks
        return {check["id"]: f"{check['result']}: {check['seen']}" for check in found if check["result"] != "passed"}

    def on(self, labctl: Installation, node: str, script: str) -> str:
        """Run a shell script on a node and return what it prints."""
        done = labctl.run("ssh", self.lab, node, "--", "sh", "-ec", script, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def broken(self, labctl: Installation, table: Sequence[Sabotage]) -> Iterator[dict[str, str]]:
        """Do what a table says and give what does not pass then; the lab is as it was afterwards."""
        try:
            for one in table:
                self.on(labctl, one.node, one.script)
            yield self.not_passed(labctl)
        finally:
            assert labctl.run("reset", self.lab, "--yes").returncode == 0

    def play_again(self, labctl: Installation) -> None:
        """Run the playbooks again: they change nothing on any node."""
        report = json.loads(labctl.run("configure", self.lab, "--json").stdout)
        changed = {node: found["changed"] for node, found in report["nodes"].items()}
        assert changed == dict.fromkeys(self.topology.nodes, 0), report

    def artifacts_with(self, words: Iterable[str]) -> list[Path]:
        """Return what the runs of the playbooks left that holds one of some words."""
        wanted = tuple(words)
        files = [path for path in (self.folder / "ansible").rglob("*") if path.is_file()]
        assert files, "no play has run yet"
        return [path for path in files if any(word in path.read_text("latin-1") for word in wanted)]

    def prove(self, labctl: Installation, group: str) -> None:
        """Prove a group of faults; one that is not as it says leaves a lab that is as it was."""
        try:
            prove_faults(self.groups[group], Clone(labctl, self.lab))
        except BaseException:
            labctl.run("reset", self.lab, "--yes")
            raise
