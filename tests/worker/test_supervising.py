"""The supervisor and the worker as real processes: restarted when killed, ended together, never two at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.worker.client import BlockingClient
from labctl.worker.requests import AskHealth
from labctl.worker.supervising import Program, Supervisor
from labctl.worker.wire import NotDone
from tests.worker.offices import wait_for

WORKER = [sys.executable, "-P", "-m", "labctl.worker.main"]


def environment(home: Path) -> dict[str, str]:
    library = str(Path(__file__).parents[2])
    return {**os.environ, "LABCTL_HOME": str(home), "LABCTL_URI": "test:///default", "PYTHONPATH": library}


def answers(home: Path) -> bool:
    try:
        return BlockingClient(home / "portal" / "worker.sock").ask(AskHealth()).worker
    except NotDone:
        return False


def sleeper(name: str) -> Program:
    return Program(name, ["/bin/sleep", "60"], dict(os.environ))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    found = Supervisor([sleeper("one"), sleeper("two")], said.append)
    thread = threading.Thread(target=found.run, daemon=True)
    thread.start()
    wait_for(lambda: len(found.running) == 2)
    yield found
    found.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert all(one.process.poll() is not None for one in found.running), "they end with it"


def test_a_process_that_is_killed_is_started_again(supervisor: Supervisor, said: list[str]) -> None:
    first = supervisor.running[0].process
    first.kill()
    wait_for(lambda: supervisor.running[0].process is not first)
    assert supervisor.running[0].process.poll() is None
    assert said == ["one has ended (SIGKILL); it is started again in 0.5 s"]
    assert supervisor.running[1].deaths == 0


def test_one_that_dies_at_once_is_started_later_each_time(said: list[str]) -> None:
    supervisor = Supervisor([Program("bad", ["/bin/false"], {})], said.append)
    threading.Timer(3.0, supervisor.stop).start()
    supervisor.run()
    assert [text.rpartition(" in ")[2] for text in said[:3]] == ["0.5 s", "1.0 s", "2.0 s"]


def test_the_worker_ends_cleanly_when_it_is_asked_to(tmp_path: Path) -> None:
    with subprocess.Popen(WORKER, env=environment(tmp_path)) as worker:
        wait_for(lambda: answers(tmp_path))
        start = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        assert time.monotonic() - start < 15
    assert not (tmp_path / "portal" / "worker.sock").exists()


def test_a_worker_that_is_killed_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    for _ in range(2):
        with subprocess.Popen(WORKER, env=environment(tmp_path)) as worker:
            wait_for(lambda: answers(tmp_path))
            worker.kill()


def test_a_second_worker_of_one_home_is_refused(tmp_path: Path) -> None:
    quick = [sys.executable, "-P", "-c", "from labctl.worker.main import main; main(0.5)"]
    with subprocess.Popen(WORKER, env=environment(tmp_path)) as first:
        wait_for(lambda: answers(tmp_path))
        second = subprocess.run(
            quick, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 5
        assert "pid" in second.stderr
        assert answers(tmp_path), "the first one still serves"
        first.terminate()


def test_a_supervisor_that_is_killed_takes_its_processes_with_it(tmp_path: Path) -> None:
    program = (
        "import os; from labctl.worker.supervising import Program, Supervisor; "
        "s = Supervisor([Program('x', ['/bin/sleep', '61'], dict(os.environ))], print); "
        "import threading; threading.Timer(1, lambda: print(s.running[0].process.pid, flush=True)).start(); s.run()"
    )
    with subprocess.Popen([sys.executable, "-c", program], env=environment(tmp_path), stdout=subprocess.PIPE) as found:
        assert found.stdout
        child = int(found.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        found.kill()
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())
