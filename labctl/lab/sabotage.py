"""Brings faults about in a lab, says how they stand, and cures them; every step is proved by the lab's own checks."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeVar

from labctl import powershell
from labctl.appliances.web import Unreachable as NoAnswer
from labctl.checks.lines import LONGEST, printable
from labctl.checks.model import Outcome, Result
from labctl.checks.questions import windows_payload
from labctl.errors import LabctlError, Refused
from labctl.faults import Diagnosis, FaultState, cause_check, diagnose, find_faults, hides
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.firewall import Firewall, find_firewalls
from labctl.lab.lock import hold_lab, who
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress, Silent
from labctl.ssh import Answer, Unreachable
from labctl.store import StoredFault, now
from labctl.topology.faults import Fault
from labctl.topology.model import Check, Topology

A = TypeVar("A")

SCRIPT_DEADLINE = 300  # seconds; an emulated machine starts services and update-ca-certificates slowly
SETTLE = 60  # seconds that a service may take until a fault shows, or until it works again
PAUSE = 2.0
# The script comes first and whole: what it starts must not read the rest of it from standard input.
RUN_SCRIPT = ("sh", "-c", 'script=$(cat) && exec sh -euc "$script" </dev/null')


class Act(Enum):
    """What is done with a fault."""

    INJECT = auto()
    CURE = auto()


@dataclass(frozen=True)
class Sabotage:
    """The faults of one lab: `inject`, `diagnose`, `clear`; `settle` is how many seconds a change may take to show."""

    place: Workplace
    lab: str
    topology: Topology
    prober: SshProber
    monitor: Monitor
    firewalls: Mapping[str, Firewall] = field(default_factory=dict)
    settle: float = SETTLE
    pause: float = PAUSE

    @classmethod
    @contextmanager
    def open(cls, place: Workplace, lab: str, monitor: Monitor) -> Iterator["Sabotage"]:
        """Give what works on the faults of a lab, logged in once on each node. Raises for an unknown one."""
        topology = place.load_lab(lab)
        with place.guests.sessions() as guests:
            prober = SshProber(guests, place.logins(lab, topology))
            yield cls(place, lab, topology, prober, monitor, find_firewalls(place, lab, topology))

    def present(self) -> dict[str, StoredFault]:
        """Return the faults that were injected, by id; those that the topology does not have any more are left out."""
        known = {fault.id for fault in self.topology.faults}
        return {stored.fault: stored for stored in self.place.store.faults(self.lab) if stored.fault in known}

    def inject(self, faults: Sequence[Fault], seed: str = "") -> None:
        """Bring faults about, each proved by its cause's check and by its own checks, which fail from then on.

        Raises Refused, with nothing changed, where one is there already or could not be told from what is wrong;
        LabctlError where a firewall does not answer, or where one does not take, after its cure.
        """
        with hold_lab(self.place.home, self.lab, "fault"):
            for fault in faults:
                if fault.rules:
                    self.firewalls[fault.node].require(fault)
            causes, outcomes = self.look(faults, self.topology.checks)
            self.refuse(faults, causes, outcomes)
            baseline = frozenset(one.check.id for one in outcomes if one.result is Result.PASSED)

            def bring_about(fault: Fault) -> Answer:
                stored = StoredFault(fault.id, fault.node, now(), who(), seed, baseline)
                self.place.store.add_fault(self.lab, stored)
                self.place.store.add_event(self.lab, who(), "fault", fault.id)
                return self.start(fault, Act.INJECT)

            answers = self.by_node(faults, bring_about)
            hidden = self.find_hidden([fault for fault in faults if answers[fault.id].code == 0])
            missed = [fault for fault in faults if fault in hidden or answers[fault.id].code != 0]
            self.by_node(missed, self.take_back)
            for fault in missed:
                raise did_not_show(self.lab, fault, answers[fault.id])

    def refuse(self, faults: Sequence[Fault], causes: Mapping[str, Result], outcomes: Sequence[Outcome]) -> None:
        """Raise Refused where a fault is there, or where it could not be told that it was repaired."""
        there = self.present()
        before = list(find_faults(self.topology, tuple(there)))
        bad = {one.check.id for one in outcomes if one.result is not Result.PASSED}
        hint = f"labctl fault status {self.lab}"
        for fault in faults:
            if fault.id in there or causes[fault.id] is Result.PASSED:
                text = _('the fault "{fault}" is already in {lab}; nothing was changed')
                raise Refused(text.format(fault=fault.id, lab=self.lab), hint=hint)
            hidden = [other.id for other in before if hides(self.topology, fault, other)]
            if failing := [*hidden, *sorted(bad.intersection(fault.fixed))]:
                text = _('the fault "{fault}" cannot be told from what is wrong already ({names}); nothing was changed')
                raise Refused(text.format(fault=fault.id, names=", ".join(failing)), hint=hint)
            before.append(fault)

    def find_hidden(self, faults: Sequence[Fault]) -> list[Fault]:
        """Wait until faults show, each by its cause and its own checks in one look; return those that do not."""
        until = None
        hidden = list(faults)
        while hidden:
            own = {name for fault in hidden for name in fault.fixed}
            causes, outcomes = self.look(hidden, [check for check in self.topology.checks if check.id in own])
            for fault in [one for one in hidden if shows(one, causes[one.id], outcomes)]:
                hidden.remove(fault)
                self.tell(fault, Progress.DONE)
            until = until or time.monotonic() + self.settle  # from here: the first look alone may take that long
            if time.monotonic() > until:
                break
            if hidden:
                time.sleep(self.pause)
        return hidden

    def take_back(self, fault: Fault) -> None:
        """Cure a fault that did not show, and forget it."""
        self.tell(fault, Progress.FAILED)
        self.act(fault, Act.CURE)
        self.place.store.remove_fault(self.lab, fault.id)

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """Return how each injected fault stands now, oldest first; all checks of the lab are run once."""
        return self.judge(find_faults(self.topology, tuple(self.present())))

    def judge(self, faults: Sequence[Fault]) -> tuple[Diagnosis, ...]:
        """Return how some injected faults stand now."""
        return self.conclude(faults, *self.look(faults, self.topology.checks)) if faults else ()

    def conclude(
        self, faults: Sequence[Fault], causes: Mapping[str, Result], outcomes: Sequence[Outcome]
    ) -> tuple[Diagnosis, ...]:
        """Return how some injected faults stand by what was seen."""
        there = self.present()
        everything = find_faults(self.topology, tuple(there))
        return tuple(
            diagnose(fault, causes[fault.id], outcomes, there[fault.id].baseline, others(fault, everything))
            for fault in faults
        )

    def clear(self, faults: Sequence[Fault]) -> tuple[Diagnosis, ...]:
        """Cure faults as documented, wait until they are repaired, and return how they stand.

        What is repaired is forgotten; what is not stays known.
        """
        with hold_lab(self.place.home, self.lab, "fault"):
            self.by_node(faults, lambda fault: self.start(fault, Act.CURE))
            found = self.wait_repaired(faults)
            for one in found:
                repaired = one.state is FaultState.REPAIRED
                if repaired:
                    self.place.store.remove_fault(self.lab, one.fault.id)
                    self.place.store.add_event(self.lab, who(), "fault cleared", one.fault.id)
                self.tell(one.fault, Progress.DONE if repaired else Progress.FAILED)
        return found

    def wait_repaired(self, faults: Sequence[Fault]) -> tuple[Diagnosis, ...]:
        """Wait until cured faults are repaired and return how they stand.

        All checks are run once, then only those that still stand in the way.
        """
        if not faults:
            return ()
        causes, seen = self.look(faults, self.topology.checks)
        outcomes = {one.check.id: one for one in seen}
        until = time.monotonic() + self.settle  # from here: on a busy host the first look alone may take that long
        while True:
            found = self.conclude(faults, causes, tuple(outcomes.values()))
            left = [one for one in found if one.state is not FaultState.REPAIRED]
            if not left or time.monotonic() > until:
                return found
            time.sleep(self.pause)
            names = {name for one in left for name in (*one.failing, *one.regressed, *one.unknown)}
            again, seen = self.look([one.fault for one in left], [outcomes[name].check for name in names])
            causes = {**causes, **again}
            outcomes |= {one.check.id: one for one in seen}

    def look(
        self, faults: Sequence[Fault], checks: Sequence[Check]
    ) -> tuple[Mapping[str, Result], tuple[Outcome, ...]]:
        """Ask, in one visit of each node, for the causes of faults, by fault, and for checks.

        Nothing is waited for: what fails now is what is wanted to know.
        """
        probed = {fault.id: cause_check(fault, fault.detect) for fault in faults if fault.detect is not None}
        asked = [*probed.values(), *(check.model_copy(update={"wait": 0}) for check in checks)]
        outcomes = run_checks(asked, self.prober, Silent())
        found = (one.result for one in outcomes[: len(probed)])
        ruled = {fault.id: self.firewalls[fault.node].cause(fault) for fault in faults if fault.rules}
        return {**dict(zip(probed, found, strict=True)), **ruled}, outcomes[len(probed) :]

    def by_node(self, faults: Sequence[Fault], act: Callable[[Fault], A]) -> dict[str, A]:
        """Do an act for each fault, side by side on different nodes; return what came of it, by fault."""
        nodes: dict[str, list[Fault]] = {}
        for fault in faults:
            nodes.setdefault(fault.node, []).append(fault)
        with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as workers:
            work = [workers.submit(lambda own: [(one.id, act(one)) for one in own], own) for own in nodes.values()]
            return {name: done for one in work for name, done in one.result()}

    def start(self, fault: Fault, act: Act) -> Answer:
        """Do an act of a fault, and tell that it has begun."""
        self.tell(fault, Progress.STARTED)
        return self.act(fault, act)

    def act(self, fault: Fault, act: Act) -> Answer:
        """Do an act of a fault on its node, by a script or by rules.

        Raises LabctlError where the node cannot be reached or does not end.
        """
        if fault.rules:
            return self.set_rules(fault, act)
        return self.run(fault, fault.inject if act is Act.INJECT else fault.cure)

    def set_rules(self, fault: Fault, act: Act) -> Answer:
        """Put or remove the rules of a fault. Raises LabctlError where its firewall cannot be reached."""
        firewall = self.firewalls[fault.node]
        try:
            firewall.inject(fault) if act is Act.INJECT else firewall.cure(fault)
        except NoAnswer as exc:
            text = _("{node}: the rules of the fault could not be set: {error}")
            hint = f"labctl fault clear {self.lab} {fault.id}"
            raise LabctlError(text.format(node=fault.node, error=exc.message), hint=hint) from exc
        except LabctlError as exc:
            return Answer(1, "", exc.message)
        return Answer(0, "", "")

    def run(self, fault: Fault, script: str) -> Answer:
        """Run a script of a fault on its node. Raises LabctlError where the node cannot be reached or does not end."""
        login = self.prober.logins[fault.node]
        command: Sequence[str] = powershell.RUN_SCRIPT if login.windows else RUN_SCRIPT
        stdin = windows_payload(script) if login.windows else script.encode()
        try:
            return self.prober.guests.run(login, command, stdin=stdin, deadline=SCRIPT_DEADLINE)
        except (Unreachable, TimeoutError) as exc:
            text = _("{node}: the script of the fault could not be run: {error}")
            hint = f"labctl status {self.lab}"
            raise LabctlError(text.format(node=fault.node, error=exc), hint=hint) from exc

    def tell(self, fault: Fault, progress: Progress) -> None:
        """Tell the monitor."""
        self.monitor.tell(Event(fault.node, "fault", progress, fault.id))


def shows(fault: Fault, cause: Result, outcomes: Sequence[Outcome]) -> bool:
    """Return whether a fault is there and makes its checks fail."""
    results = {one.result for one in outcomes if one.check.id in fault.fixed}
    # Without names, a page cannot even be asked for: that check says nothing, and does not pass either.
    return cause is Result.PASSED and Result.FAILED in results and Result.PASSED not in results


def did_not_show(lab: str, fault: Fault, answer: Answer) -> LabctlError:
    """Return the error of a fault that was taken back."""
    seen = answer.code == 0
    said = printable((answer.stderr or answer.stdout).strip()[-LONGEST:])
    said = said or (_("its checks still pass") if seen else _("no message"))
    text = _('the fault "{fault}" did not show on {node} and was taken back: {said}')
    hint = f"labctl reset {lab} --node {fault.node}"
    return LabctlError(text.format(fault=fault.id, node=fault.node, said=said), hint=hint)


def others(fault: Fault, faults: Collection[Fault]) -> set[str]:
    """Return the checks that other faults make fail."""
    return {name for other in faults if other.id != fault.id for name in other.fixed}
