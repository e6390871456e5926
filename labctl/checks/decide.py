"""Decides, from a check and the raw reply of its probe alone: passed, failed, or could not be checked."""

from dataclasses import replace

from labctl.checks.kinds import kind_of
from labctl.checks.lines import printable
from labctl.checks.model import TIMEOUT, Outcome, Question, Reply, Result, Verdict
from labctl.language import LANGUAGES, _, current_language, speaking
from labctl.topology.model import Check
from labctl.topology.probes import HOST

SHOWN = 2000  # characters of output kept as evidence


def decide(check: Check, question: Question, reply: Reply) -> Outcome:
    """Return the outcome of a check. A probe that says nothing decides nothing, for negative checks too."""
    error = TIMEOUT if is_late(check, question, reply) else reply.error
    verdicts: dict[str, Verdict] = {}
    for language in LANGUAGES:  # the sheet may be read by somebody else than whoever asks now
        with speaking(language):
            said = Verdict(None, explain_error(error, check.origin)) if error else judge(check, question, reply)
            verdicts[language] = replace(said, seen=printable(said.seen))
    verdict = verdicts[current_language()]
    if verdict.success is None or (check.negative and not verdict.success and not verdict.proof):
        result = Result.UNKNOWN
    else:
        result = Result.PASSED if verdict.success is not check.negative else Result.FAILED
    output = "\n".join(part.strip() for part in (reply.out, reply.err) if part.strip())[:SHOWN]
    told = {language: one.seen for language, one in verdicts.items()}
    return Outcome(check, result, verdict.seen, question.command, output, reply.seconds, told=told)


def is_late(check: Check, question: Question, reply: Reply) -> bool:
    """Return whether a probe was cut short by a clock, its program's own or the agent's: it may be asked again."""
    return reply.error == TIMEOUT or (not reply.error and kind_of(check.probe, question.system).late(reply))


def explain_error(error: str, origin: str) -> str:
    """Return why there was no answer, in the reader's language where the agent's word is known."""
    if error == TIMEOUT:
        return _("the probe did not end in time")
    if error.startswith("not installed: "):
        on_host = _('the program "{program}" is not installed on the host')
        text = on_host if origin == HOST else _('the program "{program}" is not installed on the node')
        return text.format(program=error.partition(": ")[2])
    return error


def judge(check: Check, question: Question, reply: Reply) -> Verdict:
    """Return what the probe's reply shows; one that the node has made up may show nothing."""
    try:
        return kind_of(check.probe, question.system).judge(check.probe, reply)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return Verdict(None, _("the answer of the node makes no sense"))
