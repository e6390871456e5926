"""The installed command, run as its users do: a process of its own, in an installation of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LABCTL = Path(sys.executable).with_name("labctl")
NOWHERE = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"


@dataclass(frozen=True)
class Installation:
    """`labctl` on libvirt's test driver, in an empty home and with a name prefix that nobody else has."""

    home: Path

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a verb and return what came out of it; a traceback is a fault whatever else the test looks at."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "LABCTL_LANG": "en",
            "LABCTL_HOME": str(self.home / "labctl"),
            "LABCTL_URI": "test:///default",
            "LABCTL_PREFIX": f"cli{os.getpid()}-",
            **settings,
        }
        done = subprocess.run(
            [LABCTL, *words], env=environment, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def json(self, *words: str) -> Any:
        """Run a reading verb and return its JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def labctl(tmp_path: Path) -> Installation:
    return Installation(tmp_path)
