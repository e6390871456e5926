"""`labctl portal` as a trainer starts it, before real labs."""

import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from labctl.worker.accounts import Accounts
from labctl.worker.records import Records
from labctl.worker.values import Role
from tests.homes import TEST_HOME
from tests.vm.conftest import Installation

TRAINER = "durand"
PROCESSES = {"worker": "labctl.worker.main", "web": "labctl.portal.server"}


@dataclass
class Portal:
    """A portal that serves, the sessions of its people, and the codes that they were not asked for yet."""

    address: str
    process: "subprocess.Popen[str]"
    tokens: dict[str, str]
    codes: Mapping[str, str] = field(default_factory=dict)

    def token(self, name: str) -> str:
        """Return the session of somebody."""
        return self.tokens[name]

    def part(self, name: str) -> psutil.Process:
        """Return one of its two processes."""
        for child in psutil.Process(self.process.pid).children():
            if PROCESSES[name] in child.cmdline():
                return child
        raise LookupError(name)


def forget_people() -> None:
    """Forget the accounts, sessions and jobs of an earlier portal."""
    for path in TEST_HOME.glob("portal.sqlite3*"):
        path.unlink()


def begin_sessions(*students: str, class_name: str) -> dict[str, str]:
    """Make the trainer of a class, and return a session of theirs and of each student."""
    Accounts(Records(TEST_HOME)).set_account(TRAINER, "Mme Durand", Role.TRAINER, (class_name,))
    return {name: begin_session(name) for name in (TRAINER, *students)}


def begin_session(name: str) -> str:
    """Return a session of somebody who has an account."""
    accounts = Accounts(Records(TEST_HOME))
    row = accounts.find(name)
    assert row
    return accounts.begin_session(row, "", must_choose=False).token


@contextmanager
def open_portal(labctl: Installation, tokens: dict[str, str], **about: Any) -> Iterator[Portal]:
    """Serve on a free port of this host, until the end of the block."""
    process = labctl.start("portal", "--host", "127.0.0.1", "--port", "0")
    assert process.stdout
    said = ""
    while not (found := re.search(r"https://\S+:(\d+)/", said)):
        line = process.stdout.readline()
        assert line, said
        said += line
    try:
        yield Portal(f"https://localhost:{found[1]}", process, tokens, **about)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
