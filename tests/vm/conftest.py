"""One real lab for the tests of this folder: an installation of its own, whose images are kept between runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.homes import TEST_HOME
from tests.vm.libvirtd import PID_FILE

pytest.register_assert_rewrite("tests.vm.trials", "tests.vm.shipped")

PREFIX = os.environ.get("LABCTL_TEST_PREFIX", "t-")  # two runs side by side need two homes and two prefixes
LAB = "dmz-test"
LABCTL = Path(sys.executable).with_name("labctl")


@dataclass(frozen=True)
class Installation:
    """The installed command, in a home and with a name prefix that no class uses."""

    environment: dict[str, str]

    def run(self, *words: str, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        """Run `labctl` as its users do."""
        return subprocess.run(
            [LABCTL, *words], env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `labctl` and let it work."""
        return subprocess.Popen(
            [LABCTL, *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def json(self, *words: str) -> Any:
        """Run a reading verb and return its JSON."""
        done = self.run(*words, "--json")
        return json.loads(done.stdout)

    def on(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a node of the lab."""
        return self.run("ssh", LAB, node, "--", *command, timeout=120)


def virsh(*words: str) -> str:
    """Run virsh, the other hand on this host."""
    return subprocess.run(
        ["virsh", "--quiet", "--connect", "qemu:///system", *words], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="session")
def labctl() -> Installation:
    """Return the tests' own installation, without what an interrupted run left."""
    TEST_HOME.mkdir(mode=0o711, exist_ok=True)
    environment = {**os.environ, "LABCTL_HOME": str(TEST_HOME), "LABCTL_PREFIX": PREFIX, "LABCTL_LANG": "en"}
    found = Installation(environment)
    found.run("down", "--all", "--yes")
    return found


@pytest.fixture
def daemon() -> int:
    """Return the process of the system's libvirt, where nothing but tests depends on it."""
    others = [name for name in virsh("list", "--name").split() if not name.startswith(PREFIX)]
    if others and not os.environ.get("LABCTL_TEST_DISTURB"):
        pytest.skip(f"libvirt is not disturbed while machines of somebody else run: {', '.join(others)}")
    virsh("uri")  # a daemon that starts on demand is there now
    return int(PID_FILE.read_text())


@pytest.fixture(scope="session")
def lab(labctl: Installation) -> Iterator[subprocess.CompletedProcess[str]]:
    """Bring up the lab `dmz` once, from nothing, and remove it at the end."""
    done = labctl.run("up", "dmz", "--student", "test")
    yield done
    labctl.run("down", LAB)
    assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"
    assert PREFIX not in virsh("net-list", "--all", "--name"), "networks were left behind"
