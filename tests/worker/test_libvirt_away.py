"""A libvirtd that is killed, or hangs: pages go on and say so, and events come again with it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.hypervisor.door import Hypervisor
from labctl.lab.workplace import Workplace
from labctl.plan.names import home_mark
from labctl.worker.client import BlockingClient
from labctl.worker.main import hear
from labctl.worker.office import Office
from labctl.worker.requests import AskHealth, AskMyLabs, Subscribe, Whoami
from labctl.worker.serve import Server
from labctl.worker.wire import NotDone
from tests.hypervisor.daemon import PrivateDaemon, running_daemon
from tests.hypervisor.descriptions import domain_xml, make_tag
from tests.worker.offices import enrol, pace, wait_for

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(180)]

LAB = "dmz-alice"


@pytest.fixture
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        yield private


@pytest.fixture
def office(tmp_path: Path, daemon: PrivateDaemon) -> Iterator[Office]:
    stopping = threading.Event()
    with Hypervisor(daemon.uri, patience=2) as machines:
        place = Workplace.open(machines, {"LABCTL_HOME": str(tmp_path), "LABCTL_URI": daemon.uri})
        define(machines, tmp_path, "web")
        found = Office(place, pace)
        found.open()
        threading.Thread(target=hear, args=(machines, found, stopping), daemon=True).start()
        assert found.watch.looked.wait(30)
        yield found
        stopping.set()
        found.close(1.0)


def define(machines: Hypervisor, home: Path, member: str) -> None:
    tag = replace(make_tag(member, LAB), owner="alice", home=home_mark(str(home)), configured="c")
    machines.define_domain(domain_xml(f"{LAB}.{member}", tag, kind="qemu"))


@pytest.fixture
def client(office: Office, tmp_path: Path) -> Iterator[tuple[BlockingClient, str]]:
    server = Server(office, tmp_path / "worker.sock", {os.geteuid()})
    threading.Thread(target=server.serve, daemon=True).start()
    yield BlockingClient(server.path), enrol(office)["alice"]
    server.stop()


def nodes_of(office: Office) -> int:
    status = office.watch.find(LAB)
    return len(status.nodes) if status else 0


def pages_answer(client: tuple[BlockingClient, str]) -> None:
    start = time.monotonic()
    asking, token = client
    assert asking.ask(Whoami(token=token)).name == "alice"
    assert [lab.lab for lab in asking.ask(AskMyLabs(token=token)).labs] == [LAB]
    assert time.monotonic() - start < 2


def test_a_killed_libvirtd_is_told_on_open_pages_at_once(
    daemon: PrivateDaemon, office: Office, client: tuple[BlockingClient, str]
) -> None:  # F-10
    asking, token = client
    told: list[str] = []

    def listen() -> None:
        with suppress(NotDone):  # the worker ends first
            told.extend(asking.ask(Whoami(token=token)).trouble for event in asking.listen(Subscribe(token=token))
                        if event.kind == "host")  # fmt: skip

    threading.Thread(target=listen, daemon=True).start()
    wait_for(lambda: office.hub.count() == 1)
    assert asking.ask(Whoami(token=token)).trouble == ""
    daemon.send(signal.SIGKILL)
    start = time.monotonic()
    wait_for(lambda: told)
    assert time.monotonic() - start < 5
    assert told[0].startswith("Les machines de cet hôte ne peuvent pas être jointes")
    assert not asking.ask(AskHealth()).libvirt
    pages_answer(client)
    daemon.start()
    wait_for(lambda: asking.ask(AskHealth()).libvirt)
    wait_for(lambda: told[1:] == [""])
    with Hypervisor(daemon.uri) as beside:
        define(beside, office.place.home, "mail")
        wait_for(lambda: nodes_of(office) == 2)
    pages_answer(client)


def test_a_libvirtd_that_hangs(daemon: PrivateDaemon, office: Office, client: tuple[BlockingClient, str]) -> None:
    # F-11
    daemon.send(signal.SIGSTOP)
    try:
        office.watch.look_at()
        wait_for(lambda: not client[0].ask(AskHealth()).libvirt)
        assert client[0].ask(AskHealth(language="en")).said
        pages_answer(client)
    finally:
        daemon.send(signal.SIGCONT)
    wait_for(lambda: client[0].ask(AskHealth()).libvirt)
    pages_answer(client)
