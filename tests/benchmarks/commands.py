"""Measures what a command line costs before it does anything, and what planning a school costs."""

import json
import subprocess
import sys
import time
from pathlib import Path

from labctl.topology.model import Topology
from tests.worlds import dmz

LABCTL = Path(sys.executable).with_name("labctl")
REPEATS = 7
LABS = 500
NODES = 6

# A process of its own, so that its peak memory is that of planning alone. `ru_maxrss` is in KiB, getrusage(2).
PLANNING = f"""
import json, resource, time
from labctl.lab.workplace import shipped_catalogue
from tests.benchmarks.commands import six_nodes
from tests.worlds import SETTING
from labctl.plan.lab import plan_lab
from labctl.plan.observed import Observed
topology, catalogue = six_nodes(), shipped_catalogue()
start = time.perf_counter()
plans = [plan_lab(topology, f"s{{number:03d}}", catalogue, Observed(), SETTING) for number in range({LABS})]
seconds = time.perf_counter() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"plan_seconds": seconds, "plan_mib": memory, "nodes": sum(len(plan.nodes) for plan in plans)}}))
"""


def six_nodes() -> Topology:
    """Return the lab `dmz` with six nodes."""
    topology = dmz()
    nodes = dict(topology.nodes)
    for number in range(NODES - len(nodes)):
        nodes[f"client{number}"] = nodes["client"]
    return topology.model_copy(update={"nodes": nodes})


def measure() -> dict[str, float]:
    """Return the seconds of `labctl --help` and of a bare interpreter, best of seven, and the cost of planning."""
    planning = subprocess.run([sys.executable, "-c", PLANNING], check=True, capture_output=True, text=True)
    return {
        "help_seconds": best([LABCTL, "--help"]),
        "python_seconds": best([sys.executable, "-c", "pass"]),
        **json.loads(planning.stdout),
    }


def best(command: list[Path | str]) -> float:
    """Return the shortest of several runs: what else the machine does only ever adds."""
    times = []
    for _repeat in range(REPEATS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)
