"""Measures a cold `up` of the lab `dmz`, against the same three machines started by hand with QEMU alone.

By hand means: the same images, overlays, identities, memory and processor model, on a bridge of the benchmark's own,
timed from the first process to the last SSH login.
"""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from labctl import ssh
from labctl.hypervisor.accelerator import probe_accelerator
from labctl.lab import keys
from labctl.lab.down import take_down
from labctl.lab.up import bring_up
from labctl.lab.wish import Pace, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.monitor import Event, Progress, Silent
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.names import link_local
from labctl.program import run
from labctl.render.identity import render_identity
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from labctl.topology.model import Topology

OWNER = "bench"
BRIDGE = "lcbench0"
DEADLINE = 900.0


@dataclass
class Stopwatch:
    """A monitor that notes when each step starts and when it has ended for every node."""

    starts: dict[str, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)

    def tell(self, event: Event) -> None:
        """Note the time."""
        now = time.perf_counter()
        self.starts.setdefault(event.step, now)
        if event.progress in {Progress.DONE, Progress.FAILED}:
            self.ends[event.step] = now

    def seconds(self, step: str) -> float:
        """Return how long a step took, over all nodes."""
        return self.ends[step] - self.starts[step]


def measure(place: Workplace) -> dict[str, float]:
    """Return the seconds of each phase of a cold `up`, of the second one, and of the machines by hand."""
    path = shipped_folder("topologies") / "dmz.yml"
    topology = load_topology(path, place.catalogue)
    by_hand = time_by_hand(place, topology)
    watch = Stopwatch()
    try:
        cold, plan = time_up(place, topology, path, watch)
        again, _plan = time_up(place, topology, path, Stopwatch())
    finally:
        take_down(place, f"{topology.name}-{OWNER}", Silent())
    boot = watch.seconds("boot")
    return {
        "by_hand_seconds": by_hand, "boot_seconds": boot, "boot_ratio": boot / by_hand,
        "configure_seconds": watch.seconds("configure"), "cold_up_seconds": cold, "cold_up_ratio": cold / by_hand,
        "second_up_seconds": again, "nodes": len(plan.nodes),
    }  # fmt: skip


def time_up(place: Workplace, topology: Topology, path: Path, watch: Stopwatch) -> tuple[float, Plan]:
    """Return the seconds of one `up` whose images are built, and its plan. A node that fails spoils the figure."""
    for node in place.plan(topology, OWNER).nodes:
        place.images.ensure(place.spec(node.image), Silent())
    start = time.perf_counter()
    plan, result = bring_up(place, Wish(topology, path, OWNER), lambda image: pace(place, image), watch, Stop())
    if result.failures:
        raise next(iter(result.failures.values()))
    return time.perf_counter() - start, plan


def pace(place: Workplace, image: Path) -> Pace:
    """Return the pace of this host."""
    found = probe_accelerator(place.home, image)
    return Pace(found.kind, found.factor)


def time_by_hand(place: Workplace, topology: Topology) -> float:
    """Return the seconds from the first QEMU process to the last SSH login, without libvirt."""
    folder = place.home / "by-hand"
    folder.mkdir(mode=0o700, exist_ok=True)
    plan = place.layout(f"{topology.name}-{OWNER}", topology)
    secrets = keys.ensure_keys(plan.folders, plan.lab, plan.nodes)
    for node in plan.nodes:
        image = place.images.ensure(place.spec(node.image), Silent())
        place.images.create_overlay(image, folder / f"{node.member}.qcow2", node.disk)
        keys.write_secret(folder / node.member, render_identity(node, secrets[node.member]).encode())
    accelerator = pace(place, image.path).accelerator
    with bridge(), ThreadPoolExecutor(len(plan.nodes)) as workers:
        start = time.perf_counter()
        machines = [start_machine(node, folder, accelerator) for node in plan.nodes]
        try:
            list(workers.map(lambda node: ssh.wait_login(login(plan, node), DEADLINE), plan.nodes))
            return time.perf_counter() - start
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()
            run(["rm", "-rf", folder, plan.folders.top])


def login(plan: Plan, node: PlannedNode) -> ssh.Login:
    """Return how to reach a machine on the benchmark's bridge, with a known_hosts of its own."""
    address = f"{link_local(node.management.mac)}%{BRIDGE}"
    access = keys.access(plan.folders)
    known = access.known_hosts.read_text(encoding="ascii").replace(node.address, address)
    path = access.known_hosts.with_name(f"by_hand_{node.member}")
    keys.write_secret(path, known.encode())
    return ssh.Login(node.member, address, access.key, path)


@contextmanager
def bridge() -> Iterator[None]:
    """Give a bridge with an IPv6 link-local address; it goes with its ports."""
    run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    try:
        run(["ip", "link", "set", BRIDGE, "up"])
        yield
    finally:
        run(["ip", "link", "delete", BRIDGE])


def start_machine(node: PlannedNode, folder: Path, accelerator: str) -> subprocess.Popen[bytes]:
    """Start one machine as a person would type it, with the cards in the order that labctl gives them."""
    processor = "host" if accelerator == "kvm" else "max,-cx16"
    words = [
        "qemu-system-x86_64", "-machine", f"q35,accel={accelerator}", "-cpu", processor,
        "-m", str(node.memory), "-smp", str(node.cpus), "-nodefaults", "-display", "none", "-vga", "std",
        "-drive", f"file={folder / node.member}.qcow2,if=virtio,format=qcow2,discard=unmap",
        "-device", "virtio-rng-pci", "-serial", f"file:{folder / node.member}.log",
        "-fw_cfg", f"name=opt/io.systemd.credentials/labctl.identity,file={folder / node.member}",
    ]  # fmt: skip
    # The lab's other networks are not there by hand; cards without a cable take as long to probe.
    for number, card in enumerate((node.management, *node.interfaces)):
        tap = f"lcb{node.member[:6]}{number}"
        words += ["-netdev", f"tap,id=n{number},ifname={tap},script={folder}/up,downscript=no",
                  "-device", f"virtio-net-pci,netdev=n{number},mac={card.mac}"]  # fmt: skip
    script = folder / "up"
    script.write_text(f'#!/bin/sh\nip link set "$1" up\ncase "$1" in *0) ip link set "$1" master {BRIDGE} ;; esac\n')
    script.chmod(0o700)
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)
