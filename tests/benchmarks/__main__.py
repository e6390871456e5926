"""Measures everything in one run and prints ratios: `python -m tests.benchmarks [--write FILE.md]`.

Seconds say something about one machine; ratios of two measures of the same run carry over.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil

from labctl.hypervisor.door import Hypervisor
from labctl.lab.workplace import Workplace
from tests.benchmarks import boot, commands, image_build

HOME = Path(os.environ.get("LABCTL_BENCH_HOME", "/var/lib/labctl-bench"))
GOALS = {
    "image build against mmdebstrap + mke2fs": ("image", "ratio", "≤ 1.25", 1.25),
    "boot of three machines against QEMU by hand": ("boot", "boot_ratio", "≤ 1.15", 1.15),
    "`labctl --help`, seconds": ("commands", "help_seconds", "≤ 0.15", 0.15),
    "plan of 500 labs × 6 machines, seconds": ("commands", "plan_seconds", "≤ 2", 2.0),
    "plan of 500 labs × 6 machines, MiB": ("commands", "plan_mib", "≤ 300", 300.0),
    "second `up` of a running lab, seconds": ("boot", "second_up_seconds", "≤ 5", 5.0),
}


def main() -> int:
    """Measure, print the table and the JSON, and write both into a page if asked to."""
    HOME.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.environ.update(LABCTL_HOME=str(HOME), LABCTL_PREFIX="bench-")
    results: dict[str, dict[str, float]] = {"commands": commands.measure()}
    show("commands", results)
    results["image"] = image_build.measure(HOME / "image-build")
    show("image", results)
    with Hypervisor() as machines:
        results["boot"] = boot.measure(Workplace.open(machines, os.environ))
    show("boot", results)
    table = render_table(results)
    print(table)
    if "--write" in sys.argv:
        Path(sys.argv[sys.argv.index("--write") + 1]).write_text(render_page(table, results), encoding="utf-8")
    return 0


def show(part: str, results: dict[str, dict[str, float]]) -> None:
    """Print one part's figures as JSON, as soon as they are known."""
    print(json.dumps({part: {key: round(value, 3) for key, value in results[part].items()}}), flush=True)


def render_table(results: dict[str, dict[str, float]]) -> str:
    """Return the goals and what was measured as a Markdown table."""
    lines = ["| measure | goal | measured | |", "|---|---|---|---|"]
    for name, (part, key, goal, limit) in GOALS.items():
        value = results[part][key]
        lines.append(f"| {name} | {goal} | {value:.2f} | {'✔' if value <= limit else '✘'} |")
    return "\n".join(lines)


def render_page(table: str, results: dict[str, dict[str, float]]) -> str:
    """Return docs/benchmarks.md."""
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{os.cpu_count()} processors, {memory:.0f} GiB of memory, {platform.system()} {platform.release()}"
    date = datetime.now(UTC).date()
    figures = json.dumps(results, indent=1)
    return (
        "# Benchmarks\n\nWritten by `./bootstrap bench --write docs/benchmarks.md`; not by hand.\n\n"
        f"Measured on {date}: {machine}, machines emulated by TCG unless the boot says otherwise.\n\n"
        f"{table}\n\n```json\n{figures}\n```\n"
    )


if __name__ == "__main__":
    sys.exit(main())
