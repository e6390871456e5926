"""What a broken or hostile node answers: floods, hangs, binary, lies; none of it decides, or stops the others."""

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from labctl.checks.decide import decide
from labctl.checks.kinds import KINDS
from labctl.checks.model import Question, Reply, Result
from labctl.checks.questions import FOLDER, TASKS, agent_program, ask, source
from labctl.lab.checking import parse_replies, run_checks
from labctl.monitor import Silent
from labctl.ssh import OUTPUT_LIMIT, Answer
from labctl.topology.hardware import System
from labctl.topology.model import Check
from tests.checks.asking import Local, make, outcomes
from tests.checks.test_agent import perform, run

OK = {"code": 0, "out": "", "seconds": 0.1}


def python(code: str) -> dict[str, Any]:
    return {"type": "command", "run": [sys.executable, "-c", code]}


def test_a_flood_of_a_gigabyte_costs_only_its_own_evidence() -> None:  # F-42
    flood = {"type": "command", "run": ["head", "-c", "1000000000", "/dev/zero"], "contains": "x"}
    found = outcomes(*[flood] * 3, {"type": "command", "run": ["echo", "fine"], "contains": "fine"})
    assert found[3].result is Result.PASSED
    assert all(one.result is not Result.PASSED for one in found[:3])


def test_what_the_agent_prints_fits_in_what_is_read() -> None:
    tasks = [run(sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)")] * 20
    replies = perform(*tasks, run("echo", "fine"))
    assert len(json.dumps(replies)) < OUTPUT_LIMIT
    assert replies[-1]["out"] == "fine\n"


def test_a_task_that_hangs_keeps_no_other_from_its_answer() -> None:
    """Python itself hangs: opening a pipe that nobody writes to, which no time-out of a program ends."""
    code = agent_program([Question("x", run("echo", "fine"), "")]).decode()
    hanging = code.rpartition("main(")[0] + (
        "def hang(task): time.sleep(3600)\n"
        "main([hang, run], [{'do': 'hang'}] * 7 + [{'do': 'run', 'argv': ['echo', 'fine'], 'timeout': 5}] * 3, 2)\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-"], input=hanging.encode(), capture_output=True, check=True, timeout=20
    )
    replies = parse_replies(Answer(0, done.stdout.decode(), ""), 10)
    assert [reply.error for reply in replies] == ["timeout"] * 7 + [""] * 3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("negative", [False, True])
def test_a_probe_that_hangs_is_never_decided(kind: type, negative: bool) -> None:
    check = make(EXAMPLES[kind.__name__], negative=negative)
    for reply in (Reply(error="timeout"), Reply(error="OSError: Input/output error"), Reply(error="not installed: x")):
        assert decide(check, ask(check), reply).result is Result.UNKNOWN


LIES = [
    "", "\0" * 10, "null", "[]", "{}", "[" * 5000, '["a", 1, null]', '[{"hash": 1}]', '{"left": "x"}', "9" * 5000,
    '{"left": 1e999, "names": []}', "a b c d e f", '{"offset": "NaN", "synchronised": true}', "\ufffd" * 100, "1", "-1",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_lie_of_a_node_ends_in_a_traceback(kind: type) -> None:
    check = make(EXAMPLES[kind.__name__])
    for code in (0, 1, 2, 3, 4, 5, 6, 9, 49, 255, -9, 10**9):
        for lie in LIES:
            found = decide(check, ask(check), Reply(code, out=lie, err=lie, then={"": Reply(0, out=lie)}))
            assert found.seen.isprintable()
            json.dumps(found.to_dict("fr")).encode()


HOSTILE = [
    "", "no json", "[" * 100_000, "{}", "null", "[null]", '[{"seconds": NaN}]', '[{"seconds": 1e999}]',
    '[{"seconds": 1, "code": 1e999}]', '[{"seconds": 1, "code": ' + "9" * 5000 + "}]", '[{"seconds": "x"}]', "[1, 2]",
    '[{"code": 0}]', '{"0": {"seconds": 1}}', '"x"', '[{"seconds": 1}, {"seconds": 1}]', "\ufffd" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("said", HOSTILE)
def test_what_is_not_the_agents_answer_is_no_answer(said: str) -> None:
    (reply,) = parse_replies(Answer(0, said, "\x1b[2Jerror"), 1)
    assert reply.error
    assert reply.error.isprintable()


def test_half_a_surrogate_pair_can_be_written() -> None:
    (reply,) = parse_replies(Answer(0, '[{"seconds": 1, "out": "\\ud800", "error": "\\udfff"}]', ""), 1)
    assert (reply.out, reply.error) == ("?", "?")


class Liar:
    """Says that all is well with a made-up answer, as a student with root's rights on a node can."""

    def probe(self, _node: str, questions: Sequence[Question]) -> Sequence[Reply]:
        return parse_replies(Answer(0, json.dumps([OK] * len(questions)), ""), len(questions))

    def address(self, node: str) -> str:
        return node

    def system(self, _node: str) -> System:
        return System.DEBIAN


def test_a_made_up_success_without_the_facts_is_not_believed() -> None:
    names = (
        "Http",
        "Dns",
        "Certificate",
        "File",
        "User",
        "Group",
        "Flow",
        "Dhcp",
        "Smb",
        "Ldap",
        "Ntp",
        "Backup",
        "Log",
    )
    checks: list[Check] = [make(EXAMPLES[name], id=name.lower()) for name in names]
    found = run_checks(checks, Liar(), Silent())
    assert [one.check.id for one in found if one.result is Result.PASSED] == ["log"], "only a node lies about itself"


def test_every_task_of_the_agent_is_where_it_is_looked_for() -> None:
    together = "\n".join(source(name) for name in TASKS)
    assert "labctl.checks" not in together
    ast.parse(together, feature_version=(3, 9))
    names = [line.split("(")[0] for line in together.splitlines() if line.startswith("def ")]
    assert len(names) == len(set(names)), "all files of the agent share one namespace"
    for name, tasks in TASKS.items():
        assert all(f"\ndef {task}(" in source(name) for task in tasks)
    assert {path.name for path in FOLDER.glob("agent*.py")} == set(TASKS)
    wanted = {str(task["do"]) for name in EXAMPLES for task in every_task(name)}
    assert wanted == {task for tasks in TASKS.values() for task in tasks} - {"certificate_file", "sntp"}


def every_task(name: str) -> list[Any]:
    question = ask(make(EXAMPLES[name]))
    return [question.task, *question.then.values()]


def test_a_probe_takes_only_the_part_of_the_agent_that_it_needs() -> None:
    assert b"def dhcp" not in agent_program([ask(make(EXAMPLES["Ping"]))])
    assert b"def dhcp" in agent_program([ask(make(EXAMPLES["Dhcp"]))])


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EXAMPLES) == {kind.__name__ for kind in KINDS}
    assert Local().spaces == {}


EXAMPLES: dict[str, dict[str, Any]] = {
    "Ping": {"type": "ping", "to": "192.0.2.1"},
    "Tcp": {"type": "tcp", "to": "192.0.2.1", "port": 22},
    "Udp": {"type": "udp", "to": "192.0.2.1", "port": 53},
    "Traceroute": {"type": "traceroute", "to": "192.0.2.1", "via": []},
    "Flow": {"type": "flow", "deny": [{"to": "192.0.2.1", "port": 22, "alive": {"from": "there"}}]},
    "Vpn": {"type": "vpn", "tunnel": "wireguard", "name": "wg0"},
    "Dhcp": {"type": "dhcp", "interface": "lan"},
    "Ntp": {"type": "ntp"},
    "Http": {"type": "http", "url": "http://192.0.2.1/"},
    "Dns": {"type": "dns", "name": "lab.example"},
    "ZoneTransfer": {"type": "zone_transfer", "zone": "lab.example", "server": "192.0.2.1"},
    "Certificate": {"type": "certificate", "name": "lab.example"},
    "Snmp": {"type": "snmp", "to": "192.0.2.1"},
    "Ldap": {"type": "ldap", "server": "192.0.2.1", "base": "dc=lab"},
    "Kerberos": {"type": "kerberos", "holder": "alice"},
    "Smb": {"type": "smb", "server": "fs", "rights": [{"user": "a", "password": "b", "share": "c", "right": "read"}]},
    "User": {"type": "user", "name": "alice"},
    "Group": {"type": "group", "name": "staff"},
    "Smtp": {"type": "smtp", "server": "192.0.2.1"},
    "Imap": {"type": "imap", "server": "192.0.2.1"},
    "Alert": {"type": "alert", "text": "x", "path": "/var/mail"},
    "Log": {"type": "log", "at": "there", "path": "/var/log"},
    "Command": {"type": "command", "run": ["true"]},
    "File": {"type": "file", "path": "/etc/hosts"},
    "ServiceUnit": {"type": "service", "unit": "ssh.service"},
    "Package": {"type": "package", "name": "nginx"},
    "Backup": {"type": "backup", "tool": "plain", "file": "/copy"},
}
