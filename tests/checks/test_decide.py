"""Each kind of probe, judged on what its program really prints: success, surely not, or says nothing."""

import json
from typing import Any

import pytest

from labctl.checks.decide import decide
from labctl.checks.model import Reply, Result
from labctl.checks.names import MARK
from labctl.checks.questions import agent_program, ask
from labctl.topology.model import Check

TEXTS = {"en": "text", "fr": "texte"}


def make(probe: dict[str, Any], *, negative: bool = False) -> Check:
    return Check.model_validate({
        "id": "one", "title": TEXTS, "from": "client", "probe": probe, "negative": negative,
        "competency": "B2.2.1", "pass": {"en": "good", "fr": "bien"}, "fail": {"en": "bad", "fr": "mal"},
    })  # fmt: skip


def result(probe: dict[str, Any], reply: Reply, *, negative: bool = False) -> Result:
    check = make(probe, negative=negative)
    return decide(check, ask(check), reply).result


PING = {"type": "ping", "to": "192.0.2.1"}
TCP = {"type": "tcp", "to": "192.0.2.1", "port": 22}
HTTP = {"type": "http", "url": "https://www.example/", "contains": "Bienvenue"}
REDIRECT = {"type": "http", "url": "http://www.example/", "status": 301, "redirect": "https://www.example/"}
DNS = {"type": "dns", "name": "www.example", "answer": "192.0.2.80"}
COMMAND = {"type": "command", "run": ["sysctl", "-n", "net.ipv4.ip_forward"], "contains": "1"}
FILE = {"type": "file", "path": "/etc/key", "owner": "root", "mode": "0600"}
SERVICE = {"type": "service", "unit": "nginx.service"}

DIG_ANSWER = """;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1
www.example.\t\t86400\tIN\tA\t192.0.2.80
"""
DIG_NXDOMAIN = ";; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 1\n"
PAGE = f"<h1>Bienvenue</h1>\n{MARK}200 1 "


def facts(**values: str) -> str:
    return json.dumps({"owner": "root", "mode": "0600", "content": ""} | values)


def unit(**values: str) -> str:
    shown = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
    return "".join(f"{key}={value}\n" for key, value in (shown | values).items())


CASES = [
    (PING, Reply(0), Result.PASSED),
    (PING, Reply(1), Result.FAILED),
    (PING, Reply(2, err="ping: unknown host"), Result.UNKNOWN),
    (TCP, Reply(0), Result.PASSED),
    (TCP, Reply(1, err="timed out"), Result.FAILED),
    (TCP, Reply(2, err="Name or service not known"), Result.UNKNOWN),
    (HTTP, Reply(0, out=PAGE), Result.PASSED),
    (HTTP, Reply(0, out=f"<h1>Autre</h1>\n{MARK}200 1 "), Result.FAILED),
    (HTTP, Reply(0, out=f"Bienvenue\n{MARK}502 1 "), Result.FAILED),
    (HTTP, Reply(7, err="curl: (7) Failed to connect"), Result.FAILED),
    (HTTP, Reply(28, out=f"\n{MARK}000 0 ", err="curl: (28) Failed to connect"), Result.FAILED),
    (HTTP, Reply(28, out=f"\n{MARK}000 1 ", err="curl: (28) SSL connection timeout"), Result.UNKNOWN),
    (HTTP, Reply(60, err="curl: (60) SSL certificate problem"), Result.FAILED),
    (HTTP, Reply(6, err="curl: (6) Could not resolve host"), Result.UNKNOWN),
    (REDIRECT, Reply(0, out=f"\n{MARK}301 1 https://www.example/"), Result.PASSED),
    (REDIRECT, Reply(0, out=f"\n{MARK}301 1 https://evil.example/"), Result.FAILED),
    (DNS, Reply(0, out=DIG_ANSWER), Result.PASSED),
    (DNS, Reply(0, out=DIG_ANSWER.replace("192.0.2.80", "192.0.2.81")), Result.FAILED),
    (DNS, Reply(0, out=DIG_NXDOMAIN), Result.FAILED),
    (DNS, Reply(9, out=";; no servers could be reached"), Result.FAILED),
    (DNS, Reply(1, err="dig: unknown option"), Result.UNKNOWN),
    (COMMAND, Reply(0, out="1\n"), Result.PASSED),
    (COMMAND, Reply(0, out="0\n"), Result.FAILED),
    (COMMAND, Reply(255, err="sysctl: cannot stat"), Result.FAILED),
    (COMMAND, Reply(error="not installed: sysctl"), Result.UNKNOWN),
    (FILE, Reply(0, out=facts()), Result.PASSED),
    (FILE, Reply(0, out=facts(mode="0644")), Result.FAILED),
    (FILE, Reply(0, out=facts(owner="www-data")), Result.FAILED),
    (FILE, Reply(1, err="No such file"), Result.FAILED),
    (SERVICE, Reply(0, out=unit()), Result.PASSED),
    (SERVICE, Reply(0, out=unit(ActiveState="failed")), Result.FAILED),
    (SERVICE, Reply(0, out=unit(UnitFileState="disabled")), Result.FAILED),
    (SERVICE, Reply(0, out=unit(LoadState="not-found", ActiveState="inactive")), Result.FAILED),
    (SERVICE, Reply(1, err="Failed to connect to bus"), Result.UNKNOWN),
]


@pytest.mark.parametrize(("probe", "reply", "expected"), CASES)
def test_a_probe_is_judged(probe: dict[str, Any], reply: Reply, expected: Result) -> None:
    assert result(probe, reply) is expected


@pytest.mark.parametrize(("probe", "reply", "expected"), CASES)
def test_a_negative_check_turns_the_result_round_but_never_what_is_unknown(
    probe: dict[str, Any], reply: Reply, expected: Result
) -> None:
    turned = {Result.PASSED: Result.FAILED, Result.FAILED: Result.PASSED, Result.UNKNOWN: Result.UNKNOWN}
    assert result(probe, reply, negative=True) is turned[expected]


@pytest.mark.parametrize("probe", [PING, TCP, HTTP, DNS, COMMAND, FILE, SERVICE])
@pytest.mark.parametrize("negative", [False, True])
def test_a_probe_that_hangs_decides_nothing(probe: dict[str, Any], negative: bool) -> None:  # F-42
    assert result(probe, Reply(error="timeout"), negative=negative) is Result.UNKNOWN


def test_a_service_that_need_not_start_at_boot() -> None:
    assert result({**SERVICE, "enabled": False}, Reply(0, out=unit(UnitFileState="disabled"))) is Result.PASSED


def test_a_program_is_missing_where_the_probe_was_made() -> None:
    for origin, place in (("client", "on the node"), ("host", "on the host")):
        check = make({"type": "ping", "to": "web"}).model_copy(update={"origin": origin})
        assert decide(check, ask(check), Reply(error="not installed: ping")).seen.endswith(place)


def test_the_seen_text_carries_no_control_characters() -> None:
    check = make(TCP)
    outcome = decide(check, ask(check), Reply(2, err="bad \x1b[31m\x07 name"))
    assert outcome.seen.isprintable()


def test_nothing_in_a_check_becomes_code_of_the_agent() -> None:
    hostile = "'''\n\"\"\"); import os; os.system('id') #"
    check = make({"type": "command", "run": ["echo", "x", hostile.replace("\n", " ")]})
    program = agent_program([ask(check)]).decode()
    compile(program, "agent", "exec")
    assert program.rstrip().splitlines()[-1].startswith("main([run], json.loads(")


LOG = {"type": "log", "at": "server", "path": "/var/log", "within": 30}
BACKUP = {"type": "backup", "tool": "restic", "repository": "/srv/backup", "file": "/etc/hosts"}


@pytest.mark.parametrize(
    ("probe", "reply", "english", "french"),
    [
        (SERVICE, Reply(out="LoadState=not-found"), "the service does not exist", "le service n'existe pas"),
        (COMMAND, Reply(code=0, out="1"), "exit code 0", "code de retour 0"),
        (PING, Reply(error="timeout"), "the probe did not end in time", "ne s'est pas terminé"),
        (
            LOG, Reply(then={"server": Reply(out="after 2.5 s")}),
            "it has arrived after 2.5 s", "c'est arrivé après 2,5 s",
        ),
        (LOG, Reply(then={"server": Reply(out="at once")}), "it has arrived", "c'est arrivé"),
        (BACKUP, Reply(code=1, err="no snapshot"), "the repository holds no backup", "le dépôt ne contient aucune"),
        (BACKUP, Reply(code=1, err="Fatal: wrong password"), "Fatal: wrong password", "Fatal: wrong password"),
    ],
)  # fmt: skip
def test_what_was_seen_is_kept_in_both_languages(
    probe: dict[str, Any], reply: Reply, english: str, french: str
) -> None:
    check = make(probe)
    found = decide(check, ask(check), reply)
    assert found.seen == found.told["en"] == english
    assert french in found.told["fr"]
    assert found.to_dict("en")["told"] == dict(found.told)
