"""Any order of verbs, crashes and meddling ends in the world that was asked for; nothing foreign is ever touched."""

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labctl.errors import HostNotReady, LabctlError
from labctl.lab.down import take_down
from labctl.lab.status import read_status
from labctl.monitor import Silent
from labctl.plan.observed import DomainState, SeenDomain, SeenNetwork, Tag
from tests.lab.doubles import Crash, Fault, World, make_place
from tests.lab.test_faults import NODES, check_whole
from tests.lab.test_golden import bring

OWNERS = ("alice", "bob", "chloe")
OTHER_HOME = Tag("small-bob", "small", "bob", "other", "spec", "done", home="of another")

HALTS = (DomainState.STOPPED, DomainState.CRASHED, DomainState.PAUSED)

owners = st.sampled_from(OWNERS)
nodes = st.sampled_from(NODES)
several = st.lists(owners, min_size=1, max_size=3, unique=True)


class Class(RuleBasedStateMachine):
    """Three students, a trainer who types, a host that dies, and somebody with virsh.

    `wanted` are the owners whose lab was last asked for; a lab that was asked to go is not among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="labctl-machine-", dir=SCRATCH))
        self.home = self.top / "home"
        self.world = World()
        self.wanted: set[str] = set()
        self.foreign: dict[str, SeenDomain | SeenNetwork] = {}

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            shutil.rmtree(self.top)

    @initialize()
    def begin(self) -> None:
        """Find foreign machines and networks on the host; one has a name that a lab could have."""
        self.add_domain(SeenDomain("windows", "w", DomainState.RUNNING))
        self.add_domain(SeenDomain("small-bob.other", "o", DomainState.PAUSED, tag=OTHER_HOME))
        network = SeenNetwork("default", "d", "virbr0", active=True)
        self.foreign[network.name] = self.world.networks[network.name] = network

    def add_domain(self, domain: SeenDomain) -> None:
        self.foreign[domain.name] = self.world.domains[domain.name] = domain

    # what people type

    @rule(asked=several)
    def up(self, asked: list[str]) -> None:
        self.wanted |= set(asked)
        assert all(result.ready for result in bring(make_place(self.home, self.world), *asked))

    @rule(owner=owners, chosen=st.sampled_from([("server",), ("desk",), NODES]))
    def reset(self, owner: str, chosen: tuple[str, ...]) -> None:
        self.wanted.add(owner)
        (result,) = bring(make_place(self.home, self.world), owner, reset=chosen)
        assert result.ready
        assert {f"small-{owner}.{node}" for node in NODES} <= set(self.world.personal)

    @rule(owner=owners)
    def down(self, owner: str) -> None:
        self.wanted.discard(owner)
        take_down(make_place(self.home, self.world), f"small-{owner}", Silent())
        assert not [name for name in self.ours() if name.startswith(f"small-{owner}.")]

    # what goes wrong

    @rule(asked=several, number=st.integers(1, 60), error=st.sampled_from([Crash, LabctlError, HostNotReady]))
    def up_that_fails(self, asked: list[str], number: int, error: type[BaseException]) -> None:
        self.wanted |= set(asked)
        with suppress(error, LabctlError):  # an error while the golden lab is made is told as one of its own
            bring(make_place(self.home, self.world, Fault(number, error)), *asked)

    @rule(owner=owners, chosen=nodes, number=st.integers(1, 25))
    def reset_that_dies(self, owner: str, chosen: str, number: int) -> None:
        self.wanted.add(owner)
        with suppress(Crash):
            bring(make_place(self.home, self.world, Fault(number)), owner, reset=(chosen,))

    @rule(owner=owners, number=st.integers(1, 8), again=st.booleans())
    def down_that_dies(self, owner: str, number: int, again: bool) -> None:
        """A person who sees it die types it again, or changes their mind."""
        with suppress(Crash):
            take_down(make_place(self.home, self.world, Fault(number)), f"small-{owner}", Silent())
        if again:
            self.down(owner)
        else:
            self.wanted.add(owner)

    # what somebody else does

    @rule(
        owner=owners, node=nodes, state=st.sampled_from([DomainState.STOPPED, DomainState.CRASHED, DomainState.PAUSED])
    )
    def stop_machine(self, owner: str, node: str, state: DomainState) -> None:
        name = f"small-{owner}.{node}"
        if name in self.world.domains:
            self.world.domains[name] = replace(self.world.domains[name], state=state)

    @rule(owner=owners, node=nodes)
    def undefine_machine(self, owner: str, node: str) -> None:
        """Take the machine from libvirt; its disk stays, and with it what makes the machine its owner's."""
        self.world.domains.pop(f"small-{owner}.{node}", None)

    @rule(owner=owners, network=st.sampled_from(["lan", "mgmt"]), stopped=st.booleans())
    def lose_network(self, owner: str, network: str, stopped: bool) -> None:
        name = f"small-{owner}.{network}"
        if name in self.world.networks:
            seen = self.world.networks.pop(name)
            if stopped:
                self.world.networks[name] = replace(seen, active=False)

    @rule(owner=owners, node=nodes)
    def delete_disk(self, owner: str, node: str) -> None:
        make_place(self.home, self.world).folders(f"small-{owner}").disk(node).unlink(missing_ok=True)
        self.world.personal.discard(f"small-{owner}.{node}")

    @rule(number=st.integers(0, 3))
    def add_foreign(self, number: int) -> None:
        self.add_domain(SeenDomain(f"small-alice.theirs{number}", "t", DomainState.RUNNING))

    # what holds whatever happens

    def ours(self) -> set[str]:
        return {*self.world.domains, *self.world.networks} - self.foreign.keys()

    @invariant()
    def nothing_foreign_was_touched(self) -> None:
        everything = {**self.world.domains, **self.world.networks}
        assert {name: everything.get(name) for name in self.foreign} == self.foreign

    @invariant()
    def status_can_be_asked(self) -> None:
        place = make_place(self.home, self.world)
        shown = {lab.name for lab in read_status(place, lambda _lab: False)}
        assert {name for name in shown if "-golden-" not in name} <= {f"small-{owner}" for owner in OWNERS}

    def finish(self) -> None:
        """Type once more what is wanted: then the world is what was asked for, and nothing else of ours is there."""
        place = make_place(self.home, self.world)
        for owner in set(OWNERS) - self.wanted:
            take_down(place, f"small-{owner}", Silent())
        if self.wanted:
            assert all(result.ready for result in bring(place, *sorted(self.wanted)))
            foreign = {name: seen for name, seen in self.foreign.items() if isinstance(seen, SeenDomain)}
            ours = World()
            ours.domains = {name: seen for name, seen in self.world.domains.items() if name not in foreign}
            ours.networks, ours.personal = self.world.networks, self.world.personal
            check_whole(make_place(self.home, self.world), ours, *sorted(self.wanted))
            return
        assert {name for name in self.ours() if "-golden-" not in name} == set()


# Keys and databases are synced to the disk: in memory that costs nothing.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

TestClass = pytest.mark.slow(Class.TestCase)  # F-01, F-02, F-03, F-24, F-25
TestClass.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
