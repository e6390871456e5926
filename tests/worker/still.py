"""A worker that stores what it accepts and does nothing of it: a lab stays in the state that it was set to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from labctl.lab.lock import hold_lab
from labctl.plan.observed import DomainState
from labctl.worker.authority import Relation
from labctl.worker.office import ConsoleRoom
from labctl.worker.values import LabState, Role
from labctl.worker.watch import state_of
from tests.lab.doubles import World, make_place
from tests.worker.offices import ALICE, Desk, make_labs, open_desk, wait_for

PEOPLE = {
    "alice": (Role.STUDENT, Relation.OWN), "bob": (Role.STUDENT, Relation.OTHER),
    "durand": (Role.TRAINER, Relation.CLASS), "petit": (Role.TRAINER, Relation.OTHER),
    "garde": (Role.PROCTOR, Relation.CLASS), "chef": (Role.ADMIN, Relation.OTHER),
}  # fmt: skip
MACHINES = {
    LabState.READY: (DomainState.RUNNING, DomainState.RUNNING),
    LabState.WORKING: (DomainState.RUNNING, DomainState.RUNNING),
    LabState.PARTLY: (DomainState.RUNNING, DomainState.STOPPED),
    LabState.STOPPED: (DomainState.STOPPED, DomainState.STOPPED),
    LabState.FAILED: (DomainState.CRASHED, DomainState.CRASHED),
    LabState.SUSPENDED: (DomainState.PAUSED, DomainState.PAUSED),
}


@contextmanager
def open_still_desk(home: Path, consoles: ConsoleRoom | None = None) -> Iterator[Desk]:
    """Give a worker with the lab of one student and everybody of `PEOPLE`, who may ask as often as they like."""
    world = World()
    make_labs(make_place(home, world), "alice")
    with open_desk(home, world, consoles) as found:
        found.server.gate.acts.burst = found.server.gate.looks.burst = 100_000.0
        found.office.jobs.stop(0)
        found.office.place.store.save_outcomes(ALICE, [("reach", "passed", {})], whole=True)  # there is what to report
        found.office.accounts.set_account("petit", "Petit", Role.TRAINER, ("other",))
        row = found.office.accounts.find("petit")
        assert row
        found.tokens["petit"] = found.office.accounts.begin_session(row, "", must_choose=False).token
        yield found


@contextmanager
def lab_in(desk: Desk, state: LabState) -> Iterator[str]:
    """Set the lab to a state, and give its name; that of one that was never made for `absent`."""
    with ExitStack() as held:
        if state is LabState.WORKING:
            held.enter_context(hold_lab(desk.office.place.home, ALICE, "up"))
        if state in MACHINES:
            for member, machine in zip(("server", "desk"), MACHINES[state], strict=True):
                name = f"{ALICE}.{member}"
                desk.world.domains[name] = replace(desk.world.domains[name], state=machine)
            desk.office.watch.look_at(ALICE)
            wait_for(lambda: state_of(desk.office.watch.find(ALICE)) is state)
        yield "small-zoe" if state is LabState.ABSENT else ALICE
