"""Runs programs of the host: one door for every command line, its deadline and its errors."""

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import HostNotReady, LabctlError
from labctl.language import _

TAIL = 12  # lines of a failed program's output that a person can take in


class ProgramFailed(LabctlError):
    """A program of the host returned an error; the message ends with the end of its output."""


@dataclass(frozen=True)
class Output:
    """What a program wrote, decoded as UTF-8 with replacement."""

    stdout: str
    stderr: str
    returncode: int


def command_line(argv: Sequence[str | Path]) -> str:
    """Return the command as a person would paste it in a shell."""
    return shlex.join(str(word) for word in argv)


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str = "",
    timeout: float | None = 120,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    check: bool = True,
) -> Output:
    """Run a program to its end.

    `timeout` is in seconds. Raises HostNotReady where the program is not installed, ProgramFailed
    where it ends with an error and `check` is set, or where it outlives its time-out.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, timeout=timeout, env=environment, cwd=folder,
            check=False, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise missing(words[0]) from exc
    except subprocess.TimeoutExpired as exc:
        text = _('"{command}" did not end within {seconds:.0f} s')
        raise ProgramFailed(text.format(command=command_line(words), seconds=exc.timeout)) from exc
    output = Output(done.stdout, done.stderr, done.returncode)
    if check and done.returncode != 0:
        raise failed(words, done.returncode, (done.stderr or done.stdout).splitlines())
    return output


def stream(
    argv: Sequence[str | Path], line_seen: Callable[[str], None], *, environment: Mapping[str, str] | None = None
) -> None:
    """Run a long program and hand over each line of its output (stdout and stderr) as it comes.

    Raises as `run` does. The child dies with an exception of `line_seen`.
    """
    words = [str(word) for word in argv]
    tail: list[str] = []
    try:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", env=environment,
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise missing(words[0]) from exc
    with child:
        try:
            for line in child.stdout or ():
                tail = [*tail, line.rstrip("\n")][-TAIL:]
                line_seen(line.rstrip("\n"))
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        raise failed(words, child.returncode, tail)


def missing(program: str) -> HostNotReady:
    """Return the error for a program that the host lacks."""
    return HostNotReady(_('the program "{program}" is not installed').format(program=program), hint="labctl doctor")


def failed(words: Sequence[str], returncode: int, lines: Sequence[str]) -> ProgramFailed:
    """Return the error for a program that ended badly."""
    head = _('"{command}" ended with code {code}').format(command=command_line(words), code=returncode)
    return ProgramFailed("\n".join([head, *(f"  {line}" for line in lines[-TAIL:])]))
