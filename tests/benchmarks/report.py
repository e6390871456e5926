"""Measures the grid of a class and a sheet from a real database: 24 labs, 40 checks each, with their evidence."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from pydantic import JsonValue

from labctl.lab.sheets import find_class_sheets
from labctl.report.grid import make_grid
from labctl.report.page import environment, render_grid
from labctl.roster import load_roster
from labctl.store import Store
from tests.lab.doubles import World, make_place
from tests.report.sheets import many_checks

LABS, CHECKS = 24, 40
TIMES = 5
OUTPUT = "a line of evidence, as a probe leaves it\n" * 40  # near what is kept of each check
EVIDENCE: dict[str, JsonValue] = {
    "seen": "exit code 0", "command": "nft list ruleset", "output": OUTPUT, "seconds": 0.5
}  # fmt: skip
LABCTL = Path(sys.executable).with_name("labctl")


def measure(folder: Path) -> dict[str, float]:
    """Return the seconds of a grid in one process, of the commands that write it, and of the PDF of a sheet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711, parents=True)
    roster = make_class(folder)
    found = {"grid_seconds": median(time_grid(folder, roster) for _turn in range(TIMES))}
    for name, words in {
        "grid_command_seconds": ["--class", str(roster), "--output", str(folder / "grid.html")],
        "grid_pdf_command_seconds": ["--class", str(roster), "--output", str(folder / "grid.pdf")],
        "sheet_pdf_command_seconds": ["atelier-s00", "--output", str(folder / "sheet.pdf")],
    }.items():
        found[name] = median(time_command(folder, words) for _turn in range(TIMES))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def make_class(folder: Path) -> Path:
    """Make a home with the labs of a class, as `up` and `check` leave them but for machines; return the class list."""
    topology = many_checks(CHECKS)
    document = json.dumps(topology.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False)
    store = Store(folder)
    for number in range(LABS):
        lab = folder / "labs" / f"atelier-s{number:02d}"
        lab.mkdir(parents=True)
        (lab / "topology.yml").write_text(document, encoding="utf-8")
        rows = [
            (
                check.id, "failed" if (place + number) % 7 == 0 else "passed",
                EVIDENCE,
            )
            for place, check in enumerate(topology.checks)
        ]  # fmt: skip
        store.save_outcomes(lab.name, rows, whole=True)
    roster = folder / "classe.csv"
    roster.write_text("id,name\n" + "".join(f"s{number:02d},Student {number}\n" for number in range(LABS)))
    return roster


def time_grid(folder: Path, roster: Path) -> float:
    """Return the seconds from the class list and the database to the page, topologies and templates read anew."""
    place = make_place(folder, World())
    environment.cache_clear()
    start = time.perf_counter()
    found = find_class_sheets(place, load_roster(roster), "", "fr")
    page = render_grid(make_grid(found.sheets, found.without, "fr"))
    seconds = time.perf_counter() - start
    if page.count("atelier-s") < LABS or len(found.sheets[0].rows) != CHECKS:
        raise RuntimeError(page)
    return seconds


def time_command(folder: Path, words: list[str]) -> float:
    """Return the seconds of `labctl report`, imports included."""
    settings = {**os.environ, "LABCTL_HOME": str(folder), "LABCTL_URI": "test:///default"}
    start = time.perf_counter()
    subprocess.run([LABCTL, "report", *words], env=settings, capture_output=True, check=True)
    return time.perf_counter() - start
