"""Any order of a proctor's acts, crashes, jumps of the clock and looks of a supervisor leaves everybody their time."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labctl.errors import Refused
from labctl.exam.acts import close, extend, note_incident, pause, resume
from labctl.exam.audit import read_entries
from labctl.exam.conduct import Became, Results
from labctl.exam.freezing import freeze
from labctl.exam.model import Phase
from labctl.exam.standing import Frozen, Stage, fold
from labctl.exam.start import start
from tests.exam.doubles import PAUSED, RUNNING, conduct
from tests.exam.test_acts import ALL, Room, make_room
from tests.exam.test_supervise import supervisor
from tests.lab.doubles import Crash, Fault

SLACK = 0.01  # seconds
GRACE = 30.0
NUMBERS = st.lists(st.sampled_from(ALL), unique=True)


@dataclass
class Expected:
    """What is owed to a candidate, kept beside labctl: seconds of work that are left, and whether they pass."""

    left: float
    works: bool = False
    begun: bool = False
    certain: bool = True  # no act on them was cut short: then only the direction is known


class Exam(RuleBasedStateMachine):
    """Three candidates; time passes only by a rule."""

    room: Room
    home: Path

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.home = Path(self.folder.name)
        self.room = make_room(self.home)
        self.owed = {number: Expected(4800.0 if number == "002" else 3600.0) for number in ALL}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def meant(self, numbers: list[str]) -> list[str]:
        return numbers or list(ALL)

    def done(self, results: Results) -> list[str]:
        return [number for number, result in results.items() if result.became is Became.DONE]

    @rule(numbers=NUMBERS)
    def start(self, numbers: list[str]) -> None:
        try:
            results, _burst = start(self.room.conduct, numbers, Phase.PRACTICAL)
        except Refused:
            return
        for number in self.done(results):
            self.owed[number].works = self.owed[number].begun = True

    @rule(numbers=NUMBERS)
    def pause(self, numbers: list[str]) -> None:
        try:
            results = pause(self.room.conduct, numbers, "unwell")
        except Refused:
            return
        for number in self.done(results):
            self.owed[number].works = False

    @rule(numbers=NUMBERS)
    def resume(self, numbers: list[str]) -> None:
        try:
            results = resume(self.room.conduct, numbers, "well")
        except Refused:
            return
        for number in self.done(results):
            self.owed[number].works = True

    @rule(number=st.sampled_from(ALL), minutes=st.integers(1, 30), incident=st.booleans())
    def extend(self, number: str, minutes: int, incident: bool) -> None:
        length = timedelta(minutes=minutes)
        frozen = self.room.one(number).frozen is Frozen.YES
        try:
            if incident:
                results = note_incident(self.room.conduct, [number], "fire alarm", length)
            else:
                results = extend(self.room.conduct, [number], length, "late")
        except Refused:
            return
        for one in self.done(results):
            owed = self.owed[one]
            owed.left = (max(owed.left, 0.0) if frozen else owed.left) + minutes * 60
            owed.works = owed.works or frozen

    @rule(numbers=NUMBERS)
    def freeze(self, numbers: list[str]) -> None:
        try:
            results = freeze(self.room.conduct, numbers, "by hand")
        except Refused:
            return
        for number in self.done(results):
            self.owed[number].works = False

    @rule(number=st.sampled_from(ALL), rate=st.integers(1, 12), act=st.sampled_from(["start", "pause", "freeze"]))
    def crash(self, number: str, rate: int, act: str) -> None:
        """Cut an act short; what it has begun is finished by the supervisor, so nothing is left half done."""
        dying = conduct(self.room.session, self.room.world, Fault(rate))
        try:
            if act == "start":
                start(dying, [number], Phase.PRACTICAL)
            elif act == "pause":
                pause(dying, [number], "unwell")
            else:
                freeze(dying, [number], "by hand")
        except (Crash, Refused):
            pass
        self.look()
        self.settle()

    @rule(seconds=st.sampled_from([0.2, 1.0, 29.0, 60.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.room.clock.go(seconds)
        for owed in self.owed.values():
            if owed.works:
                owed.left -= seconds
        self.look()

    @rule(seconds=st.sampled_from([-7200, -600, 45, 3600]))
    def set_the_clock(self, seconds: int) -> None:
        self.room.clock.set(seconds)
        self.look()

    @rule(number=st.sampled_from(ALL))
    def close(self, number: str) -> None:
        if all(self.room.one(other).closed for other in ALL if other != number):
            return  # a closed session would end the run
        try:
            close(self.room.conduct, [number])
        except Refused:
            return

    def look(self) -> None:
        """Let a supervisor that knows nothing look; it freezes those whose time and grace are over, and nobody else."""
        before = {number: self.room.one(number).frozen for number in ALL}
        supervisor(self.room, self.home).look()
        for number, owed in self.owed.items():
            after = self.room.one(number)
            if before[number] is Frozen.NO and after.frozen is Frozen.YES:
                assert owed.left + GRACE <= SLACK, (number, owed)
                owed.works = False

    def settle(self) -> None:
        """Take over what an act that was cut short has done: no time has passed meanwhile."""
        for number, owed in self.owed.items():
            one = self.room.one(number)
            owed.begun = one.practical is not None
            owed.works = one.practical is not None and one.practical.runs

    @invariant()
    def everybody_has_their_time(self) -> None:
        if not hasattr(self, "room"):
            return
        for number, owed in self.owed.items():
            clock = self.room.one(number).practical
            assert (clock is not None) == owed.begun
            if clock is not None:
                assert clock.runs == owed.works, (number, owed, clock)
                assert abs(clock.left(self.room.clock.hour).total_seconds() - owed.left) < SLACK, (number, owed)

    @invariant()
    def machines_are_as_the_log_says(self) -> None:
        if not hasattr(self, "room"):
            return
        standing = self.room.session.read()
        for one in standing.candidates.values():
            assert not one.unfinished
            assert self.room.world.state(one.lab) == {RUNNING if one.running else PAUSED}, one.number
            if one.frozen is Frozen.YES:
                assert one.lab in self.room.world.cut
                assert f"{one.number}/freeze-{one.freezes}" in self.room.world.copies
            elif one.running:
                assert one.lab not in self.room.world.cut
        assert standing.stage is not Stage.CLOSED
        assert fold(read_entries(self.room.session.audit)) == standing


TestExam = Exam.TestCase
TestExam.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
