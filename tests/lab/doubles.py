"""Stand-ins for the outside worlds of a lab, behind its Protocols: they keep state, count calls and fail on demand."""

import ast
import json
import os
import signal
import threading
import time
from collections.abc import Mapping, MutableMapping, MutableSet, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from labctl import playbook
from labctl.errors import DeadlineMissed, LabctlError, Refused
from labctl.hypervisor.agent import Ended
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Versions
from labctl.hypervisor.saved_state import Compression, SavedState, StateNotUsable, load_saved_state, write_header
from labctl.images.store import Image, ImageSpec
from labctl.lab.workplace import Workplace
from labctl.monitor import Monitor
from labctl.plan.observed import DomainState, Observed, SeenDomain, SeenNetwork
from labctl.playbook import NodeReport, Report, TaskFailure
from labctl.render.tag import parse_tag, render_tag
from labctl.ssh import Answer, Login, Unreachable
from labctl.store import Store
from tests.lab.kept import Kept, KeptSet
from tests.worlds import catalogue


class Crash(BaseException):
    """The process dies here: nothing that catches errors may see it."""


class Fault:
    """Counts calls to the outside; at call `at` it raises."""

    def __init__(self, at: int = 0, error: type[BaseException] = Crash) -> None:
        self.at = at
        self.error = error
        self.calls = 0
        self.lock = threading.Lock()

    def count(self) -> None:
        """Note one call, or raise."""
        with self.lock:
            self.calls += 1
            if self.calls == self.at:
                self.strike()

    def strike(self) -> None:
        """Do what goes wrong."""
        raise self.error("injected")


class Kill(Fault):
    """At its call the whole process is gone: no `finally` runs, in no thread."""

    def strike(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Halt(Fault):
    """At its call the run says so with a file, and goes on when that file is gone."""

    def __init__(self, at: int, sign: Path) -> None:
        super().__init__(at)
        self.sign = sign

    def strike(self) -> None:
        self.sign.touch()
        while self.sign.exists():
            time.sleep(0.01)


FRESH, EMPTY = "clone", "nothing"  # what the disk of a clone, and one on no other, holds until somebody writes there
PERSONAL = "a clone that knows its owner"


def disk_of(xml: str) -> Path:
    """Return the disk that the system of a machine is on."""
    source, *_others = ElementTree.fromstring(xml).findall("devices/disk[@device='disk']/source")
    return Path(source.get("file", ""))


def read_disk(xml: str) -> str:
    """Return what is on the disk of a machine."""
    disk = disk_of(xml)
    return disk.read_text(errors="replace") if disk.exists() else ""


class World:
    """Domains and networks that outlive a run, as libvirt's do; in a folder, they outlive the process too."""

    def __init__(self, folder: Path | None = None) -> None:
        self.domains: MutableMapping[str, SeenDomain] = Kept(folder / "domains") if folder else {}
        self.networks: MutableMapping[str, SeenNetwork] = Kept(folder / "networks") if folder else {}
        self.links: set[str] = set()  # of the host, beside the networks' own
        self.silent: set[str] = set()
        self.once_silent: set[str] = set()  # they answer from the second time on
        self.xml: MutableMapping[str, str] = Kept(folder / "xml") if folder else {}
        self.personal: MutableSet[str] = KeptSet(folder / "personal") if folder else set()
        # what a machine holds until its power is cut
        self.memory: MutableMapping[str, str] = Kept(folder / "memory") if folder else {}
        self.cold = False  # whether saved memory is refused
        self.full = False  # whether there is no room for saved memory
        self.closed = False  # whether every probe is refused


class Machines:
    """A hypervisor in memory."""

    def __init__(self, world: World, fault: Fault) -> None:
        self.world = world
        self.fault = fault

    def observe(self, start: str = "") -> Observed:  # noqa: ARG002  more may be told than was asked for
        # Others may remove one between the list and the look, as with libvirt.
        domains = map(self.world.domains.get, list(self.world.domains))
        networks = tuple(filter(None, map(self.world.networks.get, list(self.world.networks))))
        return Observed(
            domains=tuple(filter(None, domains)),
            networks=networks,
            links=frozenset({*self.world.links, *(network.bridge for network in networks)}),
        )

    def qemu_owner(self) -> tuple[int, int]:
        return -1, -1  # chown(2): leave the owner as it is

    def create_network(self, xml: str, *, validated: bool = False) -> None:  # noqa: ARG002
        self.fault.count()
        root = ElementTree.fromstring(xml)
        name, bridge = root.findtext("name", ""), root.find("bridge")
        seen = SeenNetwork(name, root.findtext("uuid", ""), "" if bridge is None else bridge.get("name", ""), True)
        self.own_or_new(self.world.networks.get(name), xml)
        self.world.networks[name] = replace(seen, tag=parse_tag(xml))
        self.fault.count()

    def remove_network(self, name: str, lab: str) -> None:
        self.fault.count()
        self.own(self.world.networks.get(name), lab)
        self.world.networks.pop(name, None)
        self.fault.count()

    def define_domain(self, xml: str, *, validated: bool = False) -> None:  # noqa: ARG002
        self.fault.count()
        root = ElementTree.fromstring(xml)
        name = root.findtext("name", "")
        self.own_or_new(self.world.domains.get(name), xml)
        self.world.xml[name] = xml
        if read_disk(xml) == FRESH:
            self.world.personal.discard(name)
        self.world.domains[name] = SeenDomain(name, root.findtext("uuid", ""), DomainState.STOPPED, tag=parse_tag(xml))
        self.fault.count()

    def start_domain(self, name: str, lab: str) -> None:
        self.fault.count()
        self.own(self.world.domains[name], lab)
        self.world.domains[name] = replace(self.world.domains[name], state=DomainState.RUNNING)
        self.fault.count()

    def remove_domain(self, name: str, lab: str) -> None:
        self.fault.count()
        self.own(self.world.domains.get(name), lab)
        self.world.domains.pop(name, None)
        self.world.memory.pop(name, None)
        self.fault.count()

    def mark_configured(self, name: str, lab: str, configured: str) -> None:
        self.fault.count()
        domain = self.world.domains[name]
        self.own(domain, lab)
        assert domain.tag is not None
        self.world.domains[name] = replace(domain, tag=replace(domain.tag, configured=configured))
        self.fault.count()

    def wait_agent(self, name: str, deadline: float) -> None:
        self.fault.count()
        if name in self.world.silent or name in self.world.once_silent:
            self.world.once_silent.discard(name)
            raise DeadlineMissed(f"{name}: no agent within {deadline:.0f} s")

    def own(self, seen: SeenDomain | SeenNetwork | None, lab: str) -> None:
        """Assert what the door checks: nothing foreign is touched."""
        assert seen is None or (seen.tag is not None and seen.tag.seat_name == lab), f"touched {seen}"

    def own_or_new(self, seen: SeenDomain | SeenNetwork | None, xml: str) -> None:
        """Assert that what is about to be described is ours: by this lab, from this home."""
        tag = parse_tag(xml)
        assert tag is not None
        self.own(seen, tag.lab)
        assert seen is None or seen.tag is None or seen.tag.home == tag.home, f"touched {seen}"


class Freezer(Machines):
    """The same hypervisor, for memory."""

    def suspend_domain(self, name: str, lab: str) -> None:
        self.fault.count()
        self.own(self.world.domains[name], lab)
        if self.world.domains[name].state is DomainState.STOPPED:
            raise LabctlError(f"{name} is not running")
        self.world.domains[name] = replace(self.world.domains[name], state=DomainState.PAUSED)

    def save_domain(self, name: str, lab: str, path: Path) -> None:
        self.fault.count()
        self.own(self.world.domains[name], lab)
        if self.world.full:
            raise LabctlError("no room for the memory")
        head = write_header(SavedState(2, False, Compression.RAW, "", "", 0).with_xml(self.description(name)))
        path.write_bytes(head + self.world.memory.pop(name, "").encode())
        self.world.domains[name] = replace(self.world.domains[name], state=DomainState.STOPPED)
        self.fault.count()

    def restore_domain(
        self,
        saved: Path,
        xml: str,
        name: str,
        *,
        running: bool,
        delivery: Delivery = Delivery.FIFO,  # noqa: ARG002
    ) -> None:
        assert saved.exists()
        known = self.world.domains.get(name)
        if known is not None and known.state is not DomainState.STOPPED:
            raise Refused(f"{name} runs")
        if self.world.cold:
            raise StateNotUsable(name)
        self.define_domain(xml)
        self.world.memory[name] = saved.read_bytes()[load_saved_state(saved).payload_offset :].decode()
        state = DomainState.RUNNING if running else DomainState.PAUSED
        self.world.domains[name] = replace(self.world.domains[name], state=state)
        self.fault.count()

    def description(self, name: str) -> str:
        """Return the XML with the tag as it is now: libvirt keeps both together."""
        root, tag = ElementTree.fromstring(self.world.xml[name]), self.world.domains[name].tag
        assert tag is not None
        (metadata,) = root.findall("metadata")
        metadata[:] = [ElementTree.fromstring(render_tag(tag))]
        return ElementTree.tostring(root, encoding="unicode")

    def destroy_domain(self, name: str, lab: str) -> None:
        self.fault.count()
        self.own(self.world.domains.get(name), lab)
        if name in self.world.domains:
            self.world.domains[name] = replace(self.world.domains[name], state=DomainState.STOPPED)
            self.world.memory.pop(name, None)
        self.fault.count()

    def guest_exec(
        self,
        name: str,
        lab: str,
        argv: Sequence[str],  # noqa: ARG002
        stdin: bytes = b"",
        *,
        deadline: float,  # noqa: ARG002
    ) -> Ended:
        self.fault.count()
        self.own(self.world.domains[name], lab)
        assert self.world.domains[name].state is DomainState.RUNNING
        if b"ssh_host_ed25519_key" in stdin:
            self.world.personal.add(name)
            if read_disk(self.world.xml[name]) == FRESH:
                disk_of(self.world.xml[name]).write_text(PERSONAL)
        self.fault.count()
        return Ended(0, b"")

    def hand_domain(self, name: str, seat: str, lab: str, owner: str) -> None:
        self.fault.count()
        domain = self.world.domains[name]
        self.own(domain, seat)
        assert domain.tag is not None
        tag = replace(domain.tag, lab=lab, owner=owner, seat=seat if seat != lab else "")
        self.world.domains[name] = replace(domain, tag=tag)
        self.fault.count()

    def versions(self) -> Versions:
        return Versions("1", "1")

    def tpm_storage(self) -> Path:
        return Path("/nonexistent")  # no machine of these worlds has a TPM


class Images:
    """An image store whose images are always there."""

    def __init__(self, folder: Path, fault: Fault) -> None:
        self.folder = folder
        self.fault = fault
        self.built: dict[str, Image] = {}

    def find(self, spec: ImageSpec) -> Image | None:
        return self.built.get(spec.key)

    def ensure(self, spec: ImageSpec, monitor: Monitor) -> Image:  # noqa: ARG002  the Protocol's signature
        self.fault.count()
        image = Image(spec.recipe, spec.key, "0" * 64, self.folder / spec.key, spec.packages, 1, 1, "", (0, 0, 0))
        self.built[spec.key] = image
        return image

    def check(self, image: Image) -> None:
        """Every image is right."""

    def verify(self, image: Image) -> None:
        """Every image is right."""

    def list_images(self) -> tuple[Image, ...]:
        return tuple(self.built.values())

    def select(self, word: str) -> tuple[Image, ...]:
        raise LabctlError(word)

    def remove(self, image: Image, in_use: Sequence[Path]) -> None:  # noqa: ARG002  the Protocol's signature
        raise LabctlError(str(image))

    def create_overlay(self, image: Image, path: Path, size_gib: int) -> None:  # noqa: ARG002
        self.fault.count()
        path.write_text("overlay")
        self.fault.count()

    def create_disk(self, frozen: Path | None, path: Path, size_gib: int) -> None:  # noqa: ARG002
        self.fault.count()
        assert frozen is None or frozen.exists()
        path.write_text(FRESH if frozen else EMPTY)
        self.fault.count()


class Guests:
    """Machines that let everybody in and pass every check, but for the silent ones."""

    def __init__(self, world: World, fault: Fault) -> None:
        self.world = world
        self.fault = fault

    def wait_login(self, login: Login, deadline: float) -> float:  # noqa: ARG002
        self.fault.count()
        if any(name.endswith(f".{login.name}") for name in self.world.silent):
            raise Unreachable(f"{login.name} does not answer")
        return 0.1

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes, deadline: float) -> Answer:  # noqa: ARG002
        self.fault.count()
        tasks = json.loads(ast.literal_eval(stdin.decode().rpartition("json.loads(")[2].rstrip()[:-2]))
        code = 1 if self.world.closed else 0
        return Answer(0, json.dumps([{"code": code, "seconds": 0.1} for _task in tasks]), "")

    def answers(self, address: str, timeout: float, port: int) -> bool:  # noqa: ARG002
        return True

    def sessions(self) -> AbstractContextManager["Guests"]:
        return nullcontext(self)


class Configurator:
    """An Ansible that succeeds, but on the nodes named in `broken`."""

    def __init__(self, fault: Fault, broken: frozenset[str] = frozenset()) -> None:
        self.fault = fault
        self.broken = broken
        self.runs: list[tuple[str, ...]] = []
        self.inventories: list[Mapping[str, Any]] = []

    def configure(
        self, folder: Path, plays: Sequence[Mapping[str, Any]], inventory: Mapping[str, Any], roles: Path,  # noqa: ARG002
        monitor: Monitor, *, limit: Sequence[str],  # noqa: ARG002
    ) -> Report:  # fmt: skip
        self.fault.count()
        self.runs.append(tuple(limit))
        self.inventories.append(inventory)
        reports = {node: NodeReport(node, seen=True, ok=3, changed=1) for node in limit}
        for node in self.broken & set(limit):
            reports[node].failures.append(TaskFailure("Install", "it broke"))
        self.fault.count()
        return Report(reports, "")


def make_place(home: Path, world: World, fault: Fault | None = None, broken: frozenset[str] = frozenset()) -> Workplace:
    """Return an installation whose outside worlds are all stand-ins."""
    counted = fault or Fault()
    home.mkdir(exist_ok=True)
    (home / "labs").mkdir(exist_ok=True)
    return Workplace(
        home=home,
        uri="",
        prefix="",
        machines=Machines(world, counted),
        freezer=Freezer(world, counted),
        images=Images(home, counted),
        guests=Guests(world, counted),
        configurator=Configurator(counted, broken),
        store=Store(home),
        catalogue=catalogue(),
        playbooks=Path(playbook.__file__).parent.parent / "playbooks",
    )
