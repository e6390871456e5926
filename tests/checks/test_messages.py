"""Probes of what is sent and must arrive: small mail servers of the tests' own, real files, real pages."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labctl.checks.decide import decide
from labctl.checks.model import Reply, Result
from labctl.checks.questions import ask
from labctl.lab.checking import run_checks
from labctl.monitor import Silent
from tests.checks.asking import Local, make, outcome, outcomes

Talk = Callable[[str], str]


@contextmanager
def mail_server(greeting: str, talk: Talk) -> Iterator[int]:
    """Greet, then answer each line by `talk`, and give the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stopped = threading.Event()

        def converse(sock: socket.socket) -> None:
            with sock, sock.makefile("rw", newline="\r\n", encoding="utf-8") as lines:
                lines.write(greeting + "\n")
                lines.flush()
                for line in lines:
                    lines.write(talk(line.strip()) + "\n")
                    lines.flush()

        def serve() -> None:
            while not stopped.is_set():
                try:
                    converse(server.accept()[0])
                except OSError:
                    continue  # nobody came, or they left

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            thread.join()


def postfix(line: str) -> str:
    """Take mail for lab.example, and relay for nobody."""
    match line.partition(":")[0].split(maxsplit=1)[0].upper():
        case "RCPT" if "@lab.example" in line:
            return "250 2.1.5 Ok"
        case "RCPT" if "@later.example" in line:
            return "450 4.2.0 Greylisted"
        case "RCPT":
            return "554 5.7.1 Relay access denied"
        case "EHLO":
            return "250 mail.lab.example"
        case "AUTH":
            return "535 5.7.8 Authentication failed"
        case _:
            return "250 2.0.0 Ok"


def smtp(port: int, **more: Any) -> dict[str, Any]:
    return {"type": "smtp", "server": "127.0.0.1", "port": port, **more}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_mail_server_takes_its_own_mail_and_relays_nothing() -> None:
    with mail_server("220 mail.lab.example ESMTP", postfix) as port:
        relay = smtp(port, recipient="victim@outside.example")
        found = [
            outcome(smtp(port)), outcome(smtp(port, recipient="alice@lab.example")), outcome(relay),
            outcome(relay, negative=True), outcome(smtp(port, recipient="a@later.example")),
            outcome(smtp(port, tls="starttls")),
        ]  # fmt: skip
    assert [one.result for one in found] == [
        Result.PASSED, Result.PASSED, Result.FAILED, Result.PASSED, Result.UNKNOWN, Result.FAILED,
    ]  # fmt: skip
    assert found[2].seen == "refused: 554 5.7.1 Relay access denied"


def test_a_dead_mail_server_refuses_nobody() -> None:
    dead = smtp(free_port(), recipient="victim@outside.example")
    assert outcome(dead).result is Result.FAILED
    assert outcome(dead, negative=True).result is Result.UNKNOWN
    assert outcome(smtp(25) | {"server": "name.invalid"}).result is Result.UNKNOWN


def dovecot(line: str) -> str:
    tag, verb, *rest = line.split(" ", 2)
    match verb.upper():
        case "CAPABILITY":
            return f"* CAPABILITY IMAP4rev1\n{tag} OK done"
        case "LOGIN" if "right" in rest[0]:
            return f"{tag} OK logged in"
        case "LOGIN":
            return f"{tag} NO [AUTHENTICATIONFAILED] Authentication failed."
        case "EXAMINE":
            return f"* 1 EXISTS\n{tag} OK done"
        case "FETCH":
            text = "Subject: PROBLEM: disk full\n"  # a byte longer on its way, as each line
            return f"* 1 FETCH (BODY[] {{{len(text) + 1}}}\n{text})\n{tag} OK done"
        case _:
            return f"{tag} OK done"


def test_a_mailbox_opens_with_the_right_password() -> None:
    with mail_server("* OK Dovecot ready.", dovecot) as port:
        probe = {"type": "imap", "server": "127.0.0.1", "port": port}
        login = {**probe, "user": "alice", "password": "right"}
        found = [
            outcome(probe), outcome(login), outcome({**login, "password": "wrong"}),
            outcome({**login, "contains": "disk full"}), outcome({**login, "contains": "all is well"}),
            outcome({**probe, "port": free_port()}),
        ]  # fmt: skip
    assert [one.result for one in found] == [
        Result.PASSED, Result.PASSED, Result.FAILED, Result.PASSED, Result.FAILED, Result.FAILED,
    ]  # fmt: skip


def slow_dovecot(line: str) -> str:
    if " LOGIN " in line:
        time.sleep(1)
    return dovecot(line)


def test_the_late_refusal_of_a_login_is_a_refusal() -> None:
    check = make({"type": "imap", "server": "127.0.0.1", "port": 1, "user": "alice", "password": "wrong"})
    asked = ask(check)
    with mail_server("* OK Dovecot ready.", slow_dovecot) as port:
        hasty = replace(asked, task={**asked.task, "port": port, "timeout": 0.4})
        (late,) = Local().probe("here", [hasty])
        (too_late,) = Local().probe("here", [replace(hasty, task={**hasty.task, "patience": 0.4})])
    assert decide(check, hasty, late).seen.startswith("refused: ")
    assert decide(check, hasty, too_late).seen == "the probe did not end in time"


def test_a_password_may_stand_in_a_file_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "right").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    with mail_server("* OK Dovecot ready.", dovecot) as port:
        login = {"type": "imap", "server": "127.0.0.1", "port": port, "user": "alice"}
        found = outcomes(*({**login, "password_file": str(tmp_path / name)} for name in ("right", "wrong", "none")))
    assert [one.result for one in found] == [Result.PASSED, Result.FAILED, Result.UNKNOWN]
    assert "No such file" in found[2].seen
    assert "right" not in found[0].command + found[0].output


# What Zabbix sends for a subject and a text in French (RFC 2047 and base64), folded where a line gets long.
ENCODED = """From: <zabbix@lab.example>
Subject: =?UTF-8?B?UHJvYmzDqG1lIDogZGlzcXVlIHByZXNxdWU=?=
 =?UTF-8?B?IHBsZWlu?=
MIME-Version: 1.0
Content-Type: text/plain; charset="UTF-8"
Content-Transfer-Encoding: base64

T2NjdXDDqSDDoCA5MiAl
"""


def test_an_alert_is_read_as_its_reader_sees_it(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text(ENCODED)
    texts = ("Problème : disque presque plein", "Occupé à 92 %", "Occupé à 93 %")
    found = outcomes(*({**alert(tmp_path / "mail"), "text": text} for text in texts))
    assert [one.result for one in found] == [Result.PASSED, Result.PASSED, Result.FAILED]


def alert(path: Path, **more: Any) -> dict[str, Any]:
    return {"type": "alert", "text": "disk full", "path": str(path), "within": 2, **more}


def test_an_alert_arrives_in_a_file_or_a_mailbox(tmp_path: Path) -> None:
    box, log = tmp_path / "box" / "new", tmp_path / "log"
    box.mkdir(parents=True)
    log.write_text("disk full, long ago\n")
    (box / "1").write_text("Subject: PROBLEM: disk full\n")
    found = outcomes(
        alert(tmp_path / "box"), alert(log), alert(tmp_path / "none"),
        alert(log, trigger=["true"]), alert(log, trigger=["false"]),
    )  # fmt: skip
    assert [one.result for one in found] == [
        Result.PASSED, Result.PASSED, Result.FAILED, Result.FAILED, Result.UNKNOWN,
    ]  # fmt: skip
    raise_it = ["sh", "-c", f"(sleep 0.7; echo 'disk full again' >> {log}) >/dev/null 2>&1 &"]
    assert outcome(alert(log, trigger=raise_it, within=10)).result is Result.PASSED


def test_an_alert_stands_on_a_page(tmp_path: Path) -> None:
    (tmp_path / "alerts").write_text('[{"summary": "disk full"}]')

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/alerts"
        probe = {"type": "alert", "text": "disk full", "url": url, "within": 1}
        found = outcomes(probe, {**probe, "text": "all is well"})
        server.shutdown()
    assert [one.result for one in found] == [Result.PASSED, Result.FAILED]


def test_a_line_must_arrive_on_the_other_node(tmp_path: Path) -> None:
    """The node that collects is this machine too: what arrives there is what the test writes for the token."""
    collected = tmp_path / "remote.log"

    class Relaying(Local):
        """Between the two nodes, stands for rsyslog: it carries the line of the token, or nothing."""

        def probe(self, node: str, questions: Any) -> Any:
            if node == "here" and carried:
                collected.write_text(f"labctl: check {questions[0].task['token']}\n")
            return [Reply(0)] if node == "here" else super().probe(node, questions)

    check = make({"type": "log", "at": "collector", "path": str(collected), "within": 1})
    carried = False
    (lost,) = run_checks([check], Relaying(), Silent())
    carried = True
    (arrived,) = run_checks([check], Relaying(), Silent())
    assert [lost.result, arrived.result] == [Result.FAILED, Result.PASSED]
    (again,) = run_checks([check], Local(), Silent())
    assert again.result is not Result.PASSED, "the line of an earlier run does not count"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(1, err="logger: cannot connect"), Result.UNKNOWN),
        (Reply(0), Result.UNKNOWN),
        (Reply(0, then={"collector": Reply(error="timeout")}), Result.UNKNOWN),
        (Reply(0, then={"collector": Reply(1)}), Result.FAILED),
    ],
)
def test_a_collector_that_cannot_be_asked_decides_nothing(reply: Reply, expected: Result) -> None:
    check = make({"type": "log", "at": "collector", "path": "/var/log/remote"})
    assert decide(check, ask(check), reply).result is expected
