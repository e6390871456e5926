"""Probes of Windows machines: how each is asked, and what replies in the agent's format show."""

import json
import re
from typing import Any

import pytest

from labctl.checks.decide import decide
from labctl.checks.kinds import ON_WINDOWS
from labctl.checks.model import Reply, Result
from labctl.checks.questions import CONTROLLER, FOLDER, WINDOWS_TASKS, ask, windows_program
from labctl.topology.hardware import System
from labctl.topology.probes import ON_WINDOWS as ASKED
from labctl.topology.probes import WINDOWS_ONLY
from tests.checks.asking import make

PASSED, FAILED, UNKNOWN = Result.PASSED, Result.FAILED, Result.UNKNOWN
ADMINISTRATORS = {"name": "VORDEFINIERT\\Administratoren", "sid": "S-1-5-32-544"}
SYSTEM = {"name": "AUTORITE NT\\Système", "sid": "S-1-5-18"}
COMPTA = {"name": "CIMES\\compta", "sid": "S-1-5-21-1-2-3-1105"}
DIRECTION = {"name": "CIMES\\direction", "sid": "S-1-5-21-1-2-3-1106"}
USERS = {"name": "BUILTIN\\Utilisateurs", "sid": "S-1-5-32-545"}
FULL, MODIFY, READ = 0x1F01FF, 0x1301BF, 0x1200A9


def rule(account: dict[str, str], rights: int, *, allow: bool = True, here: bool = True) -> dict[str, Any]:
    return {**account, "rights": rights, "allow": allow, "here": here}


def folder(*rules: dict[str, Any]) -> str:
    base = [rule(SYSTEM, FULL), rule(ADMINISTRATORS, FULL)]
    return json.dumps({"owner": ADMINISTRATORS, "content": "", "rules": [*base, *rules]})


def share(*rights: tuple[dict[str, str], str]) -> str:
    rules = [{**account, "allow": True, "right": right} for account, right in rights]
    return json.dumps({"path": "C:\\Partages\\compta", "rules": rules})


NTFS = {
    "type": "ntfs", "path": "C:\\Partages\\compta",
    "rights": [{"account": "CIMES\\compta", "right": "write"}, {"account": "direction", "right": "read"}],
}  # fmt: skip
SHARE = {
    "type": "share", "name": "compta", "path": "c:\\partages\\compta",
    "rights": [{"account": "compta", "right": "change"}],
}  # fmt: skip
SCOPE = {"type": "dhcp_scope", "scope": "172.16.20.0", "first": "172.16.20.100", "last": "172.16.20.199"}
RANGE = {"state": "Active", "first": "172.16.20.100", "last": "172.16.20.199", "authorised": True}
SERVICE = {"type": "service", "unit": "NTDS"}
FILE = {"type": "file", "path": "C:\\x.txt", "owner": "Administrators", "contains": "a"}
EVENT = {"type": "event_log", "log": "System", "ids": [4740], "contains": "alice"}
RULE = {"type": "firewall_rule", "name": "labctl SMB"}
REGISTRY = {"type": "registry", "key": "HKLM\\SYSTEM\\x", "value": "y", "equals": "2"}
DCDIAG = {"type": "dcdiag"}
DNS = {"type": "dns", "name": "dc.ad.cimes.example", "record": "A", "answer": "172.16.20.1"}
GONE = Reply(1, err="no such thing")

ZOE = '{"groups": ["stage"], "shell": "", "home": ""}'

CASES: list[tuple[dict[str, Any], Reply, Result]] = [
    (NTFS, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, READ))), PASSED),
    (NTFS, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, MODIFY))), FAILED),
    (NTFS, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, READ), rule(USERS, READ))), FAILED),
    (NTFS, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, READ, here=False))), FAILED),
    (NTFS, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, READ), rule(COMPTA, READ, allow=False))), FAILED),
    ({**NTFS, "exact": False}, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, READ), rule(USERS, 1))), PASSED),
    ({**NTFS, "owner": "SYSTEM"}, Reply(0, folder(rule(COMPTA, MODIFY), rule(DIRECTION, READ))), FAILED),
    (NTFS, GONE, FAILED),
    (NTFS, Reply(2, err="access denied"), UNKNOWN),
    (SHARE, Reply(0, share((COMPTA, "Change"))), PASSED),
    (SHARE, Reply(0, share((COMPTA, "Read"))), FAILED),
    (SHARE, Reply(0, share((COMPTA, "Change"), (DIRECTION, "Read"))), FAILED),
    ({**SHARE, "path": "C:\\autre"}, Reply(0, share((COMPTA, "Change"))), FAILED),
    (SHARE, GONE, FAILED),
    (SCOPE, Reply(0, json.dumps(RANGE)), PASSED),
    (SCOPE, Reply(0, json.dumps({**RANGE, "authorised": None})), PASSED),
    (SCOPE, Reply(0, json.dumps({**RANGE, "authorised": False})), FAILED),
    (SCOPE, Reply(0, json.dumps({**RANGE, "state": "Inactive"})), FAILED),
    (SCOPE, Reply(0, json.dumps({**RANGE, "first": "172.16.20.2"})), FAILED),
    (SCOPE, GONE, FAILED),
    (SERVICE, Reply(0, '{"state": "Running", "start": "Auto"}'), PASSED),
    (SERVICE, Reply(0, '{"state": "Running", "start": "Manual"}'), FAILED),
    ({**SERVICE, "enabled": False}, Reply(0, '{"state": "Running", "start": "Manual"}'), PASSED),
    (SERVICE, Reply(0, '{"state": "Stopped", "start": "Auto"}'), FAILED),
    (SERVICE, GONE, FAILED),
    (FILE, Reply(0, json.dumps({"owner": ADMINISTRATORS, "content": "abc", "rules": []})), PASSED),
    (FILE, Reply(0, json.dumps({"owner": COMPTA, "content": "abc", "rules": []})), FAILED),
    (FILE, Reply(0, json.dumps({"owner": ADMINISTRATORS, "content": "xyz", "rules": []})), FAILED),
    ({"type": "windows_feature", "name": "DHCP"}, Reply(0, "Installed"), PASSED),
    ({"type": "windows_feature", "name": "DHCP"}, Reply(0, "Available"), FAILED),
    (REGISTRY, Reply(0, "2"), PASSED),
    (REGISTRY, Reply(0, "1"), FAILED),
    (REGISTRY, GONE, FAILED),
    ({"type": "gpo", "name": "Fond d'écran"}, Reply(0, "Default Domain Policy\nFond d'écran"), PASSED),
    ({"type": "gpo", "name": "Fond d'écran"}, Reply(0, ""), FAILED),
    ({"type": "gpo", "name": "x"}, Reply(2, err="gpresult"), UNKNOWN),
    (EVENT, Reply(0, "4740 alice was locked"), PASSED),
    (EVENT, Reply(0, "4740 bruno was locked"), FAILED),
    (EVENT, GONE, FAILED),
    (RULE, Reply(0, '{"enabled": true, "direction": "Inbound", "action": "Allow"}'), PASSED),
    (RULE, Reply(0, '{"enabled": false, "direction": "Inbound", "action": "Allow"}'), FAILED),
    ({**RULE, "action": "block"}, Reply(0, '{"enabled": true, "direction": "Inbound", "action": "Allow"}'), FAILED),
    (DCDIAG, Reply(0, "   ....................... DC a réussi le test Advertising\n"), PASSED),
    (DCDIAG, Reply(0, "   ....................... Le test Advertising\n   de DC a échoué\n"), FAILED),
    (DCDIAG, Reply(0, "   ....................... DC failed test Services\n"), FAILED),
    (DCDIAG, Reply(0, "nothing"), UNKNOWN),
    (DNS, Reply(0, "dc.ad.cimes.example. 3600 IN A 172.16.20.1"), PASSED),
    (DNS, Reply(0, ";; status: NXDOMAIN,"), FAILED),
    (DNS, Reply(9, err="timed out"), FAILED),
    ({"type": "ping", "to": "172.16.20.1"}, Reply(0, "1 ms"), PASSED),
    ({"type": "tcp", "to": "172.16.20.1", "port": 445}, Reply(1, err="timed out"), FAILED),
    ({"type": "http", "url": "http://x/"}, Reply(0, "page\nlabctl-status:200 1 "), PASSED),
    ({"type": "http", "url": "http://x/"}, Reply(7, err="refused"), FAILED),
    ({"type": "command", "run": ["ipconfig"]}, Reply(0, "ok"), PASSED),
    ({"type": "user", "name": "zoe", "groups": ["stage"]}, Reply(0, ZOE), PASSED),
    ({"type": "user", "name": "zoe"}, GONE, FAILED),
    ({"type": "user", "name": "zoe"}, Reply(2, err="no directory"), UNKNOWN),
    ({"type": "group", "name": "compta", "members": ["bruno"]}, Reply(0, '["bruno", "ines"]'), PASSED),
]  # fmt: skip
PROBES = [probe for probe, _reply, _expected in CASES]


@pytest.mark.parametrize(("probe", "reply", "expected"), CASES)
def test_a_reply_is_judged(probe: dict[str, Any], reply: Reply, expected: Result) -> None:
    check = make(probe)
    assert decide(check, ask(check, system=System.WINDOWS), reply).result is expected


def test_every_kind_is_asked_and_has_a_case() -> None:
    assert set(ON_WINDOWS) == set(ASKED)
    assert set(WINDOWS_ONLY) <= set(ASKED)
    assert {type(make(probe).probe) for probe in PROBES} == set(ASKED)


LIES = [
    "",
    "null",
    "[]",
    "{}",
    "[" * 5000,
    '{"owner": 1, "rules": 2}',
    '{"rules": [1]}',
    "9" * 5000,
    "\ufffd" * 100,
    "-1",
]


@pytest.mark.parametrize("probe", PROBES)
def test_no_lie_of_a_node_ends_in_a_traceback_and_no_error_decides(probe: dict[str, Any]) -> None:
    check = make(probe)
    question = ask(check, system=System.WINDOWS)
    for code in (0, 1, 2, 9, -1, 10**9):
        for lie in LIES:
            assert decide(check, question, Reply(code, lie, lie)).seen.isprintable()
    for error in ("timeout", "not installed: Get-ADUser"):
        assert decide(check, question, Reply(error=error)).result is UNKNOWN


def test_every_task_is_a_function_of_the_file_that_it_is_looked_for_in() -> None:
    assert {path.name for path in FOLDER.glob("*.ps1")} == {*WINDOWS_TASKS, CONTROLLER}
    wanted = {str(ask(make(probe), system=System.WINDOWS).task["do"]) for probe in PROBES}
    assert wanted == {task for tasks in WINDOWS_TASKS.values() for task in tasks}
    for name, tasks in WINDOWS_TASKS.items():
        text = (FOLDER / name).read_text(encoding="utf-8").lower()
        assert all(f"function invoke-{task}(" in text for task in tasks)


def test_the_agent_asks_nobody_whom_a_login_by_key_has_no_credentials_for() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.ps1"))
    assert "Get-DhcpServerInDC" not in text
    assert "Get-DhcpServerSetting" in text


def test_an_address_without_a_way_to_it_is_no_answer() -> None:
    """Windows throws instead of answering "unreachable"; code 2 would mean that the name is unknown."""
    text = (FOLDER / "agent.ps1").read_text(encoding="utf-8")
    assert re.search(r"try \{\s+\$answer = \$ping\.Send\(.*\s+\} catch \{[^}]*@\{ code = 1;", text)


def test_a_command_that_people_are_shown_asks_for_the_same_thing() -> None:
    shown = ask(make(REGISTRY), system=System.WINDOWS).command
    assert shown == "Get-ItemProperty -LiteralPath 'Registry::HKEY_LOCAL_MACHINE\\SYSTEM\\x' -Name 'y'"


def test_a_program_is_ascii_and_takes_only_what_it_needs() -> None:
    short, long = (len(windows_program([ask(make(one), system=System.WINDOWS)])) for one in (PROBES[-5], SERVICE))
    assert short < long
    windows_program([ask(make({"type": "user", "name": "zoé"}), system=System.WINDOWS)]).decode("ascii")
