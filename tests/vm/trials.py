"""Works on several clones at once: the tests of a module are its trials, and each waits for its own only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

from labctl.checks.model import Result
from labctl.faults import FaultState, hides
from labctl.hypervisor.door import Hypervisor
from labctl.lab.sabotage import Sabotage
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.topology.faults import Fault
from labctl.topology.model import Topology
from tests.vm.conftest import Installation

# A trial waits for probes that nobody answers for half of its time and takes the processors for the other half; with
# more clones, what is healthy would be so slow that its probes time out too.
CLONES = 3


@dataclass(frozen=True)
class Clone:
    """A lab that belongs to one trial for its time."""

    labctl: Installation
    lab: str


Trial = Callable[[Clone], None]


@dataclass(frozen=True)
class Trials:
    """Trials that have begun, by name."""

    begun: Mapping[str, "Future[None]"]

    def end(self, name: str) -> None:
        """Wait for the end of a trial; raise what it raised."""
        self.begun[name].result()


@contextmanager
def run_trials(
    labctl: Installation, topology: str, trials: Mapping[str, Trial], clones: int = CLONES
) -> Iterator[Trials]:
    """Bring up labs of one topology, spread trials over them in order, and remove the labs at the end.

    A trial that fails may leave its lab in any state: the lab is reset before the next one.
    """
    owners = [f"trial-{number}" for number in range(min(clones, len(trials)))]
    labs = [f"{topology}-{owner}" for owner in owners]
    free: SimpleQueue[Clone] = SimpleQueue()

    def attempt(trial: Trial) -> None:
        clone = free.get()
        try:
            trial(clone)
        except BaseException:
            labctl.run("reset", clone.lab, "--yes")
            raise
        finally:
            free.put(clone)

    try:
        done = labctl.run("up", topology, "--student", ",".join(owners))
        assert done.returncode == 0, done.stdout + done.stderr
        for lab in labs:
            free.put(Clone(labctl, lab))
        with ThreadPoolExecutor(len(labs)) as workers:
            yield Trials({name: workers.submit(attempt, trial) for name, trial in trials.items()})
            workers.shutdown(cancel_futures=True)
    finally:
        labctl.run("down", *labs)


@contextmanager
def sabotage(clone: Clone) -> Iterator[Sabotage]:
    """Give what the verbs of `labctl fault` use, without the start of a program for each step."""
    with Hypervisor() as machines:
        place = Workplace.open(machines, clone.labctl.environment)
        with Sabotage.open(place, clone.lab, Silent()) as work:
            yield work


def groups(topology: Topology) -> dict[str, Sequence[Fault]]:
    """Return all faults by name of their group, large groups first; in a group, none hides another one."""
    found: list[list[Fault]] = []
    for fault in topology.faults:
        free = (group for group in found if not any(hides(topology, fault, other) for other in group))
        group = next(free, None)
        if group is None:
            found.append([fault])
        else:
            group.append(fault)
    found.sort(key=len, reverse=True)
    return {"+".join(fault.id for fault in group): group for group in found}


def evidence(work: Sabotage) -> str:
    """Return what the checks say now that do not pass, each with what was seen: a state alone says nothing of why."""
    _causes, outcomes = work.look((), work.topology.checks)
    return "\n".join(
        f"{one.check.id}: {one.result} after {one.seconds:.0f} s: {one.seen}; {one.output}"
        for one in outcomes
        if one.result is not Result.PASSED
    )


def prove_faults(faults: Sequence[Fault], clone: Clone) -> None:
    """Prove that faults show as they say and nothing else does, and that their cure repairs them."""
    names = [fault.id for fault in faults]
    with sabotage(clone) as work:
        work.inject(faults)
        found = {one.fault.id: one for one in work.diagnose()}
        states = {name: one.state for name, one in found.items()}
        assert states == dict.fromkeys(names, FaultState.PRESENT), evidence(work)
        for fault in faults:
            one = found[fault.id]
            # The checks that it names fail, or say nothing: without names or a link, some cannot even be made.
            assert {*one.failing} <= {*fault.fixed} <= {*one.failing, *one.unknown}, evidence(work)
            assert one.regressed == (), evidence(work)
        cleared = work.clear(faults)
        states = {one.fault.id: one.state for one in cleared}
        assert states == dict.fromkeys(names, FaultState.REPAIRED), f"{cleared}\n{evidence(work)}"
        assert work.present() == {}
