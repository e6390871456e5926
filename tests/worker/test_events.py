"""A change in libvirt to an event on a browser's connection: real libvirt events, a real socket, fifty listeners."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.hypervisor.door import Hypervisor
from labctl.lab.workplace import Workplace
from labctl.plan.names import home_mark
from labctl.worker.answers import Event
from labctl.worker.client import BlockingClient
from labctl.worker.events import LONGEST_QUEUE, Hub, Subscriber
from labctl.worker.main import hear
from labctl.worker.office import Office
from labctl.worker.requests import AskHealth, Subscribe
from labctl.worker.serve import Server
from labctl.worker.values import Role
from labctl.worker.wire import NotDone
from tests.hypervisor.descriptions import domain_xml, make_tag
from tests.worker.offices import PATIENCE, enrol, pace, wait_for

LAB, NODE = "dmz-ada", "web"
LISTENERS = 50


class Post:
    """A worker over libvirt's test driver, with one lab of one machine and somebody who may see it."""

    def __init__(self, home: Path, machines: Hypervisor) -> None:
        self.machines = machines
        environment = {"LABCTL_HOME": str(home), "LABCTL_URI": "test:///default"}
        place = Workplace.open(machines, environment)
        tag = replace(make_tag(NODE), home=home_mark(str(home)), configured="c")
        machines.define_domain(domain_xml(f"{LAB}.{NODE}", tag))
        (home / "labs" / LAB).mkdir(parents=True)
        (home / "labs" / LAB / "topology.yml").write_text("name: dmz\nnodes: {web: {}}\n", encoding="utf-8")
        self.office = Office(place, pace)
        self.server = Server(self.office, home / "worker.sock", {os.geteuid()})
        self.stopping = threading.Event()
        self.office.open()
        for target, arguments in ((self.server.serve, ()), (hear, (machines, self.office, self.stopping))):
            threading.Thread(target=target, args=arguments, daemon=True).start()
        assert self.office.watch.looked.wait(PATIENCE)
        enrol(self.office)
        self.office.accounts.set_account("chef", "Chef", Role.ADMIN, ())
        row = self.office.accounts.find("chef")
        assert row
        self.token = self.office.accounts.begin_session(row, "", must_choose=False).token
        self.heard: list[list[tuple[float, Event]]] = []

    def listen(self) -> None:
        """Let one more browser listen."""
        events: list[tuple[float, Event]] = []
        self.heard.append(events)

        def run() -> None:
            try:
                for event in BlockingClient(self.server.path).listen(Subscribe(token=self.token, language="en")):
                    events.append((time.monotonic(), event))  # noqa: PERF401  they come one by one
            except NotDone:
                return

        threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        """Stop it all."""
        self.stopping.set()
        self.server.stop()
        self.office.close(1.0)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with Hypervisor("test:///default") as machines:
        found = Post(tmp_path, machines)
        yield found
        machines.remove_domain(f"{LAB}.{NODE}", LAB)
        found.close()


def test_fifty_browsers_hear_of_a_change_within_a_second(post: Post) -> None:
    for _number in range(LISTENERS):
        post.listen()
    wait_for(lambda: post.office.hub.count() == LISTENERS)
    for act, state in ((post.machines.start_domain, "silent"), (post.machines.destroy_domain, "stopped")):
        start = time.monotonic()
        act(f"{LAB}.{NODE}", LAB)

        def delays(start: float = start, state: str = state) -> list[float]:
            return [
                next((at - start for at, event in events if at > start and event.state == state and event.node), 0.0)
                for events in post.heard
            ]

        wait_for(lambda delays=delays: all(delays()))  # type: ignore[misc]
        assert max(delays()) < 1.0, state


def test_what_happened_unheard_is_found_by_looking(post: Post) -> None:  # F-12
    status = post.office.watch.find(LAB)
    assert status
    assert status.state == "stopped"
    post.stopping.set()
    time.sleep(0.2)
    post.machines.start_domain(f"{LAB}.{NODE}", LAB)
    post.office.watch.look_at()
    wait_for(lambda: (post.office.watch.find(LAB) or status).state != "stopped")


def test_health_over_the_test_driver(post: Post) -> None:
    health = BlockingClient(post.server.path).ask(AskHealth())
    assert (health.worker, health.libvirt, health.said) == (True, True, "")


def test_one_who_does_not_read_is_cut_off_and_keeps_nobody_waiting() -> None:
    hub = Hub()
    slow, quick = (Subscriber(name, name, "en", lambda _lab, _owner: True) for name in ("slow", "quick"))
    hub.add(slow)
    hub.add(quick)
    for _number in range(LONGEST_QUEUE + 10):
        hub.publish(lambda _language: Event(kind="lab"), "lab", "owner")
        assert quick.next(1.0)
    assert slow.cut
    assert slow.next(1.0) is None
    assert not quick.cut


def test_each_hears_in_their_own_language() -> None:
    hub = Hub()
    people = [Subscriber(name, name, name, lambda _lab, _owner: True) for name in ("fr", "en")]
    for one in people:
        hub.add(one)
    hub.publish(lambda language: Event(kind="lab", words=language), "lab", "owner")
    assert [(one.next(1.0) or Event(kind="?")).words for one in people] == ["fr", "en"]
