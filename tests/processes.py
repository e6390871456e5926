"""Processes of the tests: forked from one that has imported labctl, where the start of Python is not what is tested."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from labctl.cli.main import VERBS, main

LABCTL = Path(sys.executable).with_name("labctl")

# A fork of the tests' own process would take its threads' locks along; this server has none, and knows every verb.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload([
    *sorted({where.partition(":")[0] for where, _summary in VERBS.values()}),
    "tests.lab.test_faults",
    "tests.classroom.test_class",
    "tests.processes",
])  # fmt: skip


def start(target: Callable[..., object], *words: object) -> ForkServerProcess:
    """Return a process that has begun to work."""
    process = PROCESSES.Process(target=target, args=words, daemon=True)
    process.start()
    return process


def run_labctl(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `labctl` in a folder to its end. Raises TimeoutExpired."""
    with tempfile.TemporaryDirectory() as said:
        out, err = Path(said, "out"), Path(said, "err")
        process = start(be_labctl, words, environment, folder, (out, err))
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([LABCTL, *words], seconds, out.read_text(), err.read_text())
        return subprocess.CompletedProcess([LABCTL, *words], process.exitcode, out.read_text(), err.read_text())


def be_labctl(words: Sequence[str], environment: Mapping[str, str], folder: Path, said: tuple[Path, Path]) -> None:
    """Become what a shell would have started, as far as anything here can tell."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.argv = [str(LABCTL), *words]
    main()
