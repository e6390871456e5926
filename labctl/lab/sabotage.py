"""Brings faults about in a lab, says how they stand, and cures them; every step is proved by the lab's own checks."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from labctl.checks.model import Outcome, Result
from labctl.errors import LabctlError, Refused
from labctl.faults import Diagnosis, FaultState, cause_check, diagnose, find_faults, hides
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.lock import hold_lab, who
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress, Silent
from labctl.ssh import Answer, Unreachable
from labctl.store import StoredFault, now
from labctl.topology.faults import Fault
from labctl.topology.model import Check, Topology

SCRIPT_DEADLINE = 120  # seconds; a script starts and stops services of an emulated machine
SETTLE = 60  # seconds that a service may take until a fault shows, or until it works again
PAUSE = 2.0
# The script comes first and whole: what it starts must not read the rest of it from standard input.
RUN_SCRIPT = ("sh", "-c", 'script=$(cat) && exec sh -euc "$script" </dev/null')


@dataclass(frozen=True)
class Sabotage:
    """The faults of one lab: `inject`, `diagnose`, `clear`; `settle` is how many seconds a change may take to show."""

    place: Workplace
    lab: str
    topology: Topology
    prober: SshProber
    monitor: Monitor
    settle: float = SETTLE
    pause: float = PAUSE

    @classmethod
    def open(cls, place: Workplace, lab: str, monitor: Monitor) -> "Sabotage":
        """Return what works on the faults of a lab. Raises LabctlError for an unknown lab."""
        topology = place.load_lab(lab)
        return cls(place, lab, topology, SshProber(place.guests, place.logins(lab, topology)), monitor)

    def present(self) -> dict[str, StoredFault]:
        """Return the faults that were injected, by id; those that the topology does not have any more are left out."""
        known = {fault.id for fault in self.topology.faults}
        return {stored.fault: stored for stored in self.place.store.faults(self.lab) if stored.fault in known}

    def inject(self, faults: Sequence[Fault], seed: str = "") -> None:
        """Bring faults about, each proved by its cause's check and by its own checks, which fail from then on.

        Raises Refused, with nothing changed, where one is there already or could not be told from what is wrong;
        LabctlError where one does not take, after its cure.
        """
        with hold_lab(self.place.home, self.lab, "fault"):
            causes, outcomes = self.look(faults, self.topology.checks)
            self.refuse(faults, causes, outcomes)
            baseline = frozenset(one.check.id for one in outcomes if one.result is Result.PASSED)
            for fault in faults:
                self.place.store.add_fault(self.lab, StoredFault(fault.id, fault.node, now(), who(), seed, baseline))
                self.place.store.add_event(self.lab, who(), "fault", fault.id)
                self.bring_about(fault)

    def refuse(self, faults: Sequence[Fault], causes: Mapping[str, Outcome], outcomes: Sequence[Outcome]) -> None:
        """Raise Refused where a fault is there, or where it could not be told that it was repaired."""
        there = self.present()
        before = list(find_faults(self.topology, tuple(there)))
        bad = {one.check.id for one in outcomes if one.result is not Result.PASSED}
        hint = f"labctl fault status {self.lab}"
        for fault in faults:
            if fault.id in there or causes[fault.id].result is Result.PASSED:
                text = _('the fault "{fault}" is already in {lab}; nothing was changed')
                raise Refused(text.format(fault=fault.id, lab=self.lab), hint=hint)
            hidden = [other.id for other in before if hides(self.topology, fault, other)]
            if failing := [*hidden, *sorted(bad.intersection(fault.fixed))]:
                text = _('the fault "{fault}" cannot be told from what is wrong already ({names}); nothing was changed')
                raise Refused(text.format(fault=fault.id, names=", ".join(failing)), hint=hint)
            before.append(fault)

    def bring_about(self, fault: Fault) -> None:
        """Run one fault's script and wait until it shows."""
        self.tell(fault, Progress.STARTED)
        answer = self.run(fault, fault.inject)
        until = time.monotonic() + self.settle
        own = [check for check in self.topology.checks if check.id in fault.fixed]
        while answer.code == 0:
            causes, outcomes = self.look([fault], own)
            results = {one.result for one in outcomes}
            # Without names, a page cannot even be asked for: that check says nothing, and does not pass either.
            if causes[fault.id].result is Result.PASSED and Result.FAILED in results and Result.PASSED not in results:
                self.tell(fault, Progress.DONE)
                return
            if time.monotonic() > until:
                break
            time.sleep(self.pause)
        self.tell(fault, Progress.FAILED)
        self.run(fault, fault.cure)
        self.place.store.remove_fault(self.lab, fault.id)
        said = (answer.stderr or answer.stdout).strip()[-300:] or _("its checks still pass")
        text = _('the fault "{fault}" did not show on {node} and was taken back: {said}')
        raise LabctlError(
            text.format(fault=fault.id, node=fault.node, said=said), hint=f"labctl reset {self.lab} --node {fault.node}"
        )

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """Return how each injected fault stands now, oldest first; all checks of the lab are run once."""
        return self.judge(find_faults(self.topology, tuple(self.present())))

    def judge(self, faults: Sequence[Fault]) -> tuple[Diagnosis, ...]:
        """Return how some injected faults stand now."""
        if not faults:
            return ()
        there = self.present()
        everything = find_faults(self.topology, tuple(there))
        causes, outcomes = self.look(faults, self.topology.checks)
        return tuple(
            diagnose(fault, causes[fault.id], outcomes, there[fault.id].baseline, others(fault, everything))
            for fault in faults
        )

    def clear(self, faults: Sequence[Fault]) -> tuple[Diagnosis, ...]:
        """Cure faults as documented, wait until they are repaired, and return how they stand.

        What is repaired is forgotten; what is not stays known.
        """
        with hold_lab(self.place.home, self.lab, "fault"):
            for fault in faults:
                self.tell(fault, Progress.STARTED)
                self.run(fault, fault.cure)
            until = time.monotonic() + self.settle
            found = self.judge(faults)
            while any(one.state is not FaultState.REPAIRED for one in found) and time.monotonic() < until:
                time.sleep(self.pause)
                found = self.judge(faults)
            for one in found:
                repaired = one.state is FaultState.REPAIRED
                if repaired:
                    self.place.store.remove_fault(self.lab, one.fault.id)
                    self.place.store.add_event(self.lab, who(), "fault cleared", one.fault.id)
                self.tell(one.fault, Progress.DONE if repaired else Progress.FAILED)
        return found

    def look(
        self, faults: Sequence[Fault], checks: Sequence[Check]
    ) -> tuple[Mapping[str, Outcome], tuple[Outcome, ...]]:
        """Ask, in one visit of each node, for the causes of faults, by fault, and for checks.

        Nothing is waited for: what fails now is what is wanted to know.
        """
        asked = [*map(cause_check, faults), *(check.model_copy(update={"wait": 0}) for check in checks)]
        outcomes = run_checks(asked, self.prober, Silent())
        causes = dict(zip((fault.id for fault in faults), outcomes[: len(faults)], strict=True))
        return causes, outcomes[len(faults) :]

    def run(self, fault: Fault, script: str) -> Answer:
        """Run a script of a fault on its node. Raises LabctlError where the node cannot be reached or does not end."""
        try:
            return self.place.guests.run(
                self.prober.logins[fault.node], RUN_SCRIPT, stdin=script.encode(), deadline=SCRIPT_DEADLINE
            )
        except (Unreachable, TimeoutError) as exc:
            text = _("{node}: the script of the fault could not be run: {error}")
            hint = f"labctl status {self.lab}"
            raise LabctlError(text.format(node=fault.node, error=exc), hint=hint) from exc

    def tell(self, fault: Fault, progress: Progress) -> None:
        """Tell the monitor."""
        self.monitor.tell(Event(fault.node, "fault", progress, fault.id))


def others(fault: Fault, faults: Collection[Fault]) -> set[str]:
    """Return the checks that other faults make fail."""
    return {name for other in faults if other.id != fault.id for name in other.fixed}
