"""A daemon that dies or hangs while a machine is made from its saved state."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from labctl.errors import HostNotReady
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.saved_state import load_saved_state
from labctl.plan.observed import DomainState
from tests.hypervisor.daemon import PrivateDaemon, running_daemon
from tests.hypervisor.descriptions import domain_xml, make_tag

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(240)]

LAB, GOLD, CLONE = "dmz-ada", "lctest-gold", "lctest-clone"


@pytest.fixture
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        yield private


@pytest.fixture
def saved(daemon: PrivateDaemon) -> Path:
    path = daemon.folder / "state" / "gold.save"
    with Hypervisor(daemon.uri) as door:
        door.define_domain(domain_xml(GOLD, make_tag("web"), kind="qemu", devices="<serial type='pty'/>"))
        door.start_domain(GOLD, LAB)
        door.save_domain(GOLD, LAB, path)
    return path


def clone_xml(saved: Path) -> str:
    root = ElementTree.fromstring(load_saved_state(saved).xml)
    for name, text in (("name", CLONE), ("uuid", str(uuid4()))):
        element = root.find(name)
        assert element is not None
        element.text = text
    return ElementTree.tostring(root, encoding="unicode")


def when_delivered(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Act in the moment in which a FIFO is there for libvirt."""

    def watch() -> None:
        end = time.monotonic() + 60
        while not list(folder.glob(".restore-*")):
            assert time.monotonic() < end
            time.sleep(0.001)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def check_nothing_is_left(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["gold.save"]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_a_daemon_killed_in_the_middle_ends_in_one_whole_machine(daemon: PrivateDaemon, saved: Path) -> None:
    # F-10: the work is done again on the daemon that comes back, from the head of the stream
    def kill() -> None:
        daemon.send(signal.SIGKILL)
        daemon.start()

    with Hypervisor(daemon.uri, patience=60) as door:
        door.observe()
        thread = when_delivered(saved.parent, kill)
        door.restore_domain(saved, clone_xml(saved), CLONE, running=True)
        thread.join()
        states = {domain.name: domain.state for domain in door.observe().domains}
    assert states[CLONE] is DomainState.RUNNING
    check_nothing_is_left(saved.parent)


def test_a_daemon_that_hangs_in_the_middle_holds_nobody_up(daemon: PrivateDaemon, saved: Path) -> None:  # F-11
    with Hypervisor(daemon.uri, patience=1) as door:
        door.observe()
        thread = when_delivered(saved.parent, lambda: daemon.send(signal.SIGSTOP))
        began = time.monotonic()
        try:
            with pytest.raises(HostNotReady, match="hangs"):
                door.restore_domain(saved, clone_xml(saved), CLONE, running=True)
            assert time.monotonic() - began < 60
            check_nothing_is_left(saved.parent)
        finally:
            thread.join()
            daemon.send(signal.SIGCONT)
    with Hypervisor(daemon.uri) as door:
        # what the hung daemon finished in the meantime is in nobody's way
        door.remove_domain(CLONE, LAB)
        door.restore_domain(saved, clone_xml(saved), CLONE, running=False)
        assert {domain.name: domain.state for domain in door.observe().domains}[CLONE] is DomainState.PAUSED
    check_nothing_is_left(saved.parent)
