"""A host's disk that is full under running guests, and while their memory is saved."""

import time
from collections.abc import Iterator

import pytest

from labctl.errors import LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.plan.observed import DomainState
from tests.hypervisor.boot_sector import disk_xml, write_greedy_disk
from tests.hypervisor.daemon import PrivateDaemon, running_daemon
from tests.hypervisor.descriptions import domain_xml, make_tag
from tests.small_disk import mount_small_disk

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(240)]

LAB, NAME = "dmz-ada", "lctest-full"


@pytest.fixture
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        yield private


@pytest.fixture
def door(daemon: PrivateDaemon) -> Iterator[Hypervisor]:
    with Hypervisor(daemon.uri, patience=20) as hypervisor:
        yield hypervisor


def state(door: Hypervisor) -> tuple[DomainState, str]:
    return next((one.state, one.reason) for one in door.observe().domains if one.name == NAME)


def wait_state(door: Hypervisor, wanted: DomainState) -> None:
    until = time.monotonic() + 60
    while state(door)[0] is not wanted:
        assert time.monotonic() < until, state(door)
        time.sleep(0.1)


def test_a_guest_stopped_by_a_full_disk_runs_on_after_freeing(daemon: PrivateDaemon, door: Hypervisor) -> None:
    # F-16, T12
    with mount_small_disk(daemon.folder / "small", "2m") as small:
        devices = disk_xml(write_greedy_disk(small.folder / "greedy.raw"))
        door.define_domain(domain_xml(NAME, make_tag("web"), kind="qemu", devices=devices))
        door.start_domain(NAME, LAB)
        wait_state(door, DomainState.PAUSED)
        assert state(door)[1] == "ioerror"
        door.start_domain(NAME, LAB)  # while it is full, it stops again
        wait_state(door, DomainState.PAUSED)
        small.grow("80m")
        door.start_domain(NAME, LAB)
        time.sleep(3)  # its whole disk of 64 MiB fits now
        assert state(door)[0] is DomainState.RUNNING
        door.remove_domain(NAME, LAB)


def test_memory_that_does_not_fit_is_not_saved_and_the_guest_goes_on(daemon: PrivateDaemon, door: Hypervisor) -> None:
    # F-15
    door.define_domain(domain_xml(NAME, make_tag("web"), kind="qemu"))
    door.start_domain(NAME, LAB)
    with mount_small_disk(daemon.folder / "small", "64k") as small:
        path = small.folder / "web.save"
        with pytest.raises(LabctlError):
            door.save_domain(NAME, LAB, path)
        assert list(small.folder.iterdir()) == []
        assert state(door)[0] is DomainState.RUNNING
        small.grow("64m")
        door.save_domain(NAME, LAB, path)
        assert [one.name for one in small.folder.iterdir()] == ["web.save"]
        assert state(door)[0] is DomainState.STOPPED
        path.unlink()
    door.remove_domain(NAME, LAB)
