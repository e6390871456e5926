"""Probes of a directory: accounts and groups of this machine, and what ldapsearch, kinit and smbclient print."""

import grp
import json
import pwd
from typing import Any

import pytest

from labctl.checks.model import Reply, Result
from labctl.checks.questions import agent_program, ask
from tests.checks.asking import make, outcomes
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
DEAD_LDAP = Reply(255, err="ldap_sasl_bind(SIMPLE): Can't contact LDAP server (-1)")
DEAD_KDC = Reply(1, err="kinit: Cannot contact any KDC for realm 'LAB.EXAMPLE' while getting initial credentials")

CASES = [
    (LDAP, Reply(0, out=LDIF), Result.PASSED),
    (LDAP, Reply(0, out=LDIF.replace("alice", "bob")), Result.FAILED),
    (LDAP, Reply(0), Result.FAILED),
    (LDAP, Reply(49, err="ldap_bind: Invalid credentials (49)"), Result.FAILED),
    (LDAP, DEAD_LDAP, Result.FAILED),
    (LDAP, Reply(1, err="usage: ldapsearch"), Result.UNKNOWN),
    (LDAP, Reply(error="not installed: ldapsearch"), Result.UNKNOWN),
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
    (matrix("none"), rows(UNREACHABLE), Result.UNKNOWN),
    (matrix("none"), rows(("timeout", "timeout")), Result.UNKNOWN),
    (matrix("none", "read"), rows(UNREACHABLE, WRITES), Result.FAILED),
]


@pytest.mark.parametrize(("probe", "reply", "expected"), CASES)
def test_what_programs_print_is_judged(probe: dict[str, Any], reply: Reply, expected: Result) -> None:
    assert decided(probe, reply) is expected


@pytest.mark.parametrize(("probe", "reply"), [(LDAP, DEAD_LDAP), (KINIT, DEAD_KDC), (matrix("none"), rows(NO_LOGIN))])
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
