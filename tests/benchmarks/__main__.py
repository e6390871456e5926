"""Measures and prints ratios: `./bootstrap bench [--only PARTS] [--write FILE.md]`; `--help` lists the parts.

Seconds say something about one machine; ratios of two measures of the same run carry over. The figures of each part
are of one run (`golden` means all parts `golden-…`); with `--write`, those of parts that were not run again stay as
they were, with their own date.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import psutil

from labctl.hypervisor.door import Hypervisor
from labctl.lab.workplace import Workplace
from tests.benchmarks import (
    boot,
    checks,
    clones,
    commands,
    consoles,
    evidence,
    exams,
    image_build,
    overhead,
    portal,
    report,
    standing,
)

HOME = Path(os.environ.get("LABCTL_BENCH_HOME", "/var/lib/labctl-bench"))
LABS = tuple(path.stem for path in checks.SHIPPED)
GOALS = {
    "image build against mmdebstrap + mke2fs": ("image", "ratio", "≤ 1.25", 1.25),
    "boot of three machines against QEMU by hand": ("boot", "boot_ratio", "≤ 1.15", 1.15),
    "`labctl --help`, seconds": ("commands", "help_seconds", "≤ 0.15", 0.15),
    "plan of 500 labs × 6 machines, seconds": ("commands", "plan_seconds", "≤ 2", 2.0),
    "plan of 500 labs × 6 machines, MiB": ("commands", "plan_mib", "≤ 300", 300.0),
    "second `up` of a running lab, seconds": ("boot", "second_up_seconds", "≤ 5", 5.0),
    "clone of one machine against a bare `virsh restore`": ("clones", "clone_ratio", "≤ 1.5", 1.5),
    "one lab of three machines, ready, seconds": ("clones", "lab_seconds", "≤ 8", 8.0),
    "reset of a lab of three machines to an answering SSH, seconds": ("clones", "reset_lab_seconds", "≤ 8", 8.0),
    "reset of one machine to an answering SSH, seconds": ("clones", "reset_node_seconds", "≤ 4", 4.0),
    "class of 24 × 3 machines, ready, seconds": ("class", "class_seconds", "≤ 210", 210.0),
    "the same class built cold, of two labs measured, against clones": ("class", "cold_ratio", "≥ 20", 20.0),
    "memory of a further lab against the first, with KSM": ("class", "memory_ratio", "≤ 0.45", 0.45),
    "class of 24 × 5 machines, ready and running together, machines": ("five", "machines", "≥ 120", 120.0),
    "`labctl status` of 120 machines, their file read, seconds": ("overhead", "status_seconds", "≤ 0.5", 0.5),
    "board of a class, 24 × 5, as a page, ms": ("portal", "board_ms", "≤ 100", 100.0),
    "the same, KB": ("portal", "board_kb", "≤ 60", 60.0),
    "first page of a student with all that it loads, KB": ("portal", "first_page_kb", "≤ 150", 150.0),
    "console against a direct VNC connection, ms added to a key": ("portal-console", "key_added_ms", "≤ 15", 15.0),
    "the same, throughput of whole pictures, raw": ("portal-console", "picture_ratio", "≥ 0.5", 0.5),
    "idle portal, both processes, % of a core": ("portal-standing", "idle_percent", "≤ 1", 1.0),
    "the same, memory (PSS), MB": ("portal-standing", "pss_mb", "≤ 150", 150.0),
    "change in libvirt to change at 50 browsers, seconds": ("portal-standing", "change_seconds", "≤ 1", 1.0),
    "grid of a class, 24 labs × 40 checks, from the database, seconds": ("report", "grid_seconds", "≤ 1", 1.0),
    "start of an exam, 12 × 3 machines of the test driver, spread, seconds": (
        "exam-driver",
        "spread_seconds",
        "≤ 2",
        2.0,
    ),
    "the same, all at one deadline, all processors busy: latest to stand still, seconds": (
        "exam-driver",
        "late_seconds",
        "≤ 1",
        1.0,
    ),
    "start of an exam, 2 × 3 real machines, spread, seconds": ("exam", "spread_seconds", "≤ 2", 2.0),
    "the same, both at one deadline: latest to stand still, seconds": ("exam", "late_seconds", "≤ 1", 1.0),
    "freeze of one candidate, 3 real machines, until they stand still, seconds": ("exam", "freeze_seconds", "≤ 3", 3.0),
    "the same, evidence of one candidate, seconds": ("exam", "collect_seconds", "≤ 60", 60.0),
    "evidence of one candidate, 3 machines, seconds": ("evidence", "collect_seconds", "≤ 60", 60.0),
    "the same, size against what changed": ("evidence", "size_ratio", "≤ 1.2", 1.2),
    "`exam verify` of a session against SHA-256 alone, speed": ("evidence", "verify_ratio", "≥ 0.7", 0.7),
    "checks of the largest lab against its slowest node by hand": ("checks", "checks_ratio", "≤ 1.3", 1.3),
    **{f"golden build of `{lab}`, images built, minutes": (f"golden-{lab}", "minutes", "≤ 15", 15.0) for lab in LABS},
    **{f"memory of the nodes of `{lab}`, GiB": (f"golden-{lab}", "gib", "≤ 6", 6.0) for lab in LABS},
    "own cost of a machine, 24 × 5, ms": ("overhead", "class_24x5_ms_per_machine", "≤ 15", 15.0),
    "own cost of a machine, 500 × 6, ms": ("overhead", "class_500x6_ms_per_machine", "≤ 15", 15.0),
}
Figures = dict[str, float]


def measure_parts() -> dict[str, Callable[[Workplace], Figures]]:
    """Return what can be measured, in order, by name."""
    return {
        "commands": lambda _place: commands.measure(),
        "overhead": lambda _place: overhead.measure(HOME / "overhead"),
        "portal": lambda _place: portal.measure(),
        "portal-console": lambda _place: consoles.measure(HOME / "console"),
        "portal-standing": lambda _place: standing.measure(HOME / "standing"),
        "report": lambda _place: report.measure(HOME / "report"),
        "evidence": lambda _place: evidence.measure(HOME / "evidence"),
        "exam-driver": lambda _place: exams.measure_driver(HOME / "exam-driver"),
        "exam": lambda place: exams.measure(place.home),
        "image": lambda _place: image_build.measure(HOME / "image-build"),
        **{f"golden-{path.stem}": partial(checks.measure_golden, path=path) for path in checks.SHIPPED},
        "checks": checks.measure,
        "clones": clones.measure_one,
        "class": clones.measure_class,
        "five": clones.measure_five,
        "boot": boot.measure,
    }


def choose_parts(named: str, parts: Iterable[str]) -> tuple[str, ...]:
    """Return the parts that a list with commas names, in their order; the begin of a name stands for all that have it.

    Raises argparse.ArgumentTypeError for a name that no part has.
    """
    known = tuple(parts)
    wanted = [name.strip() for name in named.split(",")]
    for name in wanted:
        if not any(name in {part, part.partition("-")[0]} for part in known):
            near = get_close_matches(name, known, n=1)
            meant = f" (is {near[0]} meant?)" if near else ""
            raise argparse.ArgumentTypeError(f'no part is called "{name}"{meant}; there are: {", ".join(known)}')
    return tuple(part for part in known if {part, part.partition("-")[0]} & set(wanted))


def page_of(text: str) -> Path:
    """Return the page that is written. Raises argparse.ArgumentTypeError where it cannot be, hours before it would."""
    page = Path(text)
    if page.suffix != ".md" or not page.parent.is_dir():
        raise argparse.ArgumentTypeError(f'"{text}" is no Markdown page (FILE.md) in a folder that exists')
    return page


def read_arguments(words: Sequence[str], parts: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for: `only`, a tuple of parts, and `write`, a Path or None. Nothing else is understood."""
    parser = argparse.ArgumentParser(
        prog="./bootstrap bench", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures labctl and prints ratios. Without --only, all parts are measured: this takes hours.",
        epilog="Parts:\n  " + "\n  ".join(parts) + "\n\nThe first word of some names stands for all of them: golden.",
    )  # fmt: skip
    parser.add_argument(
        "--only", type=lambda named: choose_parts(named, parts), default=tuple(parts), metavar="PARTS",
        help="measure these parts alone, with commas between them",
    )  # fmt: skip
    parser.add_argument(
        "--write", type=page_of, metavar="FILE.md", help="write the page, and the figures into a JSON file beside it"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure, print the table and the JSON, and write both into a page and a JSON file beside it if asked to."""
    parts = measure_parts()
    asked = read_arguments(words, tuple(parts))
    HOME.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.environ.update(LABCTL_HOME=str(HOME), LABCTL_PREFIX="bench-")
    page: Path | None = asked.write
    kept = page.with_suffix(".json") if page else None
    results: dict[str, dict[str, object]] = json.loads(kept.read_text()) if kept and kept.exists() else {}
    for name in asked.only:
        with Hypervisor() as machines:
            figures = parts[name](Workplace.open(machines, os.environ))
        print(json.dumps({name: {key: round(value, 3) for key, value in figures.items()}}), flush=True)
        results[name] = {"date": str(datetime.now(UTC).date()), **{key: round(figures[key], 3) for key in figures}}
        if page and kept:
            kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            page.write_text(render_page(results), encoding="utf-8")
    print(render_table(results))
    return 0


def render_table(results: dict[str, dict[str, object]]) -> str:
    """Return the goals and what was measured as a Markdown table."""
    lines = ["| measure | goal | measured | | date |", "|---|---|---|---|---|"]
    for name, (part, key, goal, limit) in GOALS.items():
        value = results.get(part, {}).get(key)
        if isinstance(value, int | float):
            reached = value >= limit if goal.startswith("≥") else value <= limit
            sign = "✔" if reached else "✘"
            lines.append(f"| {name} | {goal} | {value:.2f} | {sign} | {results[part]['date']} |")
        else:
            lines.append(f"| {name} | {goal} | not measured | | |")
    return "\n".join(lines)


def render_page(results: dict[str, dict[str, object]]) -> str:
    """Return docs/benchmarks.md."""
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{os.cpu_count()} processors, {memory:.0f} GiB of memory, {platform.system()} {platform.release()}"
    return (
        "# Benchmarks\n\nWritten by `./bootstrap bench --write docs/benchmarks.md`; not by hand. "
        "`--only PARTS` measures some parts anew.\n\n"
        f"Host: {machine}, machines emulated by TCG.\n\n"
        f"{render_table(results)}\n\nAll figures: [benchmarks.json](benchmarks.json).\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
