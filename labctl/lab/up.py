"""Brings one lab up from whatever is there: plans it, executes the plan, and mends once what did not come up."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from labctl.errors import HostNotReady, LabctlError, Refused
from labctl.lab.ascent import Ascent
from labctl.lab.checkpoint import recover
from labctl.lab.files import explain_files
from labctl.lab.lock import hold_lab, who
from labctl.lab.own_values import write_own
from labctl.lab.seats import open_seat
from labctl.lab.standby import clear_left, settle, take_spare
from labctl.lab.wish import Pace, Progressed, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.converge import reset_nodes
from labctl.plan.model import ActionKind, Plan, Reason
from labctl.plan.names import is_spare

SUBNETS = "subnets"  # a lock of the host: no lab has this name, for want of a dash
SUBNETS_PATIENCE = 300.0  # seconds; each holder needs one or two


def refuse_losses(plan: Plan, reset: Collection[str] = ()) -> None:
    """Raise Refused where the plan would replace machines that exist, and with them what students did on them.

    Of those that are to be `reset` anyway, nothing is lost by it where a disk is gone.
    """
    losses = [action for action in plan.actions if action.loses]
    broken = [one.target for one in losses if one.reason is Reason.DISK_LOST and one.target not in reset]
    changed = [one.target for one in losses if one.reason is not Reason.DISK_LOST]
    text = _("the topology has changed; these machines would be made anew and lose their disks: {names}")
    if broken and not changed:
        text = _("some disks of these machines are gone; they would be made anew and lose the others: {names}")
    if changed or broken:
        raise Refused(text.format(names=", ".join(changed or broken)), hint=_("add --replace to accept it"))


def bring_up(
    place: Workplace, wish: Wish, pace: Callable[[Path], Pace], monitor: Monitor, stop: Stop
) -> tuple[Plan, Progressed]:
    """Bring one lab up, from whatever is there, and return its plan with what became of each node."""
    verb = "reset" if wish.reset else "up"
    with explain_files(place.home), hold_lab(place.home, wish.lab, verb), place.store.held():
        if is_spare(wish.owner):
            open_seat(place, wish.lab)
        recover(place, wish.lab, lambda disk: pace(disk).accelerator, monitor)
        settle(place, wish, monitor)
        spare = take_spare(place, wish)
        whole = bool(spare) or len(wish.reset) == len(wish.topology.nodes)
        if spare:
            monitor.tell(Event(wish.lab, "take", Progress.DONE, spare))
            wish = replace(wish, reset=())
        # A subnet is taken once its network exists: two labs that plan at once could choose the same one (F-08).
        with hold_lab(place.home, SUBNETS, verb, SUBNETS_PATIENCE):
            plan = plan_wish(place, wish)
            place.store.add_event(wish.lab, who(), verb, ", ".join(wish.reset) or f"{len(plan.actions)} actions")
            ascent = Ascent(place, wish, plan, pace, monitor, stop)
            ascent.lay_networks()
        result = ascent.run()
        if broken := broken_clones(plan, result, untouched=bool(spare)):
            place.store.add_event(wish.lab, who(), "clone again", ", ".join(broken))
            anew = reset_nodes(replace(plan, actions=()), broken)
            first, result = result, Ascent(place, wish, anew, pace, monitor, stop).run()
            result.seconds += first.seconds
        if spare:
            result.spare, result.changed = spare, True
            clear_left(place, wish.lab, monitor)
        place.store.note_boot(wish.lab, place.boot_id, reset=whole)
        place.store.add_event(wish.lab, who(), f"{verb} ended", summarise(plan, result))
        return plan, result


def plan_wish(place: Workplace, wish: Wish) -> Plan:
    """Return the plan of a wish, and keep its topology in the lab's folder. Raises Refused where work would be lost."""
    plan = place.plan(wish.topology, wish.owner, wish.golden.id if wish.golden else "", base=wish.base)
    if not wish.replace:
        refuse_losses(plan, wish.reset)
    plan.folders.top.mkdir(mode=0o711, parents=True, exist_ok=True)
    if wish.own:  # first: a lab is known by its topology
        write_own(plan.folders.top, wish.own)
    keep_topology(wish.source, plan.folders.topology)
    return reset_nodes(plan, wish.reset) if wish.reset else plan


def keep_topology(source: Path, own: Path) -> None:
    """Give a lab its own copy of its topology.

    The source may be the copy of a lab of the same words that a spare has replaced since: then it is gone.
    """
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        if own.exists():
            return
        raise
    if not own.exists() or own.read_bytes() != content:
        own.write_bytes(content)


def broken_clones(plan: Plan, result: Progressed, *, untouched: bool = False) -> tuple[str, ...]:
    """Return the nodes that this run cloned in vain and that another clone may mend; a student's are never among them.

    On an `untouched` lab, one that was a spare, nobody has worked: all its nodes may be cloned again.
    A refusal, or a host without libvirt, would be the same the second time.
    """
    cloned = {action.target for action in plan.actions_of(ActionKind.CLONE_MACHINE)}
    hopeless = (Refused, HostNotReady)
    return tuple(
        node
        for node, error in failed_nodes(plan, result)
        if (untouched or node in cloned) and not isinstance(error, hopeless)
    )


def summarise(plan: Plan, result: Progressed) -> str:
    """Return the line of history of a run, in English: it is stored."""
    return f"{len(result.ready(plan))} of {len(plan.nodes)} nodes ready in {result.seconds:.0f} s"


def failed_nodes(plan: Plan, result: Progressed) -> Iterable[tuple[str, LabctlError]]:
    """Yield each failed node with its error, in the plan's order."""
    for node in plan.nodes:
        if node.member in result.failures:
            yield node.member, result.failures[node.member]
