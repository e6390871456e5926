"""Enforces deadlines without a terminal: freezes at each deadline with its grace, takes up what a crash broke off.

One process looks after all sessions of an installation. Its heartbeat is a file that `status` reads.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from labctl.crew import Crew
from labctl.errors import Busy, LabctlError
from labctl.exam.acts import close, pause, resume
from labctl.exam.audit import Act, Step, utc_text
from labctl.exam.conduct import Conduct
from labctl.exam.freezing import DEADLINE, freeze, is_due, keep_copy
from labctl.exam.model import Phase
from labctl.exam.moments import Clock, Reading, find_jump
from labctl.exam.session import exams_folder
from labctl.exam.standing import CandidateStanding, Frozen, Stage, Standing
from labctl.exam.start import start
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.process import birth, lives

TICK = 0.2  # seconds between two looks: a deadline is kept by so much
CALM_BEFORE = timedelta(seconds=3)  # before a freeze, machines are asked to write what they hold in memory
MARK = timedelta(minutes=10)  # between two entries of a log under way: a jump of the clock shows against the last one
STALE = 5.0  # seconds without a heartbeat after which a supervisor counts as stuck
EVERY = 1.0  # seconds between two looks at whether labs are being made anew
RETRY = 20.0  # seconds before what failed is tried again


@dataclass(frozen=True)
class Beat:
    """The heartbeat of a supervisor: its process, when it looked last, and what it waits for next."""

    pid: int
    born: str
    looked: datetime
    steady: float
    boot: str
    sessions: tuple[str, ...] = ()
    next_freeze: datetime | None = None

    def alive(self, now: Reading) -> bool:
        """Return whether the supervisor lives and has looked a moment ago."""
        fresh = self.boot == now.boot and now.steady - self.steady < STALE
        return fresh and lives(self.pid, self.born)


def lock_file(home: Path) -> Path:
    """Return the file that the one supervisor of an installation holds."""
    return exams_folder(home) / "supervisor.lock"


def beat_file(home: Path) -> Path:
    """Return the file of the heartbeat."""
    return exams_folder(home) / "supervisor.json"


def write_beat(home: Path, beat: Beat) -> None:
    """Replace the heartbeat in one step."""
    data = {
        "pid": beat.pid, "born": beat.born, "looked": utc_text(beat.looked), "steady": beat.steady, "boot": beat.boot,
        "sessions": list(beat.sessions), "next_freeze": utc_text(beat.next_freeze) if beat.next_freeze else "",
    }  # fmt: skip
    fresh = beat_file(home).with_suffix(".new")
    fresh.write_text(json.dumps(data), encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(beat_file(home))


def read_beat(home: Path) -> Beat | None:
    """Return the last heartbeat, None where there was none."""
    try:
        data = json.loads(beat_file(home).read_text(encoding="utf-8"))
        following = datetime.fromisoformat(data["next_freeze"]) if data["next_freeze"] else None
        looked = datetime.fromisoformat(data["looked"])
        return Beat(
            int(data["pid"]), str(data["born"]), looked, float(data["steady"]), str(data["boot"]),
            tuple(data["sessions"]), following,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Be the only supervisor of an installation for the length of the block. Raises Busy, naming the other."""
    exams_folder(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_file(home).open("a+b") as stream:
        os.fchmod(stream.fileno(), 0o600)
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            other = read_beat(home)
            pid = other.pid if other else "?"
            text = _("a supervisor is at work already (pid {pid}); one is enough for all sessions")
            raise Busy(text.format(pid=pid), hint="labctl exam status") from exc
        yield


@dataclass
class Watch:
    """What a supervisor remembers of one session between two looks; all that matters is in the session's log."""

    conduct: Conduct
    calmed: set[tuple[str, datetime]] = field(default_factory=set)
    busy: dict[str, Future[None]] = field(default_factory=dict)
    tried: dict[tuple[str, Act], float] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    checked: float = 0.0
    trouble: str = ""


@dataclass
class Supervisor:
    """Looks at sessions; `open_all` gives those that there are, so that new ones are found. `crew` does slow work."""

    home: Path
    clock: Clock
    open_all: Callable[[], Sequence[Conduct]]
    crew: Crew
    monitor: Monitor
    watches: dict[str, Watch] = field(default_factory=dict)
    born: str = field(default_factory=lambda: birth(os.getpid()))

    def run(self, stopped: Callable[[], bool]) -> None:
        """Look again and again until somebody stops it; a look that fails is told, and the next one comes."""
        while not stopped():
            following = self.look()
            now = self.clock.read().hour
            wait = min(TICK, (following - now).total_seconds()) if following else TICK
            self.clock.sleep(max(wait, 0.01))

    def look(self) -> datetime | None:
        """Do in all sessions what is due now; return when the next freeze is due."""
        for conduct in self.open_all():
            if conduct.session.name not in self.watches:
                self.watches[conduct.session.name] = Watch(conduct)
                self.crew.submit(self.warm, conduct)
        moments = []
        for name, watch in self.watches.items():
            try:
                moments += self.look_at(watch)
                watch.trouble = ""
            except Exception as exc:  # one session's trouble, even a fault of ours, must not cost the others their end
                self.complain(watch, name, exc)
        following = min(moments, default=None)
        now = self.clock.read()
        write_beat(
            self.home, Beat(os.getpid(), self.born, now.hour, now.steady, now.boot, tuple(self.watches), following)
        )
        return following

    def look_at(self, watch: Watch) -> list[datetime]:
        """Do in one session what is due now; return the freezes that are to come."""
        session = watch.conduct.session
        standing = session.read()
        if standing.stage is Stage.CLOSED:
            return []
        standing = self.note_time(watch, standing)
        now = self.clock.read().hour
        moments = {n: moment for n in standing.candidates if (moment := standing.freeze_time(n, now))}
        due = [n for n, moment in moments.items() if moment <= now and n not in under_way(watch)]
        if due:
            self.work(watch, due, lambda: self.freeze(watch, due))
        for number, moment in moments.items():
            if moment - CALM_BEFORE <= now < moment and (number, moment) not in watch.calmed:
                watch.calmed.add((number, moment))
                lab = standing.candidates[number].lab
                self.crew.submit(self.calm, watch.conduct, lab)
        for number, one in standing.candidates.items():
            if (one.unfinished or one.frozen is Frozen.FAILED) and number not in under_way(watch):
                self.take_up(watch, one)
        self.pull_again(watch, standing)
        return [moment for number, moment in moments.items() if number not in due]

    def warm(self, conduct: Conduct) -> None:
        """Have all labs looked at once, so that nothing has to be read first when it is time."""
        try:
            conduct.labs.states([one.lab for one in conduct.session.read().candidates.values()])
        except LabctlError as exc:
            self.monitor.tell(Event(conduct.session.name, "look", Progress.FAILED, exc.message))

    def complain(self, watch: Watch, subject: str, error: Exception) -> None:
        """Tell a trouble once, as long as it lasts."""
        said = error.message if isinstance(error, LabctlError) else f"{type(error).__name__}: {error}"
        if said != watch.trouble:
            watch.trouble = said
            self.monitor.tell(Event(subject, "supervise", Progress.FAILED, said))

    def pull_again(self, watch: Watch, standing: Standing) -> None:
        """Pull the links of machines that were made anew during the work: a new one comes with its links."""
        steady = self.clock.read().steady
        if steady - watch.checked < EVERY:
            return
        watch.checked = steady
        for number, one in standing.candidates.items():
            if not one.running or one.phase is not Phase.PRACTICAL:
                continue
            if watch.conduct.labs.busy(one.lab):
                watch.made.add(number)
            elif number in watch.made and number not in under_way(watch):
                watch.made.discard(number)
                self.work(watch, [number], lambda lab=one.lab: watch.conduct.labs.set_links(lab, up=False))  # type: ignore[misc]

    def note_time(self, watch: Watch, standing: Standing) -> Standing:
        """Write a jump of the host's clock into the log, and now and then that the supervisor is there."""
        session = watch.conduct.session
        last, now = session.memory.last, self.clock.read()
        if last is None or standing.stage is not Stage.STARTED:
            return standing
        if find_jump(last.at, now) or abs(now.hour - last.at.hour) > MARK:
            with session.writing() as log:  # which writes the jump by itself
                log.add(Act.SUPERVISE, Step.NOTED, "", pid=os.getpid())
            return session.read()
        return standing

    def freeze(self, watch: Watch, numbers: Sequence[str]) -> None:
        """Freeze those whose time is over; who was given more in the last second is left alone."""
        now = self.clock.read
        freeze(at_once(watch.conduct), numbers, DEADLINE, wanted=is_due(lambda: now().hour))

    def calm(self, conduct: Conduct, lab: str) -> None:
        """Ask machines to write to their disks what they hold; whether they do changes nothing."""
        try:
            conduct.labs.calm(lab)
        except LabctlError as exc:
            self.monitor.tell(Event(lab, "calm", Progress.FAILED, exc.message))

    def take_up(self, watch: Watch, one: CandidateStanding) -> None:
        """Bring to its end what somebody began for a candidate and nobody does any more."""
        steady = self.clock.read().steady
        for act, finish in FINISH.items():
            key = (one.number, act)
            again = act is Act.FREEZE and one.frozen is Frozen.FAILED
            if (again or act in one.unfinished) and steady - watch.tried.get(key, -RETRY) >= RETRY:
                watch.tried[key] = steady
                self.work(watch, [one.number], lambda finish=finish: finish(watch.conduct, one))  # type: ignore[misc]
                return

    def work(self, watch: Watch, numbers: Sequence[str], act: Callable[[], object]) -> None:
        """Let the crew do slow work for candidates; a failure is told, and what is still due is tried again."""

        def attempt() -> None:
            try:
                act()
            except Exception as exc:  # it would be lost with the thread
                self.complain(watch, ", ".join(numbers), exc)

        future = self.crew.submit(attempt)
        watch.busy |= dict.fromkeys(numbers, future)


def under_way(watch: Watch) -> set[str]:
    """Return the candidates on whom the crew works."""
    return {number for number, future in watch.busy.items() if not future.done()}


def last_facts(one: CandidateStanding, act: Act, key: str) -> str:
    """Return a fact of the last entry that says that an act begins."""
    begun = [entry for entry in one.entries(act) if entry.step is Step.BEGUN]
    return str(begun[-1].facts.get(key, "")) if begun else ""


def at_once(conduct: Conduct) -> Conduct:
    """Return a conduct that does not wait for somebody who is at it: then nothing was broken off."""
    return Conduct(conduct.session, conduct.labs, conduct.consoles, patience=0.0)


def finish_freeze(conduct: Conduct, one: CandidateStanding) -> object:
    """Copy the work of a freeze that was broken off; of one that failed, when there may be room again."""
    if Act.FREEZE in one.unfinished:
        return keep_copy(conduct, one.number)
    reason = last_facts(one, Act.FREEZE, "reason") or DEADLINE
    return freeze(conduct, [one.number], reason, wanted=lambda _all, now: now.frozen is Frozen.FAILED)


FINISH: dict[Act, Callable[[Conduct, CandidateStanding], object]] = {
    Act.FREEZE: lambda conduct, one: finish_freeze(at_once(conduct), one),
    Act.PAUSE: lambda conduct, one: pause(at_once(conduct), [one.number], last_facts(one, Act.PAUSE, "reason")),
    Act.RESUME: lambda conduct, one: resume(at_once(conduct), [one.number], last_facts(one, Act.RESUME, "reason")),
    Act.START: lambda conduct, one: start(
        at_once(conduct), [one.number], Phase(last_facts(one, Act.START, "phase") or Phase.PRACTICAL)
    ),
    Act.CLOSE: lambda conduct, one: close(at_once(conduct), [one.number]),
}
