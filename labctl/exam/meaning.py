"""What the parts of an exam mean together and with its topology: every name that is unknown, twice or contradictory."""

from collections.abc import Iterator
from dataclasses import replace

from pydantic import JsonValue

from labctl.competencies import exam_number, load_sessions
from labctl.exam.model import Exam, Start
from labctl.language import _
from labctl.topology.catalogue import Catalogue, competency_list_findings, unlisted_competency
from labctl.topology.model import Internet, Topology
from labctl.topology.parts import listed, whole_parts
from labctl.topology.problems import Finding, Steps, quoted
from labctl.topology.semantics import check_findings, unknown


def exam_findings(exam: Exam, data: JsonValue, topology: Topology, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield every problem of meaning. `data` is the plain exam, read where a part is not well formed."""
    yield from number_findings(exam)
    named = data.get("competencies") if isinstance(data, dict) else None
    yield from competency_list_findings(named, ("competencies",), catalogue.competencies)
    yield from own_check_findings(exam, topology, catalogue)
    yield from recette_findings(exam, data, topology)
    yield from policy_findings(exam, topology)
    for node in exam.evidence.paths:
        if node not in topology.nodes:
            text = _("a node of the topology ({names})")
            yield unknown(("evidence", "paths", node), text, node, topology.nodes, at_key=True)
    for position, question in enumerate(exam.questions):
        if question.competency not in catalogue.competencies:
            steps: Steps = ("questions", position, "competency")
            yield unlisted_competency(steps, question.competency, catalogue.competencies)


def number_of(exam: Exam) -> str:
    """Return the number that is printed, such as E6; empty where neither the file nor the table has one."""
    return exam.exam_number or exam_number(exam.block, exam.session)


def number_findings(exam: Exam) -> Iterator[Finding]:
    """Yield a year for which the table of sessions has no number of the exam."""
    if not number_of(exam):
        years = ", ".join(f"{one.since}–{one.until or '…'}" for one in reversed(load_sessions()))
        text = _("a year of the table of sessions ({years}), or the key exam_number beside it").format(years=years)
        yield Finding(("session",), text, str(exam.session))


def own_check_findings(exam: Exam, topology: Topology, catalogue: Catalogue) -> Iterator[Finding]:
    """Yield what is wrong with the checks of the exam itself, which ask the nodes of its topology."""
    parts = replace(whole_parts(topology), checks=dict(enumerate(exam.checks)))
    yield from check_findings(parts, catalogue)
    taken = {check.id for check in topology.checks}
    for position, check in enumerate(exam.checks):
        if check.id in taken:
            found = _("{name}, which the topology has").format(name=quoted(check.id))
            yield Finding(("checks", position, "id"), _("an id of its own"), found)
        if check.ready:
            text = _("no `ready`: the lab is ready before the work is done")
            yield Finding(("checks", position, "ready"), text, "true")


def recette_findings(exam: Exam, data: JsonValue, topology: Topology) -> Iterator[Finding]:
    """Yield checks of the recette that are unknown or named twice, and a recette that proves nothing."""
    # Checks that are not well formed have an id too: whoever names one is not called wrong.
    written = [one.get("id") for one in listed(data, "checks").values() if isinstance(one, dict)]
    own = [name for name in written if isinstance(name, str)]
    known = [*own, *(check.id for check in topology.checks)]
    seen: set[str] = set()
    for position, one in enumerate(exam.recette):
        steps: Steps = ("recette", position, "check")
        if one.check not in known:
            yield unknown(steps, _("a check of this file or of the topology ({names})"), one.check, known)
        elif one.check in seen:
            yield Finding(steps, _("each check once"), quoted(one.check))
        seen.add(one.check)
    for position, name in enumerate(written):
        if isinstance(name, str) and name not in seen:
            yield Finding(("checks", position, "id"), _("a check that the recette names"), quoted(name))
    if all(start_of(one.start, one.check, own) is Start.PASSES for one in exam.recette):
        text = _("at least one check that fails before the work is done: else there is nothing to do")
        yield Finding(("recette",), text, at_key=True)


def start_of(said: Start | None, check: str, own: list[str]) -> Start:
    """Return what a check of the recette must say before the work; `own` are the checks of the exam itself."""
    return said or (Start.FAILS if check in own else Start.PASSES)


def policy_findings(exam: Exam, topology: Topology) -> Iterator[Finding]:
    """Yield Internet names that no machine can reach or that stand twice, and resets that can never be made."""
    if exam.internet and not any(isinstance(one, Internet) for one in topology.networks.values()):
        text = _("a topology with a network of the kind `internet`, or no names")
        yield Finding(("internet",), text, quoted(exam.topology), at_key=True)
    for position, name in enumerate(exam.internet):
        if name in exam.internet[:position]:
            yield Finding(("internet", position), _("each name once"), quoted(name))
    if exam.reset.scope != "none" and not exam.reset.most:
        yield Finding(("reset", "most"), _("at least 1, or the scope none"), "0")
