"""Decides, from a check and the raw reply of its probe alone: passed, failed, or could not be checked."""

import json
from collections.abc import Mapping
from typing import Any

from labctl.checks.model import Outcome, Question, Reply, Result, Verdict
from labctl.checks.questions import MARK
from labctl.language import _
from labctl.topology.model import Check
from labctl.topology.probes import Command, Dns, File, Http, Ping, ServiceUnit, Tcp

SHOWN = 2000  # characters of output kept as evidence

DIG_NO_REPLY = 9  # dig(1), RETURN CODES

# curl(1), EXIT CODES: what each says about the flow. Others say nothing about it.
CURL_BLOCKED = {7, 28}
CURL_REACHED = {22, 35, 51, 52, 56, 58, 60, 83}


def decide(check: Check, question: Question, reply: Reply) -> Outcome:
    """Return the outcome of a check. A probe that says nothing decides nothing, for negative checks too."""
    verdict = Verdict(None, explain_error(reply.error)) if reply.error else judge(check, reply)
    if verdict.success is None:
        result = Result.UNKNOWN
    else:
        result = Result.PASSED if verdict.success is not check.negative else Result.FAILED
    output = "\n".join(part.strip() for part in (reply.out, reply.err) if part.strip())[:SHOWN]
    return Outcome(check, result, verdict.seen, question.command, output, reply.seconds)


def explain_error(error: str) -> str:
    """Return why there was no answer, in the reader's language where the agent's word is known."""
    if error == "timeout":
        return _("the probe did not end in time")
    if error.startswith("not installed: "):
        return _('the program "{program}" is not installed on the node').format(program=error.partition(": ")[2])
    return error


def judge(check: Check, reply: Reply) -> Verdict:
    """Return what the probe's reply shows."""
    match check.probe:
        case Ping():
            return judge_ping(reply)
        case Tcp():
            return judge_tcp(reply)
        case Http() as probe:
            return judge_http(probe, reply)
        case Dns() as probe:
            return judge_dns(probe, reply)
        case Command() as probe:
            return judge_command(probe, reply)
        case File() as probe:
            return judge_file(probe, reply)
        case ServiceUnit() as probe:
            return judge_service(probe, reply)


def judge_ping(reply: Reply) -> Verdict:
    """ping(8): 0 answered, 1 no answer, 2 something else went wrong."""
    if reply.code == 0:
        return Verdict(True, _("it answers"))
    if reply.code == 1:
        return Verdict(False, _("no answer"))
    return Verdict(None, last_line(reply.err))


def judge_tcp(reply: Reply) -> Verdict:
    """Judge a connection; a name that does not resolve says nothing about the flow."""
    if reply.code == 0:
        return Verdict(True, _("the connection opens"))
    if reply.code == 1:
        return Verdict(False, _("no connection ({error})").format(error=last_line(reply.err)))
    return Verdict(None, last_line(reply.err))


def judge_http(probe: Http, reply: Reply) -> Verdict:
    """Judge a page by its status, text and redirection; curl has verified the certificate."""
    if reply.code != 0:
        seen = first_line(reply.err)
        known = reply.code in CURL_BLOCKED | CURL_REACHED
        return Verdict(False if known else None, seen)
    page, _mark, line = reply.out.rpartition(MARK)
    status, _space, location = line.strip().partition(" ")
    if status != str(probe.status):
        return Verdict(False, _("status {found} instead of {wanted}").format(found=status, wanted=probe.status))
    if probe.contains and probe.contains not in page:
        return Verdict(False, _('the page does not hold "{text}"').format(text=probe.contains))
    if probe.redirect and location != probe.redirect:
        return Verdict(False, _('redirects to "{found}"').format(found=location))
    return Verdict(True, _("status {found}").format(found=status))


def judge_dns(probe: Dns, reply: Reply) -> Verdict:
    """Judge dig's answer section."""
    if reply.code == DIG_NO_REPLY:
        return Verdict(False, _("the name server does not answer"))
    if reply.code != 0:
        return Verdict(None, last_line(reply.out or reply.err))
    lines = [line.split(None, 4) for line in reply.out.splitlines() if line.strip() and not line.startswith(";")]
    answers = [fields[4].strip() for fields in lines if len(fields) == 5]  # noqa: PLR2004  dig: name ttl class type data
    if probe.answer is None:
        found = bool(answers)
    else:
        found = probe.answer.rstrip(".") in [answer.strip('"').rstrip(".") for answer in answers]
    if answers:
        return Verdict(found, ", ".join(answers))
    return Verdict(False, dns_status(reply.out))


def dns_status(out: str) -> str:
    """Return dig's status word (NXDOMAIN, REFUSED…), or that the answer is empty."""
    _before, found, rest = out.partition("status: ")
    status = rest.partition(",")[0]
    return status if found and status != "NOERROR" else _("empty answer")


def judge_command(probe: Command, reply: Reply) -> Verdict:
    """Judge a command by its exit code and output."""
    if reply.code != probe.code:
        return Verdict(False, _("exit code {found} instead of {wanted}").format(found=reply.code, wanted=probe.code))
    if probe.contains and probe.contains not in reply.out + reply.err:
        return Verdict(False, _('the output does not hold "{text}"').format(text=probe.contains))
    return Verdict(True, _("exit code {found}").format(found=reply.code))


def judge_file(probe: File, reply: Reply) -> Verdict:
    """Judge a file's existence, owner, mode and content."""
    if reply.code != 0:
        return Verdict(False, _("the file does not exist"))
    facts: Mapping[str, Any] = json.loads(reply.out)
    if probe.owner and facts["owner"] != probe.owner:
        return Verdict(False, _("owned by {found}").format(found=facts["owner"]))
    if probe.mode and int(facts["mode"], 8) != int(probe.mode, 8):
        return Verdict(False, _("mode {found}").format(found=facts["mode"]))
    if probe.contains and probe.contains not in facts["content"]:
        return Verdict(False, _('the file does not hold "{text}"').format(text=probe.contains))
    return Verdict(True, _("owned by {owner}, mode {mode}").format(owner=facts["owner"], mode=facts["mode"]))


def judge_service(probe: ServiceUnit, reply: Reply) -> Verdict:
    """Judge a systemd unit: running now, and started at boot unless the check says otherwise."""
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    facts = dict(line.split("=", 1) for line in reply.out.splitlines() if "=" in line)
    if facts.get("LoadState") == "not-found":
        return Verdict(False, _("the service does not exist"))
    if facts.get("ActiveState") != "active":
        return Verdict(False, _("not running ({state})").format(state=facts.get("ActiveState", "?")))
    enabled = facts.get("UnitFileState", "")
    if probe.enabled and enabled not in {"enabled", "enabled-runtime", "static", "alias", "generated"}:
        return Verdict(False, _("running, but not started at boot ({state})").format(state=enabled or "?"))
    return Verdict(True, _("running, {state}").format(state=enabled or "?"))


def first_line(text: str) -> str:
    """Return the first non-empty line: curl explains below it at length."""
    lines = [line for line in text.splitlines() if line.strip()]
    return last_line(lines[0] if lines else "")


def last_line(text: str) -> str:
    """Return the last non-empty line, printable characters only."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[-1] if lines else _("no message")
    return "".join(letter for letter in line if letter.isprintable())[:300]
