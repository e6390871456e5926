"""A candidate's standing, and what is seen of their machines, to the lines and sentences of pages."""

from collections.abc import Mapping
from datetime import datetime

from labctl.exam.audit import Act, utc_text
from labctl.exam.documents.page import say
from labctl.exam.documents.words import name_phase, pick_words
from labctl.exam.model import Demand, Phase
from labctl.exam.standing import CandidateStanding, Standing
from labctl.lab.status import LabStatus, NodeState
from labctl.language import N_, _, current_language
from labctl.topology.model import Topology
from labctl.worker.exam_answers import Clock, ExamNode, ProctorMessage
from labctl.worker.exam_authority import ExamState
from labctl.worker.values import ConsoleMode

MARKS = (30, 15, 10, 5, 2, 1)  # minutes left at which a candidate is told so
RUNS = "running"
# An exam pulls the link by which a machine says that it is ready: that it runs is what can be seen.
SEEN_AS = {
    NodeState.READY: RUNS, NodeState.RUNNING: RUNS, NodeState.UNCONFIGURED: RUNS, NodeState.SILENT: RUNS,
    NodeState.PAUSED: "paused", NodeState.STOPPED: "stopped", NodeState.CRASHED: "crashed",
    NodeState.MISSING: "missing",
}  # fmt: skip
MACHINE_WORDS = {
    "running": N_("runs"), "paused": N_("stands still"), "stopped": N_("is off"), "crashed": N_("has crashed"),
    "missing": N_("is missing"),
}  # fmt: skip
STATE_WORDS = {
    ExamState.WAITING: N_("not begun"), ExamState.WORKING: N_("at work"), ExamState.PAUSED: N_("on hold"),
    ExamState.FROZEN: N_("frozen"), ExamState.SHOWING: N_("being shown"), ExamState.ENDED: N_("ended"),
}  # fmt: skip
WAYS = (ConsoleMode.GRAPHICS, ConsoleMode.TEXT)  # without the management link there is no SSH


def seen_machines(status: LabStatus | None) -> Mapping[str, str]:
    """Return the state of each machine, as the board of an exam has them; none of a lab that is not there."""
    return {node.name: SEEN_AS[node.state] for node in status.nodes} if status else {}


def describe_machines(status: LabStatus | None, topology: Topology | None) -> tuple[ExamNode, ...]:
    """Return the machines of a candidate; what services they have, and what checks find, is not told."""
    language, lines = current_language(), []
    for name, state in seen_machines(status).items():
        node = topology.nodes.get(name) if topology else None
        cards = node.interfaces.items() if node else ()
        lines.append(
            ExamNode(
                node=name, state=state, words=_(MACHINE_WORDS[state]),
                description=node.description.pick(language) if node and node.description else "",
                addresses=tuple((card, one.network, str(one.address)) for card, one in cards),
                consoles=WAYS if state in {RUNS, "paused"} else (),
            )
        )  # fmt: skip
    return tuple(lines)


def describe_clock(standing: Standing, one: CandidateStanding, now: datetime) -> Clock:
    """Return the clock of the phase that a candidate is in."""
    clock = one.clock
    if clock is None:
        return Clock()
    words = name_phase(clock.phase, current_language())
    if clock.ended or one.closed:
        return Clock(phase=clock.phase, words=words)
    left = clock.left(now).total_seconds()
    total = (clock.allotted + clock.extended).total_seconds()
    marks = tuple(seconds for mark in MARKS if (seconds := round(mark * standing.minute)) < total)
    return Clock(
        phase=clock.phase, words=words, left=round(left, 1), deadline=utc_text(clock.deadline(now)), paused=one.paused,
        extended=clock.extended.total_seconds(), marks=marks,
    )  # fmt: skip


def state_words(state: ExamState) -> str:
    """Return how far somebody's work is, in a few words."""
    return _(STATE_WORDS[state])


def explain_state(state: ExamState, phase: Phase | None) -> str:
    """Return the sentence that a candidate reads first."""
    if state is ExamState.WAITING and phase is not None:
        return {
            Phase.PREPARATION: _("Read the demand and prepare your work. The machines come later."),
            Phase.INTERVIEW: _("You explain to the jury how you will go about it. The machines come later."),
        }.get(phase, _("The machines are being got ready."))
    return {
        ExamState.WAITING: _("Your exam has not begun. This page shows what you need as soon as it does."),
        ExamState.WORKING: _("You may work on your machines."),
        ExamState.PAUSED: _("The proctor has stopped your clock; your machines stand still. You lose no time."),
        ExamState.FROZEN: _(
            "Your work is over and was frozen: consoles are closed, and nothing can be changed any more."
        ),
        ExamState.SHOWING: _(
            "Your frozen work runs again, so that you can show it. Nothing that you change now counts."
        ),
        ExamState.ENDED: _("Your exam has ended. You may log out."),
    }[state]


def read_messages(standing: Standing, one: CandidateStanding) -> tuple[ProctorMessage, ...]:
    """Return what the proctor said to a candidate and to all, the newest first."""
    entries = [*one.entries(Act.MESSAGE), *(entry for entry in standing.history if entry.act is Act.MESSAGE)]
    entries.sort(key=lambda entry: entry.seq, reverse=True)
    return tuple(ProctorMessage(at=utc_text(one.at.hour), text=str(one.facts.get("text", ""))) for one in entries)


def write_demand(demand: Demand) -> str:
    """Return a demand as Markdown; what its author wrote is Markdown as in the text of a lab."""
    language = current_language()
    words = pick_words(language)
    parts = [say(demand.context, language).strip()]
    lists = {"work": demand.work, "constraints": demand.constraints, "expected_results": demand.results}
    for key, listed in lists.items():
        if listed:
            items = [f"{number}. {indent(say(text, language))}" for number, text in enumerate(listed, 1)]
            parts += [f"## {words[key]}", "\n".join(items)]
    return "\n\n".join(parts) + "\n"


def indent(text: str) -> str:
    """Return a text of several lines as one item of a list."""
    return "\n   ".join(text.strip().splitlines())
