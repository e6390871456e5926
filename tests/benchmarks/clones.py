"""Measures what golden labs are for: clones of the lab `dmz`, one, reset, and a class, with memory, on real guests."""

import copy
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil
from ruamel.yaml import YAML

from labctl.classroom.labs import bring_up_labs
from labctl.classroom.wish import ClassWish, LabResult
from labctl.doctor.merging import set_merging
from labctl.golden import ensure_golden
from labctl.hypervisor.saved_state import load_saved_state, write_header
from labctl.lab import keys
from labctl.lab.down import take_down
from labctl.lab.frozen import Frozen
from labctl.lab.known import find_labs
from labctl.lab.thaw import Mould
from labctl.lab.up import bring_up
from labctl.lab.wish import Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.monitor import Event, Monitor, Progress, Silent
from labctl.plan.lab import plan_lab
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.observed import DomainState
from labctl.render.clone import clone_domain
from labctl.render.xml import render_network
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.benchmarks.boot import pace

DMZ = shipped_folder("topologies") / "dmz.yml"
CLERKS = (11, 12)  # further machines of the office, by the ends of their addresses
COLD = ("cold1", "cold2")  # one after the other: side by side, on two processors, they take longer in all
CLASS = tuple(f"s{number:02d}" for number in range(1, 25))
TIMES = 3
SETTLE_SECONDS = 90.0  # KSM needs some passes over all memory
NODE = "web"
SILENT = Silent()


def measure_one(place: Workplace) -> dict[str, float]:
    """Return the seconds of one lab, of its resets, of one clone and of a bare restore."""
    with prepared(place) as (topology, path, golden):
        return one_lab(place, topology, path) | one_node(place, topology, golden)


def measure_class(place: Workplace) -> dict[str, float]:
    """Return the seconds of a class and the memory that its labs take."""
    with prepared(place) as (topology, path, _golden):
        with merged(place):
            found = whole_class(place, topology, path, CLASS)
            for lab in find_labs(place):
                take_down(place, lab, Silent())
        cold = median(cold_lab(place, topology, path, owner) for owner in COLD)
    return found | {"cold_lab_seconds": cold, "cold_ratio": cold * len(CLASS) / found["class_seconds"]}


def measure_five(place: Workplace) -> dict[str, float]:
    """Return the machines of a class of labs of five that are ready and run together, its seconds and its memory.

    The lab is `dmz` with two more machines in the office: those of `supervision` work all the time, and 24 of them are
    a measure of emulation. In two halves: the forecast of the second one goes by what merging really saves, which
    nobody knows before.
    """
    with prepared(place, write_five(place.home / "five.yml")) as (topology, path, _golden), merged(place):
        before = used()
        first, _results = bring(place, ClassWish(topology, path, CLASS[: len(CLASS) // 2]))
        time.sleep(SETTLE_SECONDS)
        second, _results = bring(place, ClassWish(topology, path, CLASS))
        seconds = first + second
        running = sum(seen.state is DomainState.RUNNING for seen in place.see().domains if seen.tag)
        return {"machines": running, "seconds": seconds, "memory_gib": (used() - before) / 2**30}


def write_five(path: Path) -> Path:
    """Write the topology of five machines and return its file."""
    yaml = YAML()
    data = yaml.load(DMZ.read_text(encoding="utf-8"))
    data["name"] = "five"
    client = data["nodes"]["client"]
    for number in CLERKS:
        clerk = copy.deepcopy(client)
        clerk["interfaces"]["lan"]["address"] = f"172.16.10.{number}"
        data["nodes"][f"client{number}"] = clerk
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(data, stream)
    return path


@contextmanager
def merged(place: Workplace) -> Iterator[None]:
    """Let equal memory be kept once in the block; the labs must be gone before each would get its own again."""
    kept = place.home / "ksm.conf"  # what a benchmark switches on must not outlive it
    switched = set_merging(True, kept=kept)
    try:
        yield
    finally:
        for lab in find_labs(place):
            take_down(place, lab, Silent())
        if switched:
            set_merging(False, kept=kept)


def cold_lab(place: Workplace, topology: Topology, path: Path, owner: str) -> float:
    """Return the seconds of one lab that is booted and configured by Ansible, its images built, on an idle host."""
    start = time.perf_counter()
    _plan, result = bring_up(place, Wish(topology, path, owner), lambda image: pace(place, image), Silent(), Stop())
    seconds = time.perf_counter() - start
    for error in result.failures.values():
        raise error
    take_down(place, f"{topology.name}-{owner}", Silent())
    return seconds


@contextmanager
def prepared(place: Workplace, path: Path = DMZ) -> Iterator[tuple[Topology, Path, Frozen]]:
    """Give a lab's topology, its file and its golden lab; remove all labs at the end."""
    topology = load_topology(path, place.catalogue)
    golden = ensure_golden(place, (topology, path), lambda image: pace(place, image), Silent(), Stop())
    try:
        yield topology, path, golden
    finally:
        for lab in find_labs(place):
            take_down(place, lab, Silent())


def bring(place: Workplace, wish: ClassWish, monitor: Monitor = SILENT) -> tuple[float, list[LabResult]]:
    """Return the seconds that a wish takes and what became of each lab. A lab that is not ready spoils the figure."""
    start = time.perf_counter()
    results = bring_up_labs(place, wish, lambda image: pace(place, image), monitor, Stop())
    seconds = time.perf_counter() - start
    for result in results:
        if result.error:
            raise result.error
        if result.progress and result.progress.failures:
            raise next(iter(result.progress.failures.values()))
    return seconds, results


class Answers:
    """A monitor that notes when each machine has answered a login; where checks are asked, when they were answered."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def tell(self, event: Event) -> None:
        """Note the first answer of a machine."""
        if event.step in ("login", "check") and event.progress is Progress.DONE:
            self.seconds.setdefault(event.subject, time.perf_counter() - self.start)


def one_lab(place: Workplace, topology: Topology, path: Path) -> dict[str, float]:
    """Return the seconds of a lab of three machines from nothing, of its reset and of one machine's reset.

    Of resets, `…_gate_seconds` are those until the gate with its checks was passed, `…_seconds` those until SSH
    answered on every machine of the reset; for a machine that is asked for checks, until it had answered them all.
    """
    wish = ClassWish(topology, path, ("one",))
    seconds: dict[str, list[float]] = defaultdict(list)
    resets = {"reset_lab": tuple(topology.nodes), "reset_node": (NODE,)}
    for _turn in range(TIMES):
        seconds["lab_seconds"].append(bring(place, wish)[0])
        for name, nodes in resets.items():
            answers = Answers()
            seconds[f"{name}_gate_seconds"].append(bring(place, replace(wish, reset=nodes), answers)[0])
            seconds[f"{name}_seconds"].append(max(answers.seconds[node] for node in nodes))
        take_down(place, f"{topology.name}-one", Silent())
    return {name: median(values) for name, values in seconds.items()}


def one_node(place: Workplace, topology: Topology, golden: Frozen) -> dict[str, float]:
    """Return the seconds of one clone until it could run, and of `virsh restore` of the same state, in turns."""
    owner = "restore"
    plan = plan_lab(topology, owner, place.catalogue, place.observe(f"{topology.name}-{owner}"), place.setting,
                    golden=golden.id)  # fmt: skip
    node = plan.node(NODE)
    clones, bare = [], []
    with networks(place, plan):
        own = keys.ensure_keys(plan.folders, plan.lab, plan.nodes)[NODE]
        by_member = {network.member: network for network in plan.networks}
        mould = Mould(place, golden, by_member, plan.folders, "tcg", place.delivery())
        for _turn in range(TIMES):
            start = time.perf_counter()
            if not mould.cast(node, own):
                raise RuntimeError(NODE)  # a cold boot is another measure
            clones.append(time.perf_counter() - start)
            place.machines.remove_domain(node.name, plan.lab)
            bare.append(restore_by_hand(place, plan, node, golden))
    return {
        "clone_node_seconds": median(clones), "bare_restore_seconds": median(bare),
        "clone_ratio": median(clones) / median(bare),
    }  # fmt: skip


def restore_by_hand(place: Workplace, plan: Plan, node: PlannedNode, golden: Frozen) -> float:
    """Return the seconds of `virsh restore --paused` of the node's state, written to a file beforehand."""
    saved = golden.state(node.member)
    state = load_saved_state(saved)
    xml = clone_domain(state.xml, node, {network.member: network for network in plan.networks}, plan.folders)
    copy = saved.with_name(".by-hand.save")
    with saved.open("rb") as source, copy.open("wb") as target:
        target.write(write_header(state.with_xml(xml)))
        source.seek(state.payload_offset)
        while chunk := source.read(1 << 20):
            target.write(chunk)
    try:
        start = time.perf_counter()
        virsh("restore", str(copy), "--paused")
        seconds = time.perf_counter() - start
    finally:
        copy.unlink()
    place.machines.remove_domain(node.name, plan.lab)
    with suppress(subprocess.CalledProcessError):
        virsh("destroy", node.name)
    return seconds


def virsh(*words: str) -> None:
    """Run virsh."""
    subprocess.run(["virsh", "--quiet", "--connect", "qemu:///system", *words], check=True, capture_output=True)


@contextmanager
def networks(place: Workplace, plan: Plan) -> Iterator[None]:
    """Give a lab's folders and networks without its machines."""
    for folder in (plan.folders.top, plan.folders.disk("x").parent, plan.folders.identity("x").parent,
                   plan.folders.serial_log("x").parent):  # fmt: skip
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    for network in plan.networks:
        place.machines.create_network(render_network(network))
    try:
        yield
    finally:
        take_down(place, plan.lab, Silent())


def whole_class(place: Workplace, topology: Topology, path: Path, students: tuple[str, ...]) -> dict[str, float]:
    """Return the seconds until every lab of a class has passed its gate, and the memory of the first and last lab."""
    before = used()
    first_wish = ClassWish(topology, path, students[:1])
    bring(place, first_wish)
    time.sleep(SETTLE_SECONDS / 3)
    first = used() - before
    take_down(place, f"{topology.name}-{students[0]}", Silent())
    seconds, _results = bring(place, ClassWish(topology, path, students))
    time.sleep(SETTLE_SECONDS)
    last = (used() - before - first) / (len(students) - 1)
    return {
        "students": len(students), "machines": len(students) * len(topology.nodes), "class_seconds": seconds,
        "first_lab_mib": first / 2**20, "further_lab_mib": last / 2**20, "memory_ratio": last / first,
    }  # fmt: skip


def used() -> int:
    """Return the bytes of memory that are not available now."""
    memory = psutil.virtual_memory()
    return int(memory.total - memory.available)
