"""Tasks of the agent about one machine and its accounts: users, groups, rights on shares, restored files."""

import grp
import hashlib
import json
import os
import pwd
import re
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from labctl.checks.agent import ENVIRONMENT, SECRET_FILE, children, read_password, run


def account(task: dict[str, Any]) -> dict[str, Any]:
    """Look an account up where the node looks (NSS). Code 1: unknown. `out` has its facts as JSON."""
    try:
        found = pwd.getpwnam(task["name"])
    except KeyError:
        return {"code": 1, "err": "no such user"}
    groups = [group_name(number) for number in os.getgrouplist(found.pw_name, found.pw_gid)]
    facts = {"uid": found.pw_uid, "shell": found.pw_shell, "home": found.pw_dir, "groups": groups}
    return {"code": 0, "out": json.dumps(facts)}


def group_name(number: int) -> str:
    """Return a group's name, its number where it has none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def group(task: dict[str, Any]) -> dict[str, Any]:
    """Look a group up. Code 1: unknown. `out` has its members as JSON, with those asked for whose own facts name it."""
    try:
        found = grp.getgrnam(task["name"])
    except KeyError:
        return {"code": 1, "err": "no such group"}
    primary = [one.pw_name for one in pwd.getpwall() if one.pw_gid == found.gr_gid]
    asked = [name for name in task["members"] if belongs(name, found.gr_gid)]
    return {"code": 0, "out": json.dumps(sorted({*found.gr_mem, *primary, *asked}))}


def belongs(name: str, number: int) -> bool:
    """Tell whether an account is in a group; a directory may not list the members of its groups."""
    try:
        return number in os.getgrouplist(name, pwd.getpwnam(name).pw_gid)
    except KeyError:
        return False


def smb(task: dict[str, Any]) -> dict[str, Any]:
    """Try each user of a rights matrix; `out` has what listing and writing gave for each row as JSON."""
    with ThreadPoolExecutor(4) as workers:
        rows = list(workers.map(lambda row: try_share(task["host"], row, task["timeout"]), task["rows"]))
    if any(row["list"] == "timeout" for row in rows):
        return {"error": "timeout"}
    return {"code": 0, "out": json.dumps(rows)}


def try_share(host: str, row: dict[str, Any], timeout: float) -> dict[str, str]:
    """List a share, then put an empty file there and take it away again, all in one session."""
    domain, _mark, user = row["user"].rpartition("\\")
    password = row["password"] or read_password(row["password_file"])
    secret = f"username = {user}\npassword = {password}\n" + (f"domain = {domain}\n" if domain else "")
    name = "labctl-" + os.urandom(6).hex()
    folder = ["-D", row["folder"]] if row["folder"] else []
    with tempfile.NamedTemporaryFile(prefix="empty-") as empty:
        command = f"ls; put {empty.name} {name}; rm {name}"
        argv = ["smbclient", f"//{host}/{row['share']}", "-A", SECRET_FILE, *folder, "-c", command]
        return session_states(run({"argv": argv, "secret": secret, "timeout": timeout}))


def session_states(said: dict[str, Any]) -> dict[str, str]:
    """Return what a session of smbclient shows of listing and of writing: "ok", or what Samba calls the error."""
    text = said.get("out", "") + "\n" + said.get("err", "")
    listed = re.search(r"(NT_STATUS_\w+) listing .*\*\s*$", text, re.MULTILINE)
    written = re.search(r"(NT_STATUS_\w+) (?:opening|closing) remote file|cli_push returned (NT_STATUS_\w+)", text)
    put = "putting file" in text
    if not (listed or written or put):
        return dict.fromkeys(("list", "write"), status(said))  # it did not get in, or hangs
    wrote = (written.group(1) or written.group(2)) if written else "ok"
    return {"list": listed.group(1) if listed else "ok", "write": wrote if written or put else "?"}


def status(said: dict[str, Any]) -> str:
    """Return "ok", or what Samba calls the error."""
    if said.get("error"):
        return str(said["error"])
    found = re.search("NT_STATUS_[A-Z0-9_]+", said["out"] + said["err"])
    if found and found.group() != "NT_STATUS_OK":
        return found.group()
    return "ok" if said["code"] == 0 else (said["err"].strip() or said["out"].strip() or "?").splitlines()[-1]


def digest(task: dict[str, Any]) -> dict[str, Any]:
    """Return the SHA-256 of a file. Code 1: it cannot be read."""
    total = hashlib.sha256()
    try:
        with open(task["path"], "rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                total.update(chunk)
    except OSError as exc:
        return {"code": 1, "err": str(exc)}
    return {"code": 0, "out": total.hexdigest()}


def backup(task: dict[str, Any]) -> dict[str, Any]:
    """Restore a file from the newest backup into a hash.

    Code 0: `out` has hash and age in seconds (None if unknown) as JSON; 1: no such file or backup; 2: the repository
    does not open.
    """
    if task["tool"] == "plain":
        found = digest({"path": task["file"]})
        if found["code"]:
            return found
        age = time.time() - os.path.getmtime(task["file"])
        return {"code": 0, "out": json.dumps({"hash": found["out"], "age": age})}
    return (borg if task["tool"] == "borg" else restic)(task)


def borg(task: dict[str, Any]) -> dict[str, Any]:
    """Restore from the newest archive of BorgBackup."""
    environment = {"BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    if task["password_file"]:
        try:
            environment["BORG_PASSPHRASE"] = read_password(task["password_file"])
        except ValueError as exc:
            return {"code": 2, "err": str(exc)}
    argv = ["borg", "--bypass-lock", "list", "--last", "1", "--json", task["repository"]]
    said = run({"argv": argv, "environment": environment, "timeout": task["timeout"]})
    if said.get("code") != 0:
        return said if said.get("error") else {"code": 2, "err": said["err"]}
    archives = json.loads(said["out"])["archives"]
    if not archives:
        return {"code": 1, "err": "no archive"}
    name = task["repository"] + "::" + archives[-1]["archive"]
    argv = ["borg", "--bypass-lock", "extract", "--stdout", name, task["file"].lstrip("/")]
    return hash_output(argv, environment, archives[-1]["time"], task["timeout"])


def restic(task: dict[str, Any]) -> dict[str, Any]:
    """Restore from the newest snapshot of restic."""
    environment = {"RESTIC_REPOSITORY": task["repository"]}
    if task["password_file"]:
        environment["RESTIC_PASSWORD_FILE"] = task["password_file"]
    argv = ["restic", "--no-lock", "snapshots", "--json", "--latest", "1"]
    said = run({"argv": argv, "environment": environment, "timeout": task["timeout"]})
    if said.get("code") != 0:
        return said if said.get("error") else {"code": 2, "err": restic_error(said["err"])}
    snapshots = json.loads(said["out"])
    if not snapshots:
        return {"code": 1, "err": "no snapshot"}
    newest = max(snapshots, key=lambda one: str(one["time"]))
    argv = ["restic", "--no-lock", "dump", newest["id"], task["file"]]
    return hash_output(argv, environment, newest["time"], task["timeout"])


def restic_error(text: str) -> str:
    """Return the message of an error; with --json, restic writes errors as JSON too."""
    try:
        return str(json.loads(text.strip().splitlines()[-1])["message"]).splitlines()[0]
    except (ValueError, LookupError, TypeError):
        return text


def hash_output(argv: list[str], environment: dict[str, str], made: str, timeout: float) -> dict[str, Any]:
    """Hash what a program writes, however large; `made` is when the backup was made, in ISO 8601."""
    total = hashlib.sha256()
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**ENVIRONMENT, "HOME": "/root", **environment},
    )  # fmt: skip
    children.add(child.pid)
    late = threading.Event()

    def give_up() -> None:
        late.set()
        os.killpg(child.pid, 9)

    clock = threading.Timer(timeout, give_up)  # a repository that hangs writes nothing: reading must not wait for it
    clock.start()
    with child:
        for chunk in iter(lambda: child.stdout.read(1 << 20), b""):  # type: ignore[union-attr]  # it is a pipe
            total.update(chunk)
        child.wait()
        clock.cancel()
    children.discard(child.pid)
    if late.is_set():
        return {"error": "timeout"}
    if child.returncode != 0:
        return {"code": 1, "err": "the newest backup does not hold the file"}
    when = re.sub(r"\.\d+|Z$", lambda found: "+00:00" if found.group() == "Z" else "", made)
    age = time.time() - datetime.fromisoformat(when).timestamp()
    return {"code": 0, "out": json.dumps({"hash": total.hexdigest(), "age": age})}
