import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from labctl.errors import DeadlineMissed
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.events import Change
from tests.hypervisor.descriptions import domain_xml, make_tag

AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def test_watchers_hear_of_every_change_while_they_watch(hypervisor: Hypervisor) -> None:
    changes: list[Change] = []
    heard = threading.Event()

    def note(change: Change) -> None:
        changes.append(change)
        if change.what == "undefined":
            heard.set()

    with hypervisor.watch(note):
        hypervisor.define_domain(domain_xml("dmz-ada-web", make_tag("web")))
        hypervisor.start_domain("dmz-ada-web", "dmz-ada")
        hypervisor.remove_domain("dmz-ada-web", "dmz-ada")
        assert heard.wait(10)
    hypervisor.define_domain(domain_xml("dmz-ada-web", make_tag("web")))
    assert [change.what for change in changes] == ["defined", "started", "stopped", "undefined"]


def test_many_threads_wait_and_ask_over_few_connections() -> None:
    with Hypervisor("test:///default", connections=2) as hypervisor, ThreadPoolExecutor(24) as threads:
        hypervisor.define_domain(domain_xml("dmz-ada-web", make_tag("web"), devices=AGENT))
        hypervisor.start_domain("dmz-ada-web", "dmz-ada")
        waits = [threads.submit(hypervisor.wait_agent, "dmz-ada-web", 1) for _number in range(12)]
        looks = [threads.submit(hypervisor.observe) for _number in range(12)]
        assert all(len(look.result().domains) == 2 for look in looks)
        for wait in waits:
            with pytest.raises(DeadlineMissed):
                wait.result()
        hypervisor.remove_domain("dmz-ada-web", "dmz-ada")


def test_a_closed_door_opens_again(hypervisor: Hypervisor) -> None:
    hypervisor.observe()
    hypervisor.close()
    assert hypervisor.observe().domains
