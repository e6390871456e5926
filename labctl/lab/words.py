"""The states of machines and labs to words for people, and why a machine is in its state."""

from labctl.lab.status import NodeState, NodeStatus
from labctl.language import N_, _

# The second word is for boards, where five must fit on a line.
NODE_WORDS = {
    NodeState.READY: (N_("ready"), N_("ready")), NodeState.UNCONFIGURED: (N_("not configured"), N_("unfinished")),
    NodeState.SILENT: (N_("does not answer"), N_("silent")), NodeState.PAUSED: (N_("paused"), N_("paused")),
    NodeState.STOPPED: (N_("stopped"), N_("stopped")), NodeState.CRASHED: (N_("crashed"), N_("crashed")),
    NodeState.MISSING: (N_("missing"), N_("missing")), NodeState.RUNNING: (N_("runs"), N_("runs")),
}  # fmt: skip
# The words of a lab are not those of a machine, which differ from them in French.
LAB_WORDS = {
    "ready": N_("all ready"), "working": N_("in progress"), "partly": N_("partly ready"), "stopped": N_("stopped"),
    "failed": N_("failed"),
}  # fmt: skip
REASONS = {
    "reboot": N_("the host was restarted"),
    "crashed": N_("its QEMU process has died"),
    "ioerror": N_("its disk is full or cannot be read"),
    "panicked": N_("its kernel has stopped on an error"),
    "failed": N_("it could not start"),
}


def why(node: NodeStatus) -> str:
    """Return why a machine is in its state, "" where no more is known; QEMU's own words come last."""
    reason = _(REASONS[node.reason]) if node.reason in REASONS else ""
    return _("{said}: {why}").format(said=reason, why=node.cause) if reason and node.cause else reason or node.cause
