"""Troubles to find and repair: which ones are drawn from a seed, and what checks say of one that was injected."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labctl.checks.model import Outcome, Result
from labctl.errors import Refused
from labctl.language import _
from labctl.topology.faults import Fault
from labctl.topology.model import Check, Topology
from labctl.topology.name_probes import Dns, Http
from labctl.topology.network_probes import Ping, Tcp, Udp
from labctl.topology.probes import Probe


class FaultState(StrEnum):
    """How an injected fault stands.

    PRESENT: its symptoms are there. REPAIRED: they are gone, and with them the cause. AROUND: they are gone, the cause
    is still there. REGRESSED: they are gone, but something that worked before does not any more: what was "repaired"
    by opening everything ends here. UNKNOWN: something could not be checked.
    """

    PRESENT = "present"
    REPAIRED = "repaired"
    AROUND = "around"
    REGRESSED = "regressed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Diagnosis:
    """What the checks say of a fault: `failing` are its own, `regressed` passed before it, `unknown` do not tell."""

    fault: Fault
    state: FaultState
    failing: tuple[str, ...] = ()
    regressed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def cause_check(fault: Fault, detect: Probe) -> Check:
    """Return the check that passes while the cause of a fault is there, by its probe.

    Its id has a colon, as no author's can: a fault may have the name of a check.
    """
    check = Check(
        id=fault.id, title=fault.title, origin=fault.node, probe=detect, competency=fault.competencies[0],
        passed=fault.title, failed=fault.title,
    )  # fmt: skip
    return check.model_copy(update={"id": f"fault:{fault.id}"})


def diagnose(
    fault: Fault, cause: Result, outcomes: Sequence[Outcome], baseline: Collection[str], others: Collection[str] = ()
) -> Diagnosis:
    """Return how a fault stands from whether its cause is there and the outcomes of the lab's checks now.

    `baseline` are the ids that passed before the fault; `others` those that other faults of the lab make fail.
    """
    found = {outcome.check.id: outcome.result for outcome in outcomes}
    own = [name for name in fault.fixed if name in found]
    guarded = [name for name in found if name in baseline and name not in fault.fixed and name not in others]
    failing = tuple(name for name in own if found[name] is Result.FAILED)
    unknown = tuple(name for name in (*own, *guarded) if found[name] is Result.UNKNOWN)
    regressed = tuple(name for name in guarded if found[name] is Result.FAILED)
    if failing:
        state = FaultState.PRESENT
    elif unknown or cause is Result.UNKNOWN:
        state = FaultState.UNKNOWN
    elif regressed:
        state = FaultState.REGRESSED
    else:
        state = FaultState.AROUND if cause is Result.PASSED else FaultState.REPAIRED
    return Diagnosis(fault, state, failing, regressed, unknown)


def find_faults(topology: Topology, names: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults of these ids, each once. Raises Refused for one that the topology has not."""
    known = {fault.id: fault for fault in topology.faults}
    for name in names:
        if name not in known:
            text = _('"{name}" is not a fault of "{topology}": {names}')
            listed = ", ".join(known) or _("none")
            message = text.format(name=name, topology=topology.name, names=listed)
            raise Refused(message, hint=f"labctl fault list {topology.name}")
    return tuple(known[name] for name in dict.fromkeys(names))


def draw_faults(topology: Topology, seed: str, count: int, difficulty: int | None = None) -> tuple[Fault, ...]:
    """Return `count` faults that a seed chooses, the same for the same seed and version of the topology.

    None hides another one, so that each shows and is told from the others. Raises Refused where there are not enough.
    """
    able = [fault for fault in topology.faults if difficulty in {None, fault.difficulty}]
    drawn: list[Fault] = []
    for fault in sorted(able, key=lambda one: rank(topology, seed, one.id)):
        if len(drawn) < count and not any(hides(topology, fault, other) for other in drawn):
            drawn.append(fault)
    if len(drawn) < count:
        text = _('"{topology}" has only {count} faults that can be told apart when they are there together')
        raise Refused(text.format(topology=topology.name, count=len(drawn)), hint=f"labctl fault list {topology.name}")
    return tuple(drawn)


def rank(topology: Topology, seed: str, fault: str) -> bytes:
    """Return where a seed puts a fault: SHA-256 of all that the draw depends on."""
    return hashlib.sha256(f"{topology.name}\0{topology.version}\0{seed}\0{fault}".encode()).digest()


def hides(topology: Topology, one: Fault, other: Fault) -> bool:
    """Return whether two faults cannot be told apart when both are there.

    They make the same check fail, or one lets traffic through that the other one stops.
    """
    if set(one.fixed) & set(other.fixed):
        return True
    checks = {check.id: check for check in topology.checks}
    opens = [any(checks[name].negative for name in fault.fixed) for fault in (one, other)]
    stops = [any(is_flow(checks[name]) for name in fault.fixed) for fault in (one, other)]
    return (opens[0] and stops[1]) or (opens[1] and stops[0])


def is_flow(check: Check) -> bool:
    """Return whether a check needs traffic to pass."""
    return not check.negative and isinstance(check.probe, Ping | Tcp | Udp | Http | Dns)
