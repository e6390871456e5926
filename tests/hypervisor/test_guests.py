"""The door against a libvirtd of its own and guests without an operating system."""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from labctl.errors import Busy, DeadlineMissed, HostNotReady, LabctlError, Refused
from labctl.hypervisor.console import Console
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.events import Change
from labctl.hypervisor.failure import Lost
from labctl.plan.observed import DomainState, SeenDomain
from tests.hypervisor.boot_sector import disk_xml, write_echo_disk, write_greedy_disk
from tests.hypervisor.daemon import PrivateDaemon, running_daemon
from tests.hypervisor.descriptions import domain_xml, make_tag

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(120)]

LAB, NAME = "dmz-ada", "lctest-web"
AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        yield private


@pytest.fixture
def door(daemon: PrivateDaemon) -> Iterator[Hypervisor]:
    with Hypervisor(daemon.uri, patience=10) as hypervisor:
        yield hypervisor
        hypervisor.remove_domain(NAME, LAB)


def make_guest(door: Hypervisor, devices: str = AGENT) -> None:
    door.define_domain(domain_xml(NAME, make_tag("web"), kind="qemu", devices="<serial type='pty'/>" + devices))


def seen(door: Hypervisor) -> SeenDomain:
    return next(domain for domain in door.observe().domains if domain.name == NAME)


def test_many_doors_start_one_guest_at_once(daemon: PrivateDaemon, door: Hypervisor) -> None:  # T14
    make_guest(door)
    gate = threading.Barrier(4)

    def start(_number: int) -> None:
        with Hypervisor(daemon.uri, connections=1) as other:
            other.observe()
            gate.wait()
            other.start_domain(NAME, LAB)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(start, range(4))) == [None] * 4
    assert seen(door).state is DomainState.RUNNING


def test_a_killed_guest_is_seen_as_crashed_and_starts_again(daemon: PrivateDaemon, door: Hypervisor) -> None:  # F-13
    make_guest(door)
    door.start_domain(NAME, LAB)
    changes: list[Change] = []
    stopped = threading.Event()

    def note(change: Change) -> None:
        changes.append(change)
        if change.what == "stopped":
            stopped.set()

    with door.watch(note):
        os.kill(daemon.pid_of(NAME), signal.SIGKILL)
        assert stopped.wait(30)
    assert (seen(door).state, seen(door).reason) == (DomainState.CRASHED, "crashed")
    assert changes[-1] == Change(NAME, "stopped")
    door.start_domain(NAME, LAB)
    assert seen(door).state is DomainState.RUNNING


def test_an_agent_that_never_answers_is_named_at_the_deadline(door: Hypervisor) -> None:  # F-27
    make_guest(door)
    door.start_domain(NAME, LAB)
    with pytest.raises(DeadlineMissed, match=r'agent of "web".*1 s') as caught:
        door.wait_agent(NAME, 1)
    assert caught.value.hint == "labctl logs dmz-ada web"


def test_waiting_ends_at_once_when_the_guest_dies(daemon: PrivateDaemon, door: Hypervisor) -> None:  # F-13 F-14
    make_guest(door)
    door.start_domain(NAME, LAB)
    threading.Timer(1, os.kill, (daemon.pid_of(NAME), signal.SIGKILL)).start()
    began = time.monotonic()
    with pytest.raises(LabctlError, match='"web" crashed'):
        door.wait_agent(NAME, 60)
    assert time.monotonic() - began < 20


def test_waiting_for_what_cannot_come_fails_at_once(door: Hypervisor) -> None:
    with pytest.raises(LabctlError, match="does not exist"):
        door.wait_agent(NAME, 60)
    make_guest(door, devices="")
    with pytest.raises(LabctlError, match="switched off"):
        door.wait_agent(NAME, 60)
    door.start_domain(NAME, LAB)
    with pytest.raises(LabctlError, match="no channel"):
        door.wait_agent(NAME, 60)


def test_a_full_host_disk_is_told_in_words(daemon: PrivateDaemon, door: Hypervisor) -> None:  # F-16 T12
    small = daemon.folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", small], check=False).returncode:
        pytest.skip("only root may mount the small file system that this test fills")
    try:
        make_guest(door, AGENT + disk_xml(write_greedy_disk(small / "greedy.raw")))
        door.start_domain(NAME, LAB)
        with pytest.raises(LabctlError, match=r'"web" is suspended because the disk of this host is full.*hda'):
            door.wait_agent(NAME, 60)
        assert (seen(door).state, seen(door).reason) == (DomainState.PAUSED, "ioerror")
        door.remove_domain(NAME, LAB)
        assert (small / "greedy.raw").exists()  # the door never deletes a disk
    finally:
        subprocess.run(["umount", small], check=True)


def read_until(console: Console, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        assert select.select([console], [], [], 30)[0], f"nothing more after {data!r}"
        chunk = console.read()
        assert chunk, f"the console ended after {data!r}"
        data += chunk
    return data


def test_the_console_speaks_both_ways_and_can_be_taken_over(daemon: PrivateDaemon, door: Hypervisor) -> None:  # F-36 T9
    make_guest(door, disk_xml(write_echo_disk(daemon.folder / "echo.raw")))
    with pytest.raises(LabctlError, match="switched off"):
        door.open_console(NAME, LAB)
    door.start_domain(NAME, LAB)
    with door.open_console(NAME, LAB) as first:
        first.write(b"bonjour")
        assert read_until(first, b"bonjour")
        with pytest.raises(Busy) as caught:
            door.open_console(NAME, LAB)
        assert caught.value.hint == "labctl console dmz-ada web --force"
        with door.open_console(NAME, LAB, force=True) as second:
            assert first.read() == b""
            second.write(b"encore")
            assert read_until(second, b"encore")
    with door.open_console(NAME, LAB) as third:
        door.destroy_domain(NAME, LAB)
        assert third.read() == b""


def test_a_console_tells_a_daemon_that_was_killed_from_a_guest_that_ended(
    daemon: PrivateDaemon, door: Hypervisor
) -> None:  # F-10
    make_guest(door, disk_xml(write_echo_disk(daemon.folder / "echo.raw")))
    door.start_domain(NAME, LAB)
    with door.open_console(NAME, LAB) as console:
        daemon.send(signal.SIGKILL)
        with pytest.raises(Lost):
            console.read()
        with pytest.raises(Lost):
            console.write(b"nobody hears this")
        daemon.start()
    assert seen(door).state is DomainState.RUNNING
    with door.open_console(NAME, LAB) as again:
        again.write(b"encore")
        assert read_until(again, b"encore")


def test_a_foreign_guest_of_that_name_keeps_running(daemon: PrivateDaemon, door: Hypervisor) -> None:  # F-25
    virsh = daemon.connect()
    foreign = virsh.defineXML(domain_xml("lctest-foreign", kind="qemu"))
    foreign.create()
    before = foreign.XMLDesc()
    with pytest.raises(Refused):
        door.define_domain(domain_xml("lctest-foreign", make_tag("web"), kind="qemu"))
    with pytest.raises(Refused):
        door.remove_domain("lctest-foreign", LAB)
    assert foreign.isActive()
    assert foreign.XMLDesc() == before
    foreign.destroy()
    foreign.undefine()
    virsh.close()


def test_a_killed_daemon_is_reached_again_and_its_events_too(daemon: PrivateDaemon, door: Hypervisor) -> None:
    # F-10 T13: the guest lives on, every handle is dead, and the same calls go on
    make_guest(door)
    door.start_domain(NAME, LAB)
    reconnected = threading.Event()

    def note(change: Change) -> None:
        if change == Change("", "reconnected"):
            reconnected.set()

    with door.watch(note), ThreadPoolExecutor(3) as threads:
        waits = [threads.submit(door.wait_agent, NAME, 60) for _number in range(3)]
        time.sleep(1)  # all three sleep on their bell
        daemon.send(signal.SIGKILL)
        time.sleep(1)
        daemon.start()
        assert seen(door).state is DomainState.RUNNING
        assert reconnected.wait(20)
        time.sleep(2)  # the daemon has found its guests again, the threads sleep again
        os.kill(daemon.pid_of(NAME), signal.SIGKILL)
        for wait in waits:
            with pytest.raises(LabctlError, match='"web" crashed'):
                wait.result(timeout=25)  # below the interval at which waits look again without an event


def test_a_daemon_that_stays_down_is_told_with_its_cure(daemon: PrivateDaemon) -> None:  # F-10
    with Hypervisor(daemon.uri, patience=1) as door:
        door.observe()
        daemon.send(signal.SIGTERM)
        try:
            with pytest.raises(HostNotReady) as caught:
                door.observe()
            assert "libvirtd" in caught.value.hint
        finally:
            daemon.start()
        door.observe()


def test_a_daemon_that_hangs_does_not_hold_us_for_ever(daemon: PrivateDaemon) -> None:  # F-11
    with Hypervisor(daemon.uri, patience=1) as door:
        door.observe()
        daemon.send(signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(HostNotReady, match="hangs"):
                door.observe()
            assert time.monotonic() - began < 40
        finally:
            daemon.send(signal.SIGCONT)
        door.observe()


def test_no_daemon_at_all_is_told_at_once(tmp_path: Path) -> None:  # F-10
    began = time.monotonic()
    with (
        Hypervisor(f"qemu+unix:///session?socket={tmp_path}/none") as door,
        pytest.raises(HostNotReady, match="cannot be reached"),
    ):
        door.observe()
    assert time.monotonic() - began < 5


def find_size(picture: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(picture), formats=("PPM", "PNG")) as found:  # by QEMU's version
        return found.size


def test_the_screen_of_a_guest_is_pictured_while_it_runs_and_while_it_stands_still(door: Hypervisor) -> None:
    make_guest(door, "<graphics type='vnc'><listen type='none'/></graphics><video><model type='vga'/></video>")
    with pytest.raises(LabctlError):
        door.take_picture(NAME, LAB)  # switched off
    door.start_domain(NAME, LAB)
    running = find_size(door.take_picture(NAME, LAB))
    assert running >= (640, 400)
    door.suspend_domain(NAME, LAB)
    assert find_size(door.take_picture(NAME, LAB)) == running
    assert f"<name>{NAME}</name>" in door.describe_domain(NAME, LAB)
    for ask in (door.take_picture, door.describe_domain):
        with pytest.raises(Refused):
            ask(NAME, "dmz-bob")
