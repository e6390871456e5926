"""Measures an exam: how far apart machines start, how late and how fast they freeze, and what evidence takes.

`measure_driver` is labctl's own part for a whole room: everything real but machines, which libvirt's test driver has,
on a host whose processors are all busy. `measure` holds a rehearsal on real machines by the commands that people type.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from labctl.crew import Crew
from labctl.exam.audit import Act, Entry, Step, read_entries
from labctl.exam.conduct import Conduct
from labctl.exam.machines import HostConsoles
from labctl.exam.model import Phase
from labctl.exam.moments import HostClock
from labctl.exam.session import Session, create_session
from labctl.exam.standing import Frozen, number_of
from labctl.exam.start import start
from labctl.exam.supervise import Supervisor, read_beat
from labctl.monitor import Silent
from labctl.process import lives
from tests.benchmarks.overhead import topology_of
from tests.exam.sessions import about
from tests.exam.test_forty import driver_world, make_labs
from tests.lab.doubles import World, make_place

LABCTL = Path(sys.executable).with_name("labctl")
TREE = str(Path(__file__).parents[2])
CANDIDATES, MACHINES = 12, 3
SHORT = 0.1  # seconds of a minute on the test driver: the hour of work lasts six
NAME, EXAM, OWNERS = "bench", "e6-dmz", ("901", "902")
MINUTE = 3.0  # seconds of a minute on real machines: what is typed meanwhile needs its time on an emulated host
PATIENCE = 900.0  # seconds for the end of the work and its copies


def measure_driver(folder: Path) -> dict[str, float]:
    """Return, for 12 candidates of 3 machines: seconds between the first start and the last, and of the latest freeze.

    `late_seconds` is from the deadline with its grace until the last machine of a candidate stood still, the worst of
    twelve of whom eleven end at the same instant.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711, parents=True)
    scenario = folder / "small.yml"
    scenario.write_text(topology_of(MACHINES).replace('"many"', '"small"'), encoding="utf-8")
    clock = HostClock()
    try:
        with driver_world() as door, busy_processors(), Crew(max_workers=8) as crew, Crew(max_workers=1) as other:
            place = replace(make_place(folder / "home", World()), machines=door, freezer=door)
            session = create_session(place.home, "e6", about(CANDIDATES, rehearsal=True, minute=SHORT), clock)
            make_ready(session)
            labs = make_labs(place, door, session.folder, list(session.read().candidates), scenario)
            conduct, ended = Conduct(session, labs, HostConsoles(place.home)), threading.Event()
            watcher = Supervisor(place.home, clock, lambda: [conduct], crew, Silent())
            watching = other.submit(watcher.run, ended.is_set)
            try:
                _results, burst = start(conduct, (), Phase.PRACTICAL)
                wait_frozen(session, CANDIDATES)
            finally:
                ended.set()
            watching.result()
        if burst is None or burst.machines != CANDIDATES * MACHINES:
            raise RuntimeError(burst)
        return {"spread_seconds": burst.spread, "machines": burst.machines, **freezes_of(session)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_ready(session: Session) -> None:
    """Write that everybody's lab is ready, and that the session is open."""
    for number in session.read().candidates:
        with session.doing(Act.PREPARE, number) as told:
            told["result"] = "ready"
    with session.writing() as log:
        for act in (Act.PREPARE, Act.SEAL, Act.OPEN):
            log.add(act, Step.DONE)


@contextmanager
def busy_processors() -> Iterator[None]:
    """Keep all processors busy in the block, as machines of a room do."""
    with ExitStack() as stack:
        for _processor in range(os.cpu_count() or 1):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


def wait_frozen(session: Session, count: int) -> None:
    """Wait until the work of so many candidates is frozen and copied. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE
    while sum(one.frozen is Frozen.YES for one in session.read().candidates.values()) < count:
        if time.monotonic() > until:
            raise TimeoutError(session.read().candidates)
        time.sleep(0.2)


def freezes_of(session: Session) -> dict[str, float]:
    """Return the worst lateness of a freeze, and the longest time from its begin until machines stood still."""
    late, stopping = [], []
    for one in session.read().candidates.values():
        entries = one.entries(Act.FREEZE)
        begun = next(entry for entry in entries if entry.step is Step.BEGUN)
        still = next(entry for entry in entries if entry.step is Step.NOTED)
        late.append(number_of(still.facts, "late"))
        stopping.append((datetime.fromisoformat(str(still.facts["suspended"])) - begun.at.hour).total_seconds())
    return {"late_seconds": max(late), "freeze_seconds": max(stopping)}


def measure(home: Path) -> dict[str, float]:
    """Return the figures of a rehearsal of two candidates with three machines each, and of their evidence."""
    room = Room(home, home / "exam-bench")
    room.empty()
    room.folder.mkdir(mode=0o700, parents=True)
    roll, words = room.folder / "candidates.csv", room.folder / "words"
    roll.write_text("number\n" + "".join(f"{number}\n" for number in OWNERS), encoding="utf-8")
    words.write_text("cheval correct pile agrafe\n", encoding="utf-8")
    try:
        begun = time.perf_counter()
        room.run("prepare", EXAM, "--candidates", str(roll), "--session", NAME, "--rehearsal", "--minute", str(MINUTE),
                 "--spares", "0")  # fmt: skip
        prepared = time.perf_counter() - begun
        for verb in ("seal", "open"):
            room.run(verb, NAME, "--passphrase-file", str(words))
        room.run("start", NAME)
        wait_frozen(room.session, len(OWNERS))
        room.run("collect", NAME)
        entries = tuple(read_entries(room.session.audit))
        (started,) = [one for one in entries if one.act is Act.START and one.step is Step.NOTED]
        return {
            "prepare_seconds": prepared, "spread_seconds": number_of(started.facts, "spread"),
            "machines": number_of(started.facts, "machines"), **freezes_of(room.session),
            "collect_seconds": longest(entries, Act.COLLECT),
        }  # fmt: skip
    finally:
        room.empty()


def longest(entries: Sequence[Entry], act: Act) -> float:
    """Return the seconds that an act took for the candidate for whom it took longest."""
    begun = {one.candidate: one.at.hour for one in entries if one.act is act and one.step is Step.BEGUN}
    done = {one.candidate: one.at.hour for one in entries if one.act is act and one.step is Step.DONE}
    return max((done[number] - begun[number]).total_seconds() for number in done if number and number in begun)


@dataclass(frozen=True)
class Room:
    """The installation that the benchmark has for itself."""

    home: Path
    folder: Path

    @property
    def session(self) -> Session:
        """Return the session."""
        return Session(self.home / "exams" / NAME)

    def run(self, *words: str) -> None:
        """Run a verb of exams. Raises RuntimeError with what it said."""
        self.labctl("exam", *words, check=True)

    def labctl(self, *words: str, check: bool) -> None:
        """Run a verb as people type it."""
        environment = {**os.environ, "PYTHONPATH": TREE, "LABCTL_LANG": "en"}
        done = subprocess.run([LABCTL, *words], env=environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")

    def empty(self) -> None:
        """End the supervisor of this home, and remove labs and session."""
        beat = read_beat(self.home)
        if beat and lives(beat.pid, beat.born):
            with suppress(ProcessLookupError):
                os.kill(beat.pid, signal.SIGTERM)
        for number in OWNERS:
            self.labctl("down", f"dmz-{number}", "--yes", check=False)
        if self.session.audit.exists():
            self.labctl("exam", "purge", NAME, "--yes", check=False)
        for path in (self.folder, self.session.folder):
            shutil.rmtree(path, ignore_errors=True)
