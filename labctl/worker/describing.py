"""Labs, machines and jobs as the rooms below know them, to the lines that pages show, in the reader's words."""

from collections.abc import Mapping, Sequence

from labctl.lab.status import USABLE, LabStatus, NodeState, NodeStatus
from labctl.lab.words import LAB_WORDS, NODE_WORDS, why
from labctl.language import N_, _, current_language
from labctl.topology.model import Node, Topology
from labctl.worker.answers import CheckCounts, JobLine, LabLine, MessageLine, NodeLine
from labctl.worker.jobs import Job
from labctl.worker.records import StoredMessage
from labctl.worker.values import ConsoleMode, JobState, LabState
from labctl.worker.watch import state_of

VERB_WORDS = {
    "reset": N_("reset"), "run_checks": N_("checks"), "checkpoint_save": N_("keep a checkpoint"),
    "checkpoint_restore": N_("back to a checkpoint"), "checkpoint_remove": N_("delete a checkpoint"),
    "wake": N_("wake"), "suspend": N_("suspend"), "down": N_("remove"), "start": N_("start a class"),
    "exam_reset": N_("reset"), "exam_wake": N_("switch on"),
}  # fmt: skip
JOB_WORDS = {
    JobState.WAITING: N_("waiting"), JobState.RUNNING: N_("under way"), JobState.DONE: N_("done"),
    JobState.FAILED: N_("failed"), JobState.INTERRUPTED: N_("interrupted"),
}  # fmt: skip
STATE_WORDS = {**LAB_WORDS, LabState.SUSPENDED: N_("suspended"), LabState.ABSENT: N_("not started")}
TYPED = frozenset({*USABLE, NodeState.UNCONFIGURED, NodeState.SILENT, NodeState.PAUSED})


def describe_job(job: Job, ahead: int) -> JobLine:
    """Return a job as a line; `ahead` is how many come before it."""
    wish = job.wish
    nodes = wish.details.get("nodes") or ()
    return JobLine(
        id=job.id, lab=wish.lab, verb=wish.verb, words=_(VERB_WORDS[wish.verb]),
        nodes=tuple(map(str, nodes)) if isinstance(nodes, list | tuple) else (), who=wish.who, state=job.state,
        state_words=_(JOB_WORDS[job.state]), ahead=ahead, fraction=job.fraction, step=job.step, at=job.at,
        started=job.started, ended=job.ended, error=job.error, hint=job.hint,
    )  # fmt: skip


def describe_checks(checks: Mapping[str, int]) -> CheckCounts:
    """Return how the last checks stand."""
    passed, failed, unknown = (checks.get(key, 0) for key in ("passed", "failed", "unknown"))
    return CheckCounts(passed=passed, failed=failed, unknown=unknown, total=passed + failed + unknown)


def state_words(state: LabState) -> str:
    """Return the state of a lab in words."""
    return _(STATE_WORDS[state])


def node_words(state: str, *, short: bool = False) -> str:
    """Return the state of a machine in words."""
    return _(NODE_WORDS[NodeState(state)][1 if short else 0])


def describe_lab(
    status: LabStatus, title: str, owner_name: str, job: JobLine | None = None, suspend_at: str = ""
) -> LabLine:
    """Return a lab as a line."""
    state = state_of(status)
    return LabLine(
        lab=status.name, topology=status.topology, title=title, owner=status.owner, owner_name=owner_name,
        state=state, words=state_words(state), nodes_ready=sum(n.state in USABLE for n in status.nodes),
        nodes=len(status.nodes), checks=describe_checks(status.checks), job=job, suspend_at=suspend_at,
        made=status.made,
    )  # fmt: skip


def describe_node(status: NodeStatus, node: Node | None, holders: Sequence[str] = ()) -> NodeLine:
    """Return a machine as a line; `node` is what the topology says of it, None for one that it does not name."""
    language = current_language()
    ways = (mode for mode in ConsoleMode if mode is not ConsoleMode.SSH or status.ssh)
    addresses = () if node is None else tuple(
        (name, one.network, str(one.address)) for name, one in node.interfaces.items()
    )  # fmt: skip
    return NodeLine(
        node=status.name, state=str(status.state), words=node_words(status.state), why=why(status),
        description=node.description.pick(language) if node and node.description else "",
        image=node.image if node else "", services=tuple(node.services) if node else (), addresses=addresses,
        consoles=tuple(ways) if status.state in TYPED else (), holders=tuple(holders),
    )  # fmt: skip


def describe_nodes(status: LabStatus, topology: Topology, holders: Mapping[str, Sequence[str]]) -> tuple[NodeLine, ...]:
    """Return the machines of a lab."""
    return tuple(describe_node(one, topology.nodes.get(one.name), holders.get(one.name, ())) for one in status.nodes)


def describe_message(message: StoredMessage, names: Mapping[str, str]) -> MessageLine:
    """Return a message as a line; `names` are those shown of accounts."""
    return MessageLine(
        id=message.id, at=message.at, sender=message.sender, sender_name=names.get(message.sender, message.sender),
        text=message.text, lab=message.lab, call=message.call,
    )  # fmt: skip
