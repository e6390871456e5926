"""Probes of a directory: accounts and groups of this machine, and what ldapsearch, kinit and smbclient print."""

import grp
import json
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labctl.checks.agent import SECRET_FILE
from labctl.checks.model import Question, Reply, Result
from labctl.checks.questions import agent_program, ask
from tests.checks.asking import make, outcome, outcomes
from tests.checks.test_network import decided


def test_accounts_and_groups_are_looked_up_where_the_node_does() -> None:
    root, group = pwd.getpwnam("root"), grp.getgrgid(0).gr_name
    user = {"type": "user", "name": "root"}
    members = {"type": "group", "name": group}
    found = outcomes(
        {**user, "groups": [group], "shell": root.pw_shell, "home": root.pw_dir, "not_in": ["www-data"]},
        {**user, "groups": ["no-such-group"]}, {**user, "not_in": [group]}, {**user, "shell": "/bin/none"},
        {"type": "user", "name": "nobody at all"},
        {**members, "members": ["root"]}, {**members, "members": ["nobody at all"]}, {**members, "exact": True},
        {"type": "group", "name": "no-such-group"},
    )  # fmt: skip
    passed = [one.check.id for one in found if one.result is Result.PASSED]
    assert passed == ["n0", "n5"]
    assert all(one.result is Result.FAILED for one in found if one.check.id not in passed)


LDAP = {"type": "ldap", "server": "dc.lab.example", "base": "dc=lab,dc=example", "contains": "sAMAccountName: alice"}
LDIF = "dn: CN=Alice,DC=lab,DC=example\nsAMAccountName: alice\n\n"
KINIT = {"type": "kerberos", "principal": "alice@LAB.EXAMPLE", "password": "Secret-1"}
HOLDER = {"type": "kerberos", "holder": "alice"}


def matrix(*rights: str) -> dict[str, Any]:
    rows = [
        {"user": f"u{n}", "password": "Secret-1", "share": "docs", "right": right} for n, right in enumerate(rights)
    ]
    return {"type": "smb", "server": "fs", "rights": rows}


def rows(*states: tuple[str, str]) -> Reply:
    return Reply(0, out=json.dumps([{"list": listed, "write": written} for listed, written in states]))


DENIED = "NT_STATUS_ACCESS_DENIED"
WRITES, READS, NOTHING = ("ok", "ok"), ("ok", DENIED), (DENIED, DENIED)
NO_LOGIN = ("NT_STATUS_LOGON_FAILURE", "NT_STATUS_LOGON_FAILURE")
UNREACHABLE = ("NT_STATUS_HOST_UNREACHABLE", "NT_STATUS_HOST_UNREACHABLE")
DEAD_TLS = Reply(1, err="ldap_start_tls: Connect error (-11)")
DEAD_LDAP = Reply(255, err="ldap_sasl_bind(SIMPLE): Can't contact LDAP server (-1)")
DEAD_KDC = Reply(1, err="kinit: Cannot contact any KDC for realm 'LAB.EXAMPLE' while getting initial credentials")

CASES = [
    (LDAP, Reply(0, out=LDIF), Result.PASSED),
    (LDAP, Reply(0, out=LDIF.replace("alice", "bob")), Result.FAILED),
    (LDAP, Reply(0), Result.FAILED),
    (LDAP, Reply(49, err="ldap_bind: Invalid credentials (49)"), Result.FAILED),
    (LDAP, DEAD_LDAP, Result.FAILED),
    (LDAP, Reply(1, err="usage: ldapsearch"), Result.UNKNOWN),
    (
        LDAP,
        Reply(1, err="Operations error (1)\nAdditional information: unavailable without authentication"),
        Result.FAILED,
    ),
    (LDAP, Reply(1, err="ldap_start_tls: Can't contact LDAP server (-1)"), Result.FAILED),
    (LDAP, Reply(error="not installed: ldapsearch"), Result.UNKNOWN),
    ({**LDAP, "entries": 1}, Reply(0, out=LDIF), Result.PASSED),
    ({**LDAP, "entries": 2}, Reply(0, out=LDIF), Result.FAILED),
    (KINIT, Reply(0), Result.PASSED),
    (KINIT, Reply(1, err="kinit: Preauthentication failed while getting initial credentials"), Result.FAILED),
    (KINIT, Reply(1, err="kinit: Clock skew too great while getting initial credentials"), Result.FAILED),
    (KINIT, DEAD_KDC, Result.FAILED),
    (KINIT, Reply(1, err="kinit: Unknown error"), Result.UNKNOWN),
    (HOLDER, Reply(0), Result.PASSED),
    (HOLDER, Reply(1), Result.FAILED),
    (HOLDER, Reply(1, err="runuser: user alice does not exist"), Result.UNKNOWN),
    (matrix("write", "read", "none"), rows(WRITES, READS, NOTHING), Result.PASSED),
    (matrix("write"), rows(READS), Result.FAILED),
    (matrix("read"), rows(WRITES), Result.FAILED),
    (matrix("none"), rows(READS), Result.FAILED),
    (matrix("read"), rows(NOTHING), Result.FAILED),
    (matrix("none", "read"), rows(NO_LOGIN, READS), Result.FAILED),
    (matrix("refused"), rows(NO_LOGIN), Result.PASSED),
    (matrix("refused"), rows(NOTHING), Result.FAILED),  # it entered as a guest: the share alone refused it
    (matrix("refused"), rows(READS), Result.FAILED),
    (matrix("refused"), rows(UNREACHABLE), Result.UNKNOWN),
    (matrix("none"), rows(UNREACHABLE), Result.UNKNOWN),
    (matrix("none"), rows(("timeout", "timeout")), Result.UNKNOWN),
    (matrix("none", "read"), rows(UNREACHABLE, WRITES), Result.FAILED),
]


@pytest.mark.parametrize(("probe", "reply", "expected"), CASES)
def test_what_programs_print_is_judged(probe: dict[str, Any], reply: Reply, expected: Result) -> None:
    assert decided(probe, reply) is expected


@pytest.mark.parametrize(
    ("probe", "reply"), [(LDAP, DEAD_LDAP), (LDAP, DEAD_TLS), (KINIT, DEAD_KDC), (matrix("none"), rows(NO_LOGIN))]
)
def test_what_does_not_answer_refuses_nobody(probe: dict[str, Any], reply: Reply) -> None:
    assert decided(probe, reply, negative=True) is Result.UNKNOWN


@pytest.mark.parametrize(
    "probe", [{**LDAP, "user": "alice@LAB.EXAMPLE", "password": "Secret-1"}, KINIT, matrix("read")]
)
def test_a_password_is_on_no_command_line(probe: dict[str, Any]) -> None:
    question = ask(make(probe))
    assert "Secret-1" not in question.command
    assert "Secret-1" not in json.dumps(question.task.get("argv", ""))
    assert b"Secret-1" in agent_program([question])


# What smbclient 4.22 prints for one session that lists, puts a file and takes it away.
PUT = "putting file /tmp/empty-1 as \\labctl-1 (0.0 kB/s) (average 0.0 kB/s)\n"
LISTED = "  .                                   D        0  Mon Nov 23 02:00:00 2026\n"
GONE = "NT_STATUS_NO_SUCH_FILE listing \\labctl-1\n"
SESSIONS = [
    (LISTED + PUT, "", 0, ("ok", "ok")),
    (LISTED, "NT_STATUS_ACCESS_DENIED opening remote file \\labctl-1\n" + GONE, 1, ("ok", DENIED)),
    ("NT_STATUS_ACCESS_DENIED listing \\*\n" + PUT, "", 0, (DENIED, "ok")),
    ("NT_STATUS_ACCESS_DENIED listing \\*\n", f"{DENIED} opening remote file \\labctl-1\n" + GONE, 1, NOTHING),
    ("", "tree connect failed: NT_STATUS_ACCESS_DENIED\n", 1, NOTHING),
    ("", "session setup failed: NT_STATUS_LOGON_FAILURE\n", 1, NO_LOGIN),
    ("", "do_connect: Connection to fs failed (Error NT_STATUS_HOST_UNREACHABLE)\n", 1, UNREACHABLE),
    ("", "", 1, ("?", "?")),
]


def perform(task: dict[str, Any], path: Path | None = None) -> dict[str, Any]:
    """Let the agent do one task as a node does; what is in the folder `path` is found before other programs."""
    program = agent_program([Question("x", task, "")])
    if path:
        program = program.replace(b'"/usr/local/sbin:', f'"{path}:/usr/local/sbin:'.encode())
    done = subprocess.run([sys.executable, "-I", "-"], input=program, capture_output=True, check=True, timeout=60)
    (reply,) = json.loads(done.stdout)
    return dict(reply)


@pytest.mark.parametrize(("out", "err", "code", "states"), SESSIONS)
def test_one_session_shows_what_an_account_may_do(
    tmp_path: Path, out: str, err: str, code: int, states: tuple[str, str]
) -> None:
    for name, text in (("out", out), ("err", err), ("code", str(code))):
        (tmp_path / name).write_text(text)
    program = tmp_path / "smbclient"
    program.write_text(
        '#!/bin/sh\ncd "${0%/*}"; echo "$@" >asked; cat "$3" >login; cat out; cat err >&2; exit $(cat code)'
    )
    program.chmod(0o755)
    row = {"user": "LAB\\u0", "password": "Secret-1", "password_file": None, "share": "docs", "folder": ""}
    found = perform({"do": "smb", "host": "fs", "rows": [row], "timeout": 10}, tmp_path)
    assert json.loads(found["out"]) == [{"list": states[0], "write": states[1]}]
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("//fs/docs -A /tmp/")
    assert "Secret-1" not in asked
    assert (tmp_path / "login").read_text() == "username = u0\npassword = Secret-1\ndomain = LAB\n"


def test_a_password_is_read_on_the_node(tmp_path: Path) -> None:
    account = tmp_path / "alice"
    account.write_text("# a comment\nusername = alice\npassword = Se=cret 1\ndomain = LAB\n")
    plain = tmp_path / "plain"
    plain.write_text("Se=cret 1\nmore\n")
    for file in (account, plain):
        task = {"do": "run", "password_file": str(file), "timeout": 10}
        assert perform({**task, "argv": ["cat", SECRET_FILE]})["out"] == "Se=cret 1"
        assert perform({**task, "argv": ["cat"]})["out"] == "Se=cret 1\n"


def test_a_password_that_is_nowhere_is_no_answer(tmp_path: Path) -> None:
    missing = {"password_file": str(tmp_path / "nobody")}
    for probe in (
        {**LDAP, "user": "alice@LAB.EXAMPLE", **missing},
        {"type": "kerberos", "principal": "alice@LAB.EXAMPLE", **missing},
        {"type": "smb", "server": "fs", "rights": [{"user": "a", "share": "docs", "right": "none", **missing}]},
    ):
        found = outcome(probe)
        assert found.result is Result.UNKNOWN
        assert "nobody: No such file or directory" in found.seen
