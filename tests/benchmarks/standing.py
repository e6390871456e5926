"""Measures `labctl portal` as it stands on a host: what it costs while nobody does anything, and how soon it tells.

Everything is real but the lab, which is a folder and one machine of libvirt's that is defined and never started.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx2
import libvirt
import psutil

from labctl.lab.site import DEFAULT_URI
from labctl.render.tag import render_tag
from labctl.worker.accounts import Accounts
from labctl.worker.records import Records
from labctl.worker.values import Role
from tests.lab.doubles import World, make_place
from tests.worker.offices import ALICE, CLASS, make_labs, student

LABCTL = Path(sys.executable).with_name("labctl")
TREE = str(Path(__file__).parents[2])
PREFIX = "c4-"  # of names in libvirt; nobody's classes are called so
STREAMS, OF_ONE = 50, 5
CALM, LOOK = 15.0, 65.0  # seconds before, and of, the look at an idle portal: libvirt is asked once a minute
CHANGES = 6
PATIENCE = 120.0  # seconds
MACHINE = """<domain type='qemu'><name>{name}</name><metadata>{tag}</metadata><memory unit='MiB'>32</memory>
<os><type arch='x86_64'>hvm</type></os></domain>"""


@dataclass
class Portal:
    """A running portal."""

    process: subprocess.Popen[str]
    address: str
    context: ssl.SSLContext
    tokens: list[str]
    ready: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    heard: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def follow(self, token: str) -> None:
        """Listen as a page does; note when it was told of a change."""
        cookies = {"__Host-session": token}
        with (
            httpx2.Client(base_url=self.address, verify=self.context, cookies=cookies, timeout=PATIENCE) as client,
            client.stream("GET", f"/events?lab={ALICE}") as answer,
        ):
            for line in answer.iter_lines():
                if line == "event: hello":
                    self.ready.release()
                if line == "event: changed":
                    self.heard.append(time.monotonic())
                if self.ended.is_set():
                    return


def measure(folder: Path) -> dict[str, float]:
    """Return the part of a core and the MB of an idle portal, and the seconds from a change to 50 browsers."""
    shutil.rmtree(folder, ignore_errors=True)
    world = World()
    place = make_place(folder, world)
    make_labs(place, "alice")
    (name,) = [one for one in world.domains if one.endswith(".desk")]
    tag = world.domains[name].tag
    if tag is None:
        raise RuntimeError(name)
    machine = MACHINE.format(name=PREFIX + name, tag=render_tag(tag))
    try:
        with run_portal(folder) as portal:
            return measure_idle(portal) | measure_changes(portal, machine, PREFIX + name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_sessions(home: Path) -> list[str]:
    """Make the accounts of trainers, and return a session of each."""
    accounts = Accounts(Records(home))
    accounts.enrol(CLASS, "sisr2.csv", [student("alice")])
    found = []
    for number in range(STREAMS // OF_ONE):
        accounts.set_account(f"t{number}", f"T {number}", Role.TRAINER, (CLASS,))
        row = accounts.find(f"t{number}")
        if row is None:
            raise RuntimeError(number)
        found.append(accounts.begin_session(row, "", must_choose=False).token)
    return found


@contextmanager
def run_portal(home: Path) -> Iterator[Portal]:
    """Serve a home by the command that people type."""
    tokens = make_sessions(home)
    environment = {**os.environ, "LABCTL_HOME": str(home), "LABCTL_PREFIX": PREFIX, "PYTHONPATH": TREE}
    with subprocess.Popen(
        [LABCTL, "portal", "--host", "127.0.0.1", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError(process.args)
            said = process.stdout.readline()
            port = re.search(r":(\d+)/", said)
            if not port:
                raise RuntimeError(said)
            context = ssl.create_default_context(cafile=str(home / "portal" / "tls" / "certificate.pem"))
            portal = Portal(process, f"https://localhost:{port[1]}", context, tokens)
            wait_until_it_answers(portal)
            yield portal
        finally:
            process.terminate()


def wait_until_it_answers(portal: Portal) -> None:
    """Wait until both processes answer."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(httpx2.HTTPError):
            answer = httpx2.get(f"{portal.address}/health", verify=portal.context, timeout=PATIENCE)
            if answer.status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(portal.address)


def measure_idle(portal: Portal) -> dict[str, float]:
    """Return what both processes take while nobody does anything. PSS counts shared pages once, RSS in each."""
    time.sleep(CALM)
    both = psutil.Process(portal.process.pid).children()
    begun, before = time.monotonic(), used(both)
    time.sleep(LOOK)
    share = (used(both) - before) / (time.monotonic() - begun)
    memory = [one.memory_full_info() for one in both]
    return {
        "idle_percent": share * 100, "pss_mb": sum(one.pss for one in memory) / 1e6,
        "rss_mb": sum(one.rss for one in memory) / 1e6,
    }  # fmt: skip


def used(processes: list[psutil.Process]) -> float:
    """Return the seconds of processor that processes have used."""
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def measure_changes(portal: Portal, machine: str, name: str) -> dict[str, float]:
    """Return the seconds from a machine that is defined, or not any more, to the last of 50 browsers that hears so.

    The median of all changes, and the worst: a host that is full of machines has other things to do now and then.
    """
    threads = [
        threading.Thread(target=portal.follow, args=(token,), daemon=True)
        for token in portal.tokens for _one in range(OF_ONE)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for _one in threads:
        if not portal.ready.acquire(timeout=PATIENCE):
            raise TimeoutError("streams")
    connection = libvirt.open(DEFAULT_URI)
    seconds = []
    try:
        for _change in range(CHANGES):
            time.sleep(2)  # the worker takes each subscription up after its answer; then, between two changes
            portal.heard.clear()
            begun = time.monotonic()
            domain = connection.defineXML(machine)
            seconds.append(wait_for_all(portal) - begun)
            time.sleep(2)
            portal.heard.clear()
            begun = time.monotonic()
            domain.undefine()
            seconds.append(wait_for_all(portal) - begun)
    finally:
        with suppress(libvirt.libvirtError):
            connection.lookupByName(name).undefine()
        connection.close()
        portal.ended.set()
    return {"change_seconds": median(seconds), "change_worst_seconds": max(seconds)}


def wait_for_all(portal: Portal) -> float:
    """Wait until all browsers were told; return when the last was."""
    until = time.monotonic() + PATIENCE
    while len(portal.heard) < STREAMS:
        if time.monotonic() > until:
            raise TimeoutError(f"{len(portal.heard)} of {STREAMS} were told")
        time.sleep(0.005)
    return max(portal.heard)
