"""The phases of an installation are told by the machine's own markers, by nothing that looks like an answer."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from labctl.errors import DeadlineMissed, Interrupted, LabctlError
from labctl.lab import installing
from labctl.lab.installation import DEADLINES, ORDER, Installation, Phase
from labctl.lab.installing import follow


def mark(phase: str) -> str:
    return f'@labctl {{"phase": "{phase}"}}'


def test_phases_go_forward_and_facts_are_kept() -> None:
    told = Installation()
    assert [told.read(mark(phase)) for phase in ORDER[1:]] == [True] * 5
    assert not told.read('@labctl {"facts": {"evaluation_days": 180, "rearms": 5, "odd": [1]}}')
    assert told.facts == {"evaluation_days": 180, "rearms": 5}
    assert told.phase is Phase.SEALED


@pytest.mark.parametrize(
    "line",
    ["", "BdsDxe: starting Boot0001", "Windows is ready", "@labctl", '@labctl {"phase": "specia', "@labctl [1]",
     '@labctl {"phase": "done"}', '@labctl {"phase": ["sealed"]}', '{"phase": "sealed"}', 'labctl {"phase": "sealed"}'],
)  # fmt: skip
def test_what_is_not_a_marker_is_passed_over(line: str) -> None:
    told = Installation()
    assert not told.read(line)
    assert told.phase is Phase.START


def test_a_marker_behind_other_words_counts() -> None:
    told = Installation()
    assert told.read("\x1b[2J\x1b[01;01H" + mark("setup"))


def test_an_installation_that_begins_anew_is_a_failure() -> None:
    told = Installation(phase=Phase.SPECIALIZE)
    with pytest.raises(LabctlError, match='in the phase "specialize" and went back to "setup"'):
        told.read(mark("setup"))


def test_the_machines_last_words_are_the_error_and_logs_are_kept() -> None:
    told = Installation()
    for line in (r"@labctl-log C:\Windows\Panther\setuperr.log", "Error 0x80070002", mark("sealed"), "@labctl-end"):
        assert not told.read(line)
    assert told.phase is Phase.START  # a marker inside a log is a line of the log
    assert told.logs == [r"C:\Windows\Panther\setuperr.log", "  Error 0x80070002", f"  {mark('sealed')}"]
    with pytest.raises(LabctlError, match="the installation failed in the machine: configure: no disc holds viostor"):
        told.read('@labctl {"failed": "configure: no disc holds viostor"}')


class Port:
    """A serial port: one end of a pair of sockets."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()

    def fileno(self) -> int:
        return self.here.fileno()

    def read(self) -> bytes:
        return self.here.recv(65536)

    def write(self, data: bytes) -> None:
        self.here.sendall(data)

    def close(self) -> None:
        self.here.close()
        self.there.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def follow_machine(*said: bytes) -> tuple[Installation, list[Phase], bytes]:
    """Follow a machine that says these things and switches itself off; return what it was answered, too."""
    port, told, entered = Port(), Installation(), list[Phase]()
    for part in said:
        port.there.sendall(part)
    port.there.shutdown(socket.SHUT_WR)
    follow(port, told, 1.0, entered.append)
    port.here.close()
    answered = port.there.recv(100)
    port.there.close()
    return told, entered, answered


def test_a_key_is_pressed_again_and_again_in_whatever_language_the_loader_asks_until_setup_has_begun(
    monkeypatch: pytest.MonkeyPatch, port: Port
) -> None:
    monkeypatch.setattr(installing, "GLANCE", 0.05)
    pressed = b""

    def setup() -> None:
        nonlocal pressed
        port.there.sendall("Appuyez sur une touche pour démarrer du CD ou du DVD.".encode())
        while len(pressed) < 3:
            pressed += port.there.recv(100)
        port.there.sendall(b"\r\n" + mark("setup").encode() + b"\r\n")
        while entered == []:
            time.sleep(0.01)
        port.there.setblocking(False)
        with suppress(BlockingIOError):
            pressed += port.there.recv(100)
        time.sleep(0.3)
        with suppress(BlockingIOError):
            late.append(port.there.recv(100))
        port.there.shutdown(socket.SHUT_WR)

    entered, late = list[Phase](), list[bytes]()
    machine = threading.Thread(target=setup)
    machine.start()
    follow(port, Installation(), 1.0, entered.append)
    machine.join()
    assert set(pressed) == set(b"\r")
    assert (entered, late) == ([Phase.SETUP], [])


def test_no_key_is_pressed_for_longer_than_a_loader_may_take_to_ask(
    monkeypatch: pytest.MonkeyPatch, port: Port
) -> None:
    monkeypatch.setattr(installing, "PRESSING", 0.0)
    port.there.shutdown(socket.SHUT_WR)
    follow(port, Installation(), 1.0, lambda _phase: None)
    port.there.setblocking(False)
    with pytest.raises(BlockingIOError):
        port.there.recv(100)


def test_an_installation_whose_first_word_is_lost_goes_on() -> None:
    """Windows PE may have no serial port: what is heard first is Windows itself."""
    assert DEADLINES[Phase.START] >= DEADLINES[Phase.SETUP]
    told, entered, _pressed = follow_machine(mark("specialize").encode() + b"\r\n")
    assert (told.phase, entered) == (Phase.SPECIALIZE, [Phase.SPECIALIZE])


def test_markers_are_read_across_reads_and_line_ends() -> None:
    whole = b"\r\n".join(mark(phase).encode() for phase in ORDER[1:]) + b"\r\n"
    told, entered, _answered = follow_machine(*(whole[at : at + 7] for at in range(0, len(whole), 7)))
    assert told.phase is Phase.SEALED
    assert entered == list(ORDER[1:])


def test_a_phase_has_a_deadline_that_names_it(monkeypatch: pytest.MonkeyPatch, port: Port) -> None:
    monkeypatch.setitem(DEADLINES, Phase.SETUP, 0.3)
    port.there.sendall(mark("setup").encode() + b"\n" + b"noise " * 10)
    start = time.monotonic()
    with pytest.raises(DeadlineMissed, match='did not get through the phase "setup" within'):
        follow(port, Installation(), 1.0, lambda _phase: None)
    assert time.monotonic() - start < 30


def test_a_person_stops_the_wait(monkeypatch: pytest.MonkeyPatch, port: Port) -> None:
    monkeypatch.setattr(installing, "GLANCE", 0.05)
    asked = threading.Event()

    def check() -> None:
        if asked.is_set():
            raise Interrupted("stopped")

    threading.Timer(0.2, asked.set).start()
    with pytest.raises(Interrupted):
        follow(port, Installation(), 1.0, lambda _phase: None, check)


def test_what_a_machine_says_moves_no_cursor() -> None:
    told = Installation()
    for line in ("@labctl-log C:\\x\x1b[2J", "one\x1b]0;title\x07", "@labctl-end"):
        told.read(line)
    told.read('@labctl {"facts": {"edition\\u001b": "Server\\u001b[2J"}}')
    assert told.logs == ["C:\\x[2J", "  one]0;title"]
    assert told.facts == {"edition": "Server[2J"}
    with pytest.raises(LabctlError, match=r"in the machine: no \[2J disc$"):
        told.read('@labctl {"failed": "no \\u001b[2J disc"}')
