"""Many labs at once: turns in the queue, wishes that are joined, processes that die, and what the host can carry."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from labctl.classroom import admission
from labctl.classroom.admission import Admission, cpu_pressure
from labctl.classroom.capacity import RESERVE
from labctl.classroom.labs import bring_up_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.errors import ExitCode, Interrupted, Refused
from labctl.lab.queue import AT_ONCE, VERB, wait_turn
from labctl.lab.wish import Pace, Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Event, Silent
from labctl.topology.load import load_topology
from tests.lab.doubles import Fault, Freezer, World, make_place
from tests.lab.test_golden import SMALL, bring
from tests.processes import start as begin_process
from tests.worlds import catalogue

CLASS = 24
OWNERS = [f"s{number:02}" for number in range(CLASS)]


class Log:
    """Lines that many processes add to one file, each whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, *words: str) -> None:
        with self.path.open("ab", buffering=0) as stream:
            stream.write((" ".join(words) + "\n").encode())

    def lines(self, first: str) -> list[list[str]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [words[1:] for line in text.splitlines() if (words := line.split())[0] == first]

    def tell(self, event: Event) -> None:
        """Note who waits in the queue, as a monitor."""
        if event.step == "queue":
            self.add("queue", str(os.getpid()), event.subject)


class Slow(Freezer):
    """A hypervisor that takes its time to restore a machine, and notes when it begins and when it ends."""

    def __init__(self, world: World, log: Log) -> None:
        super().__init__(world, Fault())
        self.log = log

    def restore_domain(self, saved: Path, xml: str, name: str, **how: Any) -> None:
        self.log.add("begin", name)
        time.sleep(0.3)
        super().restore_domain(saved, xml, name, **how)
        self.log.add("end", name)


def ask(home: Path, owners: Sequence[str], nodes: tuple[str, ...]) -> list[LabResult]:
    """Reset nodes of labs in an installation whose world is in the folder beside it."""
    log = Log(home.parent / "log")
    world = World(home.parent / "world")
    place = replace(make_place(home, world), freezer=Slow(world, log))
    wish = ClassWish(load_topology(SMALL, catalogue()), SMALL, tuple(owners), reset=nodes)
    return bring_up_labs(place, wish, lambda _image: Pace("tcg", 1.0), log, Stop())


def ask_and_exit(home: Path, owner: str, nodes: tuple[str, ...]) -> None:
    """Reset as a process of its own, whose exit code says how it ended."""
    (result,) = ask(home, [owner], nodes)
    sys.exit(ExitCode.DONE if result.ready else result.error.exit_code if result.error else ExitCode.PARTLY)


def start(home: Path, owner: str, *nodes: str) -> ForkServerProcess:
    return begin_process(ask_and_exit, home, owner, nodes)


def join(processes: Sequence[ForkServerProcess]) -> list[int | None]:
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def make_class(tmp_path: Path, owners: Sequence[str]) -> Workplace:
    """Bring up labs one by one: the forecast of a whole class would count memory that stand-ins do not take."""
    place = make_place(tmp_path / "home", World(tmp_path / "world"))
    for owner in owners:
        assert bring(place, owner)[0].ready
    return place


def queue_order(place: Workplace) -> list[str]:
    with place.store.transaction(reading=True) as connection:
        return [str(lab) for (lab,) in connection.execute("SELECT lab FROM job WHERE verb = ? ORDER BY id", (VERB,))]


def most_at_once(log: Log) -> int:
    words = [line.split()[0] for line in log.path.read_text().splitlines()]
    changes = [{"begin": 1, "end": -1}.get(word, 0) for word in words]
    return max(sum(changes[: number + 1]) for number in range(len(changes)))


def check_turns(place: Workplace, log: Log) -> None:
    """Assert that each lab was reset once, a few at a time, and that nobody overtook more than those beside it."""
    begun = [name.partition(".")[0] for (name,) in log.lines("begin")]
    asked = queue_order(place)
    assert sorted(begun) == sorted(asked) == [f"small-{owner}" for owner in OWNERS]
    assert 1 < most_at_once(log) <= AT_ONCE
    assert all(begun.index(lab) > asked.index(lab) - AT_ONCE for lab in asked)


@pytest.mark.slow
def test_24_students_reset_their_labs_in_one_second(tmp_path: Path) -> None:  # F-09
    place, log = make_class(tmp_path, OWNERS), Log(tmp_path / "log")
    codes = join([start(place.home, owner, "desk") for owner in OWNERS])
    assert codes == [0] * CLASS
    check_turns(place, log)
    assert place.store.list_jobs() == ()


@pytest.mark.slow
def test_a_trainer_resets_a_class_in_one_run(tmp_path: Path) -> None:  # F-09
    place, log = make_class(tmp_path, OWNERS), Log(tmp_path / "log")
    results = ask(place.home, OWNERS, ("desk",))
    assert [(result.owner, result.ready) for result in results] == [(owner, True) for owner in OWNERS]
    check_turns(place, log)


def wait_in_queue(log: Log, count: int) -> None:
    """Return when so many processes wait."""
    until = time.monotonic() + 300
    while len({pid for pid, _lab in log.lines("queue")}) < count:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_24_same_wishes_for_one_lab_are_one(tmp_path: Path) -> None:  # F-09
    place, log = make_class(tmp_path, ["alice"]), Log(tmp_path / "log")
    with wait_turn(place, "small-alice", ["server"], Silent(), Stop()):
        processes = [start(place.home, "alice", "desk") for _number in range(CLASS)]
        wait_in_queue(log, CLASS)
        assert [job.nodes for job in place.store.list_jobs()] == [("server",), ("desk",)]
    assert join(processes) == [0] * CLASS
    assert log.lines("begin") == [["small-alice.desk"]]
    resets = [event.detail for event in place.store.events("small-alice") if event.what == "reset"]
    assert resets == ["desk"]


def test_one_who_dies_waiting_holds_nobody_up(tmp_path: Path) -> None:  # F-05, F-09
    place, log = make_class(tmp_path, ["alice", "bob"]), Log(tmp_path / "log")
    with wait_turn(place, "small-alice", ["server"], Silent(), Stop()):
        first = start(place.home, "alice", "desk")
        wait_in_queue(log, 1)
        same = start(place.home, "alice", "desk")
        wait_in_queue(log, 2)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        assert join([first, start(place.home, "bob", "desk")]) == [-signal.SIGKILL, 0]
        other = start(place.home, "alice", "desk", "server")
        wait_in_queue(log, 3)
    assert join([same, other]) == [0, 0]  # what the dead one had begun to wait for was done by who waited for it
    assert sorted(name for (name,) in log.lines("begin")) == [
        *["small-alice.desk"] * 2, "small-alice.server", "small-bob.desk",
    ]  # fmt: skip
    assert place.store.list_jobs() == ()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for hundredths of a second where a class waits for seconds."""
    monkeypatch.setattr(admission, "LOOK", 0.01)
    monkeypatch.setattr(admission, "SETTLE", 0.05)
    monkeypatch.setattr(admission, "PATIENCE", 0.3)


def enter(stack: ExitStack, host: Admission, count: int) -> None:
    for number in range(count):
        stack.enter_context(host.admit(f"s{number}", Stop()))


def test_no_more_labs_begin_than_memory_allows() -> None:  # F-26
    host = Admission(100, least=9, free=lambda: RESERVE + 350, pressure=lambda: 0.0)
    with ExitStack() as stack:
        enter(stack, host, 3)
        assert not host.may_begin()
    assert host.may_begin()


def test_a_few_labs_always_may_and_more_while_processors_are_idle(quick: None) -> None:
    assert quick is None
    busy = 100.0
    host = Admission(0, least=2, free=lambda: 0, pressure=lambda: busy)
    with ExitStack() as stack:
        enter(stack, host, 2)
        time.sleep(0.1)
        assert not host.may_begin()
        busy = 0.0
        assert host.may_begin()
        enter(stack, host, 1)
        assert not host.may_begin()  # the pressure does not know of it yet
        time.sleep(0.1)
        assert host.may_begin()
        host.pressure = lambda: None  # a kernel that does not tell
        assert not host.may_begin()


def test_a_class_that_outgrows_the_memory_is_refused_with_numbers_and_the_rest_go_on(quick: None) -> None:  # F-26
    assert quick is None
    mib = 1 << 20
    done: list[str] = []
    least_free = []

    def free() -> int:
        return RESERVE + (1050 - 100 * len(done)) * mib

    host = Admission(100 * mib, least=4, free=free, pressure=lambda: 100.0)

    def bring_one(owner: str) -> Refused | None:
        try:
            with host.admit(owner, Stop()):
                with host.change:
                    least_free.append(host.room())
                time.sleep(0.02)
                done.append(owner)  # from now on its memory is the lab's
        except Refused as exc:
            return exc
        return None

    with ThreadPoolExecutor(CLASS) as threads:
        refused = [error for error in threads.map(bring_one, OWNERS) if error]
    assert (len(done), len(refused)) == (10, 14)
    assert min(least_free) >= 0
    assert "the lab takes 100 MiB, 50 MiB are free" in refused[0].message
    assert refused[0].exit_code == ExitCode.REFUSED


def test_memory_that_comes_back_lets_the_next_one_in(quick: None) -> None:
    assert quick is None
    room = RESERVE
    host = Admission(100, least=1, free=lambda: room, pressure=lambda: 0.0)
    entered = threading.Event()

    def wait() -> None:
        with host.admit("late", Stop()):
            entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.1)
    room = RESERVE + 100
    assert entered.wait(10)
    thread.join()
    assert host.under_way == 0


def test_a_person_may_stop_what_waits_for_memory() -> None:  # F-06
    host, stop = Admission(100, least=1, free=lambda: 0, pressure=lambda: 0.0), Stop()
    threading.Timer(0.1, stop.ask).start()
    began = time.monotonic()
    with pytest.raises(Interrupted, match="late"):
        host.enter("late", stop)
    assert time.monotonic() - began < 5
    assert host.under_way == 0


def test_an_error_gives_the_place_back() -> None:
    host = Admission(0, least=1, free=lambda: 0, pressure=lambda: 100.0)
    with pytest.raises(KeyError), host.admit("alice", Stop()):
        raise KeyError
    assert host.may_begin()


@pytest.mark.parametrize(
    ("text", "pressure"),
    [
        ("some avg10=12.34 avg60=5.00 avg300=1.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n", 12.34),
        ("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", 0.0),
        ("", None),
        ("some avg10=much\n", None),
        (None, None),
    ],
)
def test_the_pressure_is_what_the_kernel_says_or_unknown(
    text: str | None, pressure: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "cpu"
    if text is not None:
        path.write_text(text)
    assert cpu_pressure(path) == pressure
    here = cpu_pressure()
    assert here is None or 0 <= here <= 100
