"""Consoles of real pseudo-terminals and a small VNC server: shared, only looked at, taken over, cut, and given back."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from labctl.errors import LabctlError
from labctl.worker.answers import ConsoleOpened
from labctl.worker.consoles import MOST_OF_ONE, Consoles
from labctl.worker.opened import Opened
from labctl.worker.terminal import PATIENCE
from labctl.worker.tickets import Grant, Holder
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone
from tests.worker.machines import HEIGHT, KEY, WIDTH, Machines

HELLO = b"RFB 003.008\n\1"
ASK_ALL = b"\3\0" + bytes(4) + WIDTH.to_bytes(2, "big") + HEIGHT.to_bytes(2, "big")
A_DOWN = bytes([KEY, 1, 0, 0]) + (97).to_bytes(4, "big")


@dataclass
class Page:
    """One browser's side: the descriptor, the control connection, and what was told there."""

    about: ConsoleOpened
    stream: socket.socket
    control: socket.socket
    opened: Opened
    notices: list[dict[str, Any]] = field(default_factory=list)
    rest: bytes = b""

    def say(self, **what: int) -> None:
        self.control.sendall(json.dumps(what).encode() + b"\n")

    def told(self, notice: str) -> dict[str, Any]:
        """Wait for a notice of this kind."""
        while True:
            while b"\n" in self.rest:
                line, _newline, self.rest = self.rest.partition(b"\n")
                self.notices.append(json.loads(line))
                if self.notices[-1]["notice"] == notice:
                    return self.notices[-1]
            heard = self.control.recv(4096)
            assert heard, f"the end without a notice, after {self.notices}"
            self.rest += heard

    def sees(self, wanted: bytes) -> bytes:
        """Wait until the machine has shown something."""
        shown = b""
        while wanted not in shown:
            chunk = self.stream.recv(1 << 16)
            assert chunk, f"the end after {shown!r}"
            shown += chunk
        return shown

    def ended(self) -> bool:
        while True:
            try:
                if not self.stream.recv(1 << 16):
                    return True
            except ConnectionError:
                return True
            except TimeoutError:
                return False

    def close(self) -> None:
        self.stream.close()
        self.control.close()


class School:
    """A worker's consoles, and those who open them."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.machines = Machines()
        self.consoles = Consoles(self.machines, patience=patience)
        self.pages: list[Page] = []
        self.threads: list[threading.Thread] = []
        self.allowed = True

    def open(
        self, account: str, mode: ConsoleMode = ConsoleMode.TEXT, *, view_only: bool = False, take_over: bool = False
    ) -> Page:
        holder = Holder(account, f"session of {account}", "dmz-ada", "web", mode)
        ticket = self.consoles.issue(Grant(holder, account.title(), view_only, take_over))
        about, opened = self.consoles.open(ticket, holder)
        assert opened.descriptor is not None
        stream = socket.socket(fileno=opened.descriptor.dup().detach())
        opened.release()
        stream.settimeout(10)
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        thread = threading.Thread(target=self.follow, args=(opened, theirs))
        thread.start()
        self.threads.append(thread)
        page = Page(about, stream, ours, opened)
        page.say()
        self.pages.append(page)
        return page

    def follow(self, opened: Opened, control: socket.socket) -> None:
        with control:
            opened.follow(control, lambda: self.allowed)
            self.consoles.close(opened)

    def close(self) -> None:
        for page in self.pages:
            page.close()
        for thread in self.threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self.threads)
        assert self.consoles.viewers() == ()
        assert all(stream.closed.wait(10) for stream in [*self.machines.streams, *self.machines.shells])


@pytest.fixture
def school() -> Iterator[School]:
    found = School()
    yield found
    found.close()


def eventually(fact: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not fact():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_what_is_typed_reaches_the_machine_and_comes_back(school: School) -> None:
    page = school.open("ada")
    page.stream.sendall("echo é$((6*7))à\n".encode())
    assert page.sees("é42à".encode())


def test_the_serial_console_is_given_back_and_opened_again(school: School) -> None:
    page = school.open("ada")
    page.sees(b"#")
    page.close()
    assert school.machines.streams[0].closed.wait(10)
    assert school.open("ada").sees(b"#")
    assert len(school.machines.streams) == 2


def test_a_trainer_watches_and_types_nothing(school: School) -> None:
    student = school.open("ada")
    student.stream.sendall(b"echo $((6*7))\n")
    student.sees(b"42")
    trainer = school.open("marc", view_only=True)
    assert trainer.sees(b"42"), "who comes later sees what was there"
    trainer.stream.sendall(b"echo $((7*9))\n")
    student.stream.sendall(b"echo $((8*8))\n")
    assert b"63" not in trainer.sees(b"64")
    assert b"63" not in student.sees(b"64")
    assert len(school.machines.streams) == 1


def test_two_who_act_share_one_console_and_know_of_each_other(school: School) -> None:
    student = school.open("ada")
    assert student.told("people")["people"] == []
    trainer = school.open("marc")
    assert trainer.about.holders == ("Ada",)
    assert student.told("people")["people"] == [{"name": "Marc", "mode": "text", "view_only": False}]
    trainer.stream.sendall(b"echo $((6*7))\n")
    student.sees(b"42")
    trainer.close()
    assert student.told("people")["people"] == []


def test_who_holds_it_elsewhere_is_told_and_can_be_taken_over(school: School) -> None:
    school.machines.held = True
    with pytest.raises(NotDone) as caught:
        school.open("ada")
    assert caught.value.refusal is Refusal.NOT_NOW
    assert school.open("ada", take_over=True).sees(b"#")


def test_a_console_that_was_taken_over_says_so(school: School) -> None:
    page = school.open("ada")
    school.machines.streams[0].stop()
    assert page.told("end")["why"] == "taken_over"
    assert page.ended()


def test_a_machine_that_stops_says_so(school: School) -> None:
    page = school.open("ada")
    school.machines.running = False
    school.machines.streams[0].stop()
    assert page.told("end")["why"] == "stopped"


@pytest.mark.parametrize("view_only", [False, True])
@pytest.mark.parametrize("mode", [ConsoleMode.GRAPHICS, ConsoleMode.TEXT])
def test_a_machine_that_goes_off_says_so_whatever_is_known_first(
    school: School, mode: ConsoleMode, view_only: bool
) -> None:
    page = school.open("ada", mode, view_only=view_only)
    school.machines.go_off()
    assert page.told("end")["why"] == "stopped"
    assert page.ended()


@pytest.mark.parametrize("view_only", [False, True])
def test_a_screen_that_a_running_machine_closes_is_no_machine_that_is_off(school: School, view_only: bool) -> None:
    page = school.open("ada", ConsoleMode.GRAPHICS, view_only=view_only)
    school.machines.screens[0].stop()
    assert page.told("end")["why"] == "ended"


def test_a_libvirt_that_goes_away_is_neither_taken_over_nor_off(school: School) -> None:  # F-10
    page = school.open("ada")
    school.machines.streams[0].libvirt = False
    school.machines.streams[0].stop()
    assert page.told("end")["why"] == "away"
    school.machines.reachable = False
    page = school.open("ada", ConsoleMode.GRAPHICS)
    school.machines.screens[0].stop()
    assert page.told("end")["why"] == "away"


@pytest.mark.parametrize("why", ["gone", "slow", "stuck", "nonsense"])
def test_the_web_process_says_what_was_wrong_with_a_page(school: School, why: str) -> None:
    page = school.open("ada")
    page.control.sendall(json.dumps({"why": why}).encode() + b"\n")
    assert page.told("end")["why"] == why
    assert page.ended()


@pytest.mark.parametrize("mode", ConsoleMode)
@pytest.mark.parametrize("view_only", [False, True])
def test_a_right_that_ends_cuts_everything_at_once(
    school: School, mode: ConsoleMode, view_only: bool
) -> None:  # SEC-19
    if mode is ConsoleMode.SSH and view_only:
        school.open("ada", mode)
    page = school.open("leo", mode, view_only=view_only)
    other = school.open("eva", ConsoleMode.GRAPHICS)
    unused = Holder("leo", "session of leo", "dmz-ada", "web", mode)
    ticket = school.consoles.issue(Grant(unused, "Leo"))
    began = time.monotonic()
    assert school.consoles.cut(lambda grant: grant.holder.account == "leo") == 1
    assert page.ended()
    assert page.told("end")["why"] == "rights"
    assert time.monotonic() - began < 1
    with pytest.raises(NotDone):
        school.consoles.open(ticket, unused)
    other.stream.sendall(HELLO + b"\1")
    assert other.sees(b"labctl"), "others go on"


def test_a_right_that_is_gone_is_found_without_being_told(school: School) -> None:
    page = school.open("ada")
    school.allowed = False
    page.say(columns=80, rows=24)
    assert page.told("end")["why"] == "rights"


def test_a_screen_goes_straight_to_the_machine(school: School) -> None:
    page = school.open("ada", ConsoleMode.GRAPHICS)
    page.stream.sendall(HELLO + b"\1" + ASK_ALL + A_DOWN)
    assert page.sees(b"\1\2\3\0")
    assert school.machines.screens[0].wait(lambda found: found[-1] == A_DOWN)


def test_a_screen_that_is_watched_takes_no_keys(school: School) -> None:
    page = school.open("marc", ConsoleMode.GRAPHICS, view_only=True)
    assert page.about.view_only
    page.stream.sendall(HELLO + b"\0" + A_DOWN + ASK_ALL)
    assert school.machines.screens[0].wait(lambda found: found == [ASK_ALL])
    assert school.machines.screens[0].shared, "who watches throws nobody out"
    page.stream.sendall(b"\xc8 no message of VNC")
    assert page.ended()


def test_a_screen_ends_with_its_machine(school: School) -> None:
    for view_only in (False, True):
        page = school.open("ada", ConsoleMode.GRAPHICS, view_only=view_only)
        school.machines.screens[-1].stop()
        assert page.ended()


def test_a_shell_is_ones_own_has_a_size_and_can_be_watched(school: School) -> None:
    with pytest.raises(NotDone, match="nobody has an SSH terminal"):
        school.open("marc", ConsoleMode.SSH, view_only=True)
    first, second = school.open("ada", ConsoleMode.SSH), school.open("ada", ConsoleMode.SSH)
    second.say(columns=132, rows=43)
    assert eventually(lambda: school.machines.shells[1].sizes == [(132, 43)])
    second.stream.sendall(b"stty size\n")
    second.sees(b"43 132")
    trainer = school.open("marc", ConsoleMode.SSH, view_only=True)
    trainer.say(columns=20, rows=5)
    trainer.sees(b"43 132")
    first.stream.sendall(b"exit\n")
    assert first.told("end")["why"] == "ended"
    assert school.machines.shells[1].sizes == [(132, 43)]


@pytest.mark.parametrize("line", [b"{\n", b'{"columns": 100000, "rows": 1}\n', b'{"who": 1}\n', b"x" * 300])
def test_nonsense_about_a_console_ends_it(school: School, line: bytes) -> None:
    page = school.open("ada")
    page.control.sendall(line)
    assert page.ended()


def test_one_who_does_not_read_holds_the_others_up_for_a_while_only() -> None:  # F-36
    school = School(patience=0.3)
    reader = school.open("ada")
    sleeper = school.open("leo")
    reader.stream.sendall(b"yes 0123456789abcdef | head -c 3000000; echo; echo $((6*7))\n")
    assert reader.sees(b"\r\n42\r\n")
    assert sleeper.told("end")["why"] == "slow"
    school.close()


def test_a_machine_that_takes_no_keys_goes_on_showing(school: School) -> None:
    page = school.open("ada")
    page.stream.sendall(b"while sleep 0.1; do echo $((6*7)); done\n")
    page.sees(b"42")
    school.machines.streams[0].accepting = False
    page.stream.sendall(b"x" * 4096)
    page.sees(b"42\r\n42")
    page.close()
    assert school.machines.streams[0].closed.wait(10)


def test_nobody_opens_consoles_without_end(school: School) -> None:
    for _number in range(MOST_OF_ONE):
        school.open("ada", ConsoleMode.GRAPHICS)
    with pytest.raises(NotDone) as caught:
        school.open("ada", ConsoleMode.GRAPHICS)
    assert caught.value.refusal is Refusal.TOO_MANY
    school.open("leo", ConsoleMode.GRAPHICS)


def test_a_machine_that_is_off_says_so_and_leaves_nothing(school: School) -> None:
    school.machines.running = False
    with pytest.raises(LabctlError, match="switched off"):
        school.open("ada", ConsoleMode.GRAPHICS)
    assert school.consoles.viewers() == ()
