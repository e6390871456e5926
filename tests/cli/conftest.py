"""The installed command, run as its users do: a process of its own, in an installation of its own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import LABCTL, run_labctl

NOWHERE = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"
SPEECH = {"LABCTL_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"}


@dataclass(frozen=True)
class Installation:
    """`labctl` on libvirt's test driver, in an empty home and with a name prefix that nobody else has."""

    home: Path

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a verb and return what came out of it; a traceback is a fault whatever else the test looks at.

        Verbs that are imported speak one language: another one needs a start from the very beginning.
        """
        anew = settings.keys() & SPEECH
        done = self.begin(*words, **settings) if anew else run_labctl(words, self.environment(**settings), self.home)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def begin(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a verb from the very beginning, the start of Python."""
        return subprocess.run(
            [LABCTL, *words], env=self.environment(**settings), cwd=self.home, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the settings of an installation that nobody else has."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "LABCTL_LANG": "en",
            "LABCTL_HOME": str(self.home / "labctl"),
            "LABCTL_URI": "test:///default",
            "LABCTL_PREFIX": f"cli{os.getpid()}-",
            **settings,
        }

    def json(self, *words: str) -> Any:
        """Run a reading verb and return its JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def labctl(tmp_path: Path) -> Installation:
    return Installation(tmp_path)
