"""Runs on a guest, sent over SSH: performs tasks given as JSON and prints their raw results as JSON.

It only uses the standard library of Python 3.9 and later, decides nothing, and caps what it keeps.
"""

import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LIMIT = 65536  # bytes kept of each output
WORKERS = 6


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run a program without a shell."""
    child = subprocess.Popen(
        task["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}, start_new_session=True,
    )  # fmt: skip
    with ThreadPoolExecutor(2) as readers:
        kept = [readers.submit(read_capped, stream) for stream in (child.stdout, child.stderr)]
        try:
            code = child.wait(task["timeout"])
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()
            return {"error": "timeout"}
        out, err = (reader.result() for reader in kept)
    return {"code": code, "out": out, "err": err}


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
    except FileNotFoundError as exc:
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


def perform(task: dict[str, Any]) -> dict[str, Any]:
    """Do one task; every trouble becomes a result."""
    start = time.monotonic()
    try:
        result: dict[str, Any] = {"run": run, "tcp": tcp, "file": file}[task["do"]](task)
    except FileNotFoundError as exc:
        result = {"error": "not installed: " + str(exc.filename)}
    except Exception as exc:  # a node may be broken in any way, and that is evidence
        result = {"error": type(exc).__name__ + ": " + str(exc)}
    result["seconds"] = round(time.monotonic() - start, 3)
    return result


def main(tasks: list[dict[str, Any]]) -> None:
    """Perform the tasks side by side and print their results in the same order."""
    with ThreadPoolExecutor(WORKERS) as workers:
        json.dump(list(workers.map(perform, tasks)), sys.stdout)
