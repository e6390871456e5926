"""Asks and judges probes of what is sent and must arrive: smtp, imap, alert, log."""

import re
import shlex
from typing import Any

from pydantic import JsonValue

from labctl.checks.kind import HANDSHAKE_TIMEOUT, NO_NAME, Asked, Kind
from labctl.checks.lines import last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.language import _, decimal
from labctl.topology.message_probes import Alert, Imap, Log, Smtp

# Seconds for the answer to a login. Servers delay a refusal, the more the oftener: Dovecot up to 17 s, by its
# auth_failure_delay and the penalty of an address (https://doc.dovecot.org/main/core/config/auth/penalty.html).
LOGIN_PATIENCE = 45

AFTER = re.compile(r"after (\d{1,6}\.\d) s")  # what the agent says of an arrival

# The agent's codes of a talk with a mail server.
NOT_REACHED, NO_TLS, REFUSED, LATER, NO_MESSAGE = 1, 3, 4, 5, 6


def mail_task(do: str, probe: Smtp | Imap, **more: JsonValue) -> Task:
    """Return the agent's task of talking with a mail server; the password goes by standard input like all of it."""
    return {
        "do": do, "host": probe.server, "port": probe.port, "tls": probe.tls, "authority": "",
        "user": probe.user or "", "password": probe.password or "", "password_file": probe.password_file or "",
        "timeout": HANDSHAKE_TIMEOUT, "patience": LOGIN_PATIENCE, **more,
    }  # fmt: skip


def mail_command(probe: Smtp | Imap, protocol: str) -> str:
    """Return what a person would type to talk with a mail server."""
    end = shlex.quote(f"{probe.server}:{probe.port}")
    if probe.tls == "none":
        return f"nc {shlex.quote(probe.server)} {probe.port}"
    return f"openssl s_client -connect {end}" + (f" -starttls {protocol}" if probe.tls == "starttls" else "")


def ask_smtp(probe: Smtp) -> Asked:
    """A dialogue up to the recipient."""
    task = mail_task("smtp", probe, sender=probe.sender, recipient=probe.recipient or "")
    return Asked(task, mail_command(probe, "smtp"))


def judge_smtp(_probe: Smtp, reply: Reply) -> Verdict:
    """Judge a dialogue: only the server's own refusal proves one."""
    if reply.code == 0:
        return Verdict(True, last_line(reply.out))
    return mail_trouble(reply)


def mail_trouble(reply: Reply) -> Verdict:
    """Return what a talk shows that did not go to its end."""
    said = last_line(reply.err)
    if reply.code == NOT_REACHED:
        return Verdict(False, _("no connection ({error})").format(error=said), proof=False)
    if reply.code in (NO_NAME, LATER):
        return Verdict(None, said)
    if reply.code == NO_TLS:
        return Verdict(False, said, proof=False)
    return Verdict(False, _("refused: {error}").format(error=said))


def ask_imap(probe: Imap) -> Asked:
    """A login and a look into the inbox."""
    return Asked(mail_task("imap", probe, contains=probe.contains or ""), mail_command(probe, "imap"))


def judge_imap(probe: Imap, reply: Reply) -> Verdict:
    """Judge a mailbox."""
    if reply.code == 0:
        return Verdict(True, last_line(reply.out))
    if reply.code == NO_MESSAGE:
        return Verdict(False, _('no message holds "{text}"').format(text=probe.contains))
    return mail_trouble(reply)


def ask_alert(probe: Alert) -> Asked:
    """A look, again and again, at where the alert must arrive."""
    trigger: list[JsonValue] = [*probe.trigger]
    task: Task = {
        "do": "arrival", "text": probe.text, "path": probe.path or "", "url": probe.url or "", "trigger": trigger,
        "within": probe.within,
    }  # fmt: skip
    where = shlex.quote(probe.url or probe.path or "")
    look = f"curl -s {where} | grep -F" if probe.url else "grep -rF"
    command = f"{look} {shlex.quote(probe.text)}" + ("" if probe.url else f" {where}")
    return Asked(task, "; ".join([*([shlex.join(probe.trigger)] if probe.trigger else []), command]))


def arrived(reply: Reply) -> str:
    """Return that something has arrived, and after how long where the node says so."""
    found = AFTER.fullmatch(last_line(reply.out))
    if not found:
        return _("it has arrived")
    return _("it has arrived after {seconds} s").format(seconds=decimal(float(found[1])))


def judge_alert(probe: Alert, reply: Reply) -> Verdict:
    """Judge an arrival; without its trigger an alert cannot come."""
    if reply.code == 0:
        return Verdict(True, arrived(reply))
    if reply.code == 1:
        return Verdict(False, _("nothing has arrived within {seconds} s").format(seconds=probe.within))
    return Verdict(None, last_line(reply.err))


def ask_log(probe: Log) -> Asked:
    """A line with a token of this run, then a look at where it must arrive."""
    look: Task = {"do": "arrival", "path": probe.path, "within": probe.within}
    command = f"logger -p {probe.priority} -t labctl TEST; ssh {probe.at} grep -rF TEST {shlex.quote(probe.path)}"
    return Asked({"do": "write_log", "priority": probe.priority}, command, {probe.at: look})


def judge_log(probe: Log, reply: Reply) -> Verdict:
    """Judge an arrival on the other node."""
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    there = reply.then.get(probe.at, Reply(error="timeout"))
    if there.error:
        return Verdict(None, f"{probe.at}: {last_line(there.error)}")
    if there.code == 0:
        return Verdict(True, arrived(there))
    return Verdict(False, _("nothing has arrived within {seconds} s").format(seconds=probe.within))


KINDS: tuple[Kind[Any], ...] = (
    Kind(Smtp, ask_smtp, judge_smtp),
    Kind(Imap, ask_imap, judge_imap),
    Kind(Alert, ask_alert, judge_alert),
    Kind(Log, ask_log, judge_log),
)
