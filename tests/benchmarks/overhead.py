"""Measures labctl's own cost for each machine of a class: everything real but guests, which answer at once.

libvirt is its test driver, whose machines are entries of a table; disks, logins and checks are the stand-ins of the
tests. What is left is planning, rendering, keys, the database and libvirt's own parsing.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from labctl.golden import ensure_golden
from labctl.hypervisor.agent import Ended
from labctl.hypervisor.door import Hypervisor
from labctl.lab.up import bring_up
from labctl.lab.wish import Pace, Stop, Wish
from labctl.monitor import Silent
from labctl.topology.load import load_topology
from tests.lab.doubles import Fault, Freezer, World, make_place
from tests.worlds import catalogue

WORLD = "world.xml"
STATUS_MACHINES, STATUS_TIMES = 120, 5
OPENING = """
import sys, time, libvirt
start = time.perf_counter()
connection = libvirt.open(sys.argv[1])
print(time.perf_counter() - start)
"""
WORKERS = 4  # labs side by side, as a class on two processors
SIZES = {"24x5": (24, 5), "500x6": (500, 6)}


class TestDriver(Hypervisor):
    """libvirt's test driver, which has no agents to wait for and no bridges of the host."""

    def describe_all(self) -> list[tuple[str, str]]:
        """Return the kind and the XML of every machine and network, for a test driver in another process."""
        return self._pool.use(
            lambda connection: [
                *(("domain", domain.XMLDesc()) for domain in connection.listAllDomains()),
                *(("network", network.XMLDesc()) for network in connection.listAllNetworks()),
            ],
            "",
        )

    def wait_agent(self, name: str, deadline: float) -> None:
        """Every machine's agent answers at once."""


# ruff: noqa: ARG002  the methods below do nothing, with the signatures of their Protocols
class GuestlessFreezer(Freezer):
    """Runs nothing in guests: the test driver has none."""

    def guest_exec(self, name: str, lab: str, argv: Sequence[str], stdin: bytes = b"", *, deadline: float) -> Ended:
        """Run nothing: these machines have no guest."""
        return Ended(0, b"")


@dataclass(frozen=True)
class Timing:
    """The seconds of a whole class on stand-ins, and of each machine."""

    seconds: float
    machines: int

    @property
    def each(self) -> float:
        """Return the milliseconds of one machine."""
        return self.seconds / self.machines * 1000


def measure(folder: Path) -> dict[str, float]:
    """Return the seconds of both sizes, and the milliseconds of each machine.

    Nothing is removed before the end: for minutes after, ext4 looks at each inode that was freed before it takes one.
    """
    found: dict[str, float] = {}
    shutil.rmtree(folder, ignore_errors=True)
    for name, (labs, nodes) in SIZES.items():
        (folder / name).mkdir(mode=0o711, parents=True)
        timing = time_class(folder / name, labs, nodes)
        found[f"class_{name}_seconds"] = timing.seconds
        found[f"class_{name}_ms_per_machine"] = timing.each
        if timing.machines == STATUS_MACHINES:
            found |= time_status(folder / name)
    shutil.rmtree(folder, ignore_errors=True)
    return found


def topology_of(nodes: int) -> str:
    """Return a topology of so many machines on one network."""
    document = {
        "version": "1.0", "name": "many", "title": {"en": "Many", "fr": "Beaucoup"},
        "description": {"en": "Many machines.", "fr": "Beaucoup de machines."}, "competencies": ["B2.2.1"],
        "networks": {"lan": {"kind": "segment", "cidr": "10.0.0.0/24"}},
        "nodes": {
            f"n{number}": {
                "image": "debian-13", "interfaces": {"lan": {"network": "lan", "address": f"10.0.0.{10 + number}"}},
            }
            for number in range(nodes)
        },
    }  # fmt: skip
    return json.dumps(document)


def time_class(folder: Path, labs: int, nodes: int) -> Timing:
    """Return the time of a class that is brought up on stand-ins, its golden lab not counted."""
    path = folder / "many.yml"
    path.write_text(topology_of(nodes), encoding="utf-8")
    topology = load_topology(path, catalogue())
    stand_ins = make_place(folder / "home", World())
    golden = ensure_golden(stand_ins, (topology, path), pace, Silent(), Stop())
    with TestDriver("test:///default") as machines, ThreadPoolExecutor(WORKERS) as workers:
        place = replace(stand_ins, machines=machines, freezer=GuestlessFreezer(World(), Fault()))
        # The test driver loads no memory: as on such a host, machines are defined and started.
        place = replace(place, delivery=lambda: None)

        def bring(number: int) -> None:
            wish = Wish(topology, path, f"s{number}", golden)
            _plan, result = bring_up(place, wish, pace, Silent(), Stop())
            for error in result.failures.values():
                raise error

        bring(0)
        start = time.perf_counter()
        list(workers.map(bring, range(1, labs + 1)))
        seconds = time.perf_counter() - start
        document = "".join(
            f"<{kind}{text.partition(f'<{kind}')[2]}" for kind, text in machines.describe_all()
        )  # fmt: skip
        (folder / WORLD).write_text(f"<node>{document}</node>", encoding="utf-8")
    return Timing(seconds, labs * nodes)


def time_status(folder: Path) -> dict[str, float]:
    """Return the seconds of the command `labctl status`, imports included, on the world that a class left.

    The test driver reads the file of its world whenever it is opened; libvirt's daemon knows its machines. What that
    takes is told as `world_seconds`, and is not among those of the command.
    """
    world = f"test://{folder / WORLD}"
    environment = {**os.environ, "LABCTL_HOME": str(folder / "home"), "LABCTL_PREFIX": "", "LABCTL_URI": world}
    command = [str(Path(sys.executable).with_name("labctl")), "status", "--json"]
    times, worlds = [], []
    for _turn in range(STATUS_TIMES):
        start = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
        worlds.append(time_opening(world) - time_opening("test:///default"))
    machines = sum(len(lab["nodes"]) for lab in json.loads(done.stdout)["labs"])
    if machines < STATUS_MACHINES:
        raise RuntimeError(machines)
    return {"status_seconds": median(times) - median(worlds), "world_seconds": median(worlds)}


def time_opening(uri: str) -> float:
    """Return the seconds that one connection takes to open, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", OPENING, uri], capture_output=True, check=True)
    return float(done.stdout)


def pace(_image: Path) -> Pace:
    """Return a pace that nothing here depends on."""
    return Pace("tcg", 1.0)
