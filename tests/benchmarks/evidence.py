"""Measures the evidence of a session on small real disks: collecting one candidate, and verifying all.

What is measured is what labctl does: disks are made here, filled like a server's in its first hour, and no guest runs.
`verify` is compared with SHA-256 alone over the same files, read in the same order, both with the files in memory.
"""

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from labctl.exam.audit import Act
from labctl.exam.evidence.collect import Collector, summary
from labctl.exam.evidence.manifest import Manifest
from labctl.exam.evidence.material import KeptDisk, Machine, Material
from labctl.exam.evidence.verify import verify
from labctl.exam.session import Session
from labctl.lab.frozen import taken
from labctl.monitor import Silent
from tests.exam.evidence.test_collect import Screen
from tests.exam.sessions import HandClock, make_session
from tests.images.disks import make_disk, make_overlay, make_tree

CANDIDATES, MACHINES, TIMES = 4, 3, 3
FILES, CHANGED = 1500, 60  # of /etc: about what Debian with a few services has, and what an hour of work touches
WRITTEN = 40 << 20  # bytes that a machine wrote beside its configuration: logs, packages
MIB = 1 << 20


def measure(folder: Path) -> dict[str, float]:
    """Return the seconds and the size of one candidate's evidence, and the speed of `verify` against SHA-256 alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711, parents=True)
    session = make_session(folder, HandClock(), CANDIDATES)
    golden, frozen = make_disks(folder)
    collector = Collector(session.folder, Screen(), Silent())
    figures: dict[str, float] = {}
    for number in range(1, CANDIDATES + 1):
        material = make_material(session, f"{number:03}", golden, frozen)
        start = time.perf_counter()
        with session.doing(Act.COLLECT, material.number) as told:
            whole = collector.collect(material, lambda number=material.number: manifest_of(session, number))  # type: ignore[misc]
            if whole is None:
                raise RuntimeError(material.number)
            told.update(summary(collector.place(material), whole))
        seconds = time.perf_counter() - start
        figures.setdefault("first_collect_seconds", seconds)  # it reads the golden lab's disks too
        figures["collect_seconds"] = seconds
        changed = sum(taken(machine.root.file) for machine in material.machines)
        figures["size_ratio"] = size_of(collector.place(material)) / changed
        figures["evidence_mib"] = size_of(collector.place(material)) / MIB
    figures |= measure_verify(session)
    shutil.rmtree(folder, ignore_errors=True)
    return figures


def make_disks(folder: Path) -> tuple[Path, Path]:
    """Return a golden disk and what a candidate's machine wrote on top of it."""
    dice = random.Random(1)
    files: dict[str, bytes | str] = {
        f"etc/d{number % 97}/f{number}": b"".join(b"key%d = %d\n" % (line, dice.randrange(10**6)) for line in range(60))
        for number in range(FILES)
    }
    golden = make_disk(make_tree(folder / "tree", files), folder / "golden.qcow2", mib=160)
    changes = {f"/etc/d{number % 97}/f{number}": b"listen = 7080\n" for number in range(CHANGED)}
    changes["/big"] = random.Random(2).randbytes(WRITTEN)
    shutil.rmtree(folder / "tree")
    return golden, make_overlay(golden, folder / "overlay.qcow2", changes)


def make_material(session: Session, number: str, golden: Path, frozen: Path) -> Material:
    """Return a candidate whose machines have frozen disks of their own, as a freeze leaves them."""
    disks = session.folder / "frozen" / number / "freeze-1" / "disks"
    disks.mkdir(parents=True)
    machines = []
    for place in range(MACHINES):
        disk = disks / f"m{place}.qcow2"
        shutil.copyfile(frozen, disk)
        console = disks.parent / f"m{place}.log"
        console.write_bytes(b"login: \n" * 2000)
        machines.append(Machine(f"m{place}", f"lab.m{place}", "lab", (KeptDisk(disk, (golden,)),), console))
    return Material(number, f"c{number}", f"lab-{number}", "golden", tuple(machines), "freeze-1")


def manifest_of(session: Session, number: str) -> Manifest:
    """Return a manifest without files."""
    standing = session.read()
    return Manifest(session.name, number, "2027-05-18T08:00:00Z", True, standing.seq, standing.head, {})


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes."""
    return sum(taken(path) for path in folder.rglob("*") if path.is_file())


def measure_verify(session: Session) -> dict[str, float]:
    """Return how fast `verify` and SHA-256 alone go over the same files."""
    files = [path for path in sorted(session.folder.joinpath("evidence").rglob("*")) if path.is_file()]
    total = sum(path.stat().st_size for path in files)

    def ours() -> None:
        found = verify(session.folder)
        if not found.ok or found.bytes < total * 0.99:
            raise RuntimeError(json.dumps([one.to_dict() for one in found.findings]))

    plain = median(seconds(lambda: hash_all(files)) for _turn in range(TIMES))
    whole = median(seconds(ours) for _turn in range(TIMES))
    return {
        "verify_mib": total / MIB, "sha256_mib_per_second": total / MIB / plain,
        "verify_mib_per_second": total / MIB / whole, "verify_ratio": plain / whole,
    }  # fmt: skip


def hash_all(files: list[Path]) -> None:
    """Take SHA-256 of files, one after the other, as `sha256sum` does."""
    for path in files:
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_RDONLY)
        while part := os.read(descriptor, 1 << 18):
            digest.update(part)
        os.close(descriptor)
        digest.hexdigest()


def seconds(act: Callable[[], None]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
