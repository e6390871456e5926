"""Measures what checks cost beside the slowest node's own probes, and how long golden labs take to build.

By hand means: the same probes of one node, through one session of OpenSSH, while nobody asks the other nodes. The lab
is the shipped one with most nodes: the more nodes, the more there is to lose by asking one after another.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from labctl.checks.model import Question, Result
from labctl.checks.questions import agent_program, ask
from labctl.classroom.wish import ClassWish
from labctl.golden import ensure_golden, find_golden, remove_golden
from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.wish import Stop
from labctl.lab.workplace import Workplace
from labctl.monitor import Silent
from labctl.shipped import shipped_folder
from labctl.ssh import Login, client_command
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.benchmarks.boot import pace
from tests.benchmarks.clones import bring, prepared

OWNER = "checks"
TIMES = 3


def needs_media(path: Path) -> bool:
    """Return whether a topology has a machine whose image only a school can give."""
    given = "|".join(name for name, recipe in RECIPES.items() if isinstance(recipe, MediaRecipe))
    return re.search(rf"^\s+image: ({given})$", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


SHIPPED = tuple(path for path in sorted(shipped_folder("topologies").glob("*.yml")) if not needs_media(path))


def shipped(place: Workplace) -> Iterator[tuple[Topology, Path]]:
    """Yield the shipped topologies with their files, by name."""
    for path in SHIPPED:
        yield load_topology(path, place.catalogue), path


def measure(place: Workplace) -> dict[str, float]:
    """Return the seconds of all checks of the lab with most nodes, of each node's probes by hand, and their ratio."""
    topology, path = max(shipped(place), key=lambda one: (len(one[0].nodes), len(one[0].checks)))
    with prepared(place, path):
        bring(place, ClassWish(topology, path, (OWNER,)))
        logins = place.logins(f"{topology.name}-{OWNER}", topology)
        prober = SshProber(place.guests, logins)
        whole = median(time_checks(topology, prober) for _turn in range(TIMES))
        nodes = {check.origin: None for check in topology.checks if check.origin in logins}
        alone = {node: median(time_by_hand(topology, node, logins[node]) for _turn in range(TIMES)) for node in nodes}
    slowest = max(alone.values())
    found = {"nodes": len(topology.nodes), "checks": len(topology.checks), "checks_seconds": whole}
    return found | {"slowest_node_seconds": slowest, "checks_ratio": whole / slowest}


def time_checks(topology: Topology, prober: SshProber) -> float:
    """Return the seconds of all checks of a lab. One that does not pass spoils the figure."""
    start = time.perf_counter()
    outcomes = run_checks(topology.checks, prober, Silent())
    seconds = time.perf_counter() - start
    if bad := [outcome.check.id for outcome in outcomes if outcome.result is not Result.PASSED]:
        raise RuntimeError(", ".join(bad))
    return seconds


def time_by_hand(topology: Topology, node: str, login: Login) -> float:
    """Return the seconds of one node's probes; those that other nodes are asked afterwards are not among them."""
    questions: list[Question] = [ask(check, "bench") for check in topology.checks if check.origin == node]
    start = time.perf_counter()
    command = client_command(login, ["python3", "-I", "-S", "-"])
    subprocess.run(command, input=agent_program(questions), capture_output=True, check=True)
    return time.perf_counter() - start


def measure_golden(place: Workplace, path: Path) -> dict[str, float]:
    """Return the minutes that the golden lab of a topology takes, its images built, and its nodes' memory in GiB."""
    topology = load_topology(path, place.catalogue)
    for node in place.layout(f"{topology.name}-{OWNER}", topology).nodes:
        place.images.ensure(place.spec(node.image), Silent())
    if known := find_golden(place, topology):
        remove_golden(place, known)
    start = time.perf_counter()
    ensure_golden(place, (topology, path), lambda image: pace(place, image), Silent(), Stop())
    minutes = (time.perf_counter() - start) / 60
    return {"minutes": minutes, "gib": sum(node.memory for node in topology.nodes.values()) / 1024}
