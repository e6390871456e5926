"""Runs on a guest, sent over SSH: performs tasks given as JSON and prints their raw results as JSON.

It only uses the standard library of Python 3.9 and later, decides nothing, and caps what it keeps. What is rarely
needed is imported where it is: starting Python is half of what a short check costs an emulated machine. The modules
`agent_…` beside it hold more tasks; those that are needed are put below this one, in one namespace.
"""

import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import Any

LIMIT = 65536  # bytes kept of each output
BUDGET = 900_000  # bytes of all that is printed, less than what is read at the other end
WORKERS = 16  # most of them wait for an answer that may not come
ROUND = 130  # seconds for all tasks; what has not ended then is given up, the others are told
SECRET_FILE = "labctl:secret-file"  # noqa: S105  no secret: it stands among the arguments where the path of a file with the secret goes
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

children: set[int] = set()


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run a program without a shell. Secrets reach it by `stdin` or by a file, never by its arguments."""
    if task.get("password_file"):
        password = read_password(task["password_file"])
        task = {**task, **({"secret": password} if SECRET_FILE in task["argv"] else {"stdin": password + "\n"})}
    if "secret" not in task:
        return run_program(task["argv"], task)
    import tempfile

    with tempfile.NamedTemporaryFile("w", prefix="labctl-") as secret:  # only its owner reads it
        secret.write(task["secret"])
        secret.flush()
        return run_program([secret.name if word == SECRET_FILE else word for word in task["argv"]], task)


def read_password(path: str) -> str:
    """Return the password that a file has as its first line or, as Samba's files of accounts do, after `password =`."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(LIMIT)
    except OSError as exc:
        raise ValueError(path + ": " + str(exc.strerror)) from exc  # it is no program that is missing
    pairs = [line.partition("=") for line in text.splitlines()]
    found = [value.strip() for key, equals, value in pairs if equals and key.strip() == "password"]
    return found[0] if found else text.partition("\n")[0]


def run_program(argv: list[str], task: dict[str, Any]) -> dict[str, Any]:
    """Run a program to its end, or to its time-out with all that it started."""
    child = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**ENVIRONMENT, "HOME": "/root", **task.get("environment", {})},
    )  # fmt: skip
    children.add(child.pid)
    until = time.monotonic() + task["timeout"]
    kept: dict[str, str] = {}
    readers = [start(keep, child.stdout, kept, "out"), start(keep, child.stderr, kept, "err")]
    start(feed, child, task.get("stdin", ""))
    try:
        code = child.wait(task["timeout"])
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        child.wait()
        return {"error": "timeout"}
    finally:
        children.discard(child.pid)
    for reader in readers:
        reader.join(max(0.1, until - time.monotonic()))
    if len(kept) < len(readers):
        return {"error": "timeout"}  # something that it left behind holds its output open
    return {"code": code, **kept}


def start(work: Any, *words: Any) -> threading.Thread:
    """Return a thread that begins to work; it keeps nothing from ending."""
    thread = threading.Thread(target=work, args=words, daemon=True)
    thread.start()
    return thread


def keep(stream: Any, kept: dict[str, str], name: str) -> None:
    """Read a stream to its end."""
    kept[name] = read_capped(stream)


def feed(child: Any, text: str) -> None:
    """Give a program its standard input and close it."""
    try:
        child.stdin.write(text.encode())
        child.stdin.close()
    except OSError:
        pass  # it ended without reading


def read_capped(stream: Any) -> str:
    """Read to the end, keep the beginning: a program that floods must not fill the memory."""
    kept = b""
    for chunk in iter(lambda: stream.read(8192), b""):
        kept += chunk[: LIMIT - len(kept)]
    return kept.decode("utf-8", "replace")


def tcp(task: dict[str, Any]) -> dict[str, Any]:
    """Open a TCP connection. Code 0: open; 1: refused, filtered or out of reach; 2: the name is unknown."""
    try:
        socket.create_connection((task["host"], task["port"]), timeout=task["timeout"]).close()
    except socket.gaierror as exc:
        return {"code": 2, "err": str(exc)}
    except OSError as exc:
        return {"code": 1, "err": str(exc) or type(exc).__name__}
    return {"code": 0, "out": "open"}


def file(task: dict[str, Any]) -> dict[str, Any]:
    """Read a file's owner, mode and beginning. Code 1: it does not exist."""
    try:
        facts = os.stat(task["path"])
    except (FileNotFoundError, NotADirectoryError) as exc:
        return {"code": 1, "err": str(exc)}
    try:
        owner = pwd.getpwuid(facts.st_uid).pw_name
    except KeyError:
        owner = str(facts.st_uid)
    content = ""
    if stat.S_ISREG(facts.st_mode):
        with open(task["path"], "rb") as stream:
            content = stream.read(LIMIT).decode("utf-8", "replace")
    return {"code": 0, "out": json.dumps({"owner": owner, "mode": f"{facts.st_mode & 0o7777:04o}", "content": content})}


def perform(task: dict[str, Any], functions: dict[str, Any]) -> dict[str, Any]:
    """Do one task; every trouble becomes a result."""
    start = time.monotonic()
    try:
        result: dict[str, Any] = functions[task["do"]](task)
    except FileNotFoundError as exc:
        result = {"error": "not installed: " + str(exc.filename)}
    except Exception as exc:  # a node may be broken in any way, and that is evidence
        result = {"error": type(exc).__name__ + ": " + str(exc)}
    result["seconds"] = round(time.monotonic() - start, 3)
    return result


def encode(results: list[dict[str, Any]]) -> str:
    """Return the results as JSON within the budget: one task that floods costs only its own evidence."""
    limit = LIMIT
    while True:
        text = json.dumps(
            [
                {key: value[:limit] if isinstance(value, str) else value for key, value in result.items()}
                for result in results
            ]
        )
        if len(text) <= BUDGET or limit < 128:  # noqa: PLR2004  no error is longer, and there are not that many tasks
            return text
        limit //= 2


def main(functions: list[Any], tasks: list[dict[str, Any]], seconds: float = ROUND) -> None:
    """Perform the tasks side by side, print their results in the same order, and end whatever still hangs."""
    known = {function.__name__: function for function in functions}
    results: list[dict[str, Any]] = [{"error": "timeout", "seconds": seconds} for _task in tasks]
    waiting = list(enumerate(tasks))

    def work() -> None:
        while waiting:
            try:
                position, task = waiting.pop(0)
            except IndexError:
                return  # another thread took the last one
            results[position] = perform(task, known)

    until = time.monotonic() + seconds
    threads = [start(work) for _number in range(min(WORKERS, len(tasks)))]
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    sys.stdout.write(encode(list(results)))
    sys.stdout.flush()
    for child in list(children):
        os.killpg(child, 9)
    os._exit(0)  # a thread that hangs in the kernel would keep the process
