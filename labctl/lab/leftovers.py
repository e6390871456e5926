"""The home folder and the observed host to what crashes left there, and to the objects that are not ours."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from labctl.hypervisor.delivery import PREFIX
from labctl.images.overlay import chain, find_disks
from labctl.lab.disks import FRESH
from labctl.plan.observed import Observed, SeenDomain, SeenNetwork

GOLDEN_NAME = re.compile("[a-z][a-z0-9-]{0,30}-[0-9a-f]{12}")
UNFINISHED = ".new"  # a checkpoint, or a secret, that is being written


def lab_rests(top: Path, seen: Observed) -> Iterator[Path]:
    """Yield the files of a lab that an interrupted run left, while no run works on the lab.

    A disk that is to take the place of another counts as one only where no machine and no disk uses it.
    """
    yield from sorted((top / "disks").glob(".*.tmp"))
    used = {Path(disk) for domain in seen.domains for disk in domain.disks}
    fresh = sorted((top / "disks").glob(f"*{FRESH}"))
    below = {path for disk in find_disks(top) for path in chain(disk)[1:]} if fresh else set()
    yield from (path for path in fresh if path not in used | below)
    for folder in ("identity", "secrets"):
        yield from sorted((top / folder).glob(f".*{UNFINISHED}"))
    yield from sorted(top.glob(".topology.yml.*.tmp"))


def unfinished_checkpoints(top: Path) -> list[Path]:
    """Return the checkpoints of a lab that a crash interrupted; they hold memory that only their own verb can mend."""
    return sorted((top / "checkpoints").glob(f"*{UNFINISHED}"))


def dead_deliveries(home: Path) -> list[Path]:
    """Return the FIFOs and copies of saved memory whose process is no more."""
    found = [*home.glob(f"golden/*/states/{PREFIX}*"), *home.glob(f"labs/*/checkpoints/*/states/{PREFIX}*")]
    return sorted(path for path in found if not is_process(path.name.removeprefix(PREFIX).partition("-")[0]))


def is_process(number: str) -> bool:
    """Return whether a process has this id; what is no number is nobody's leftover."""
    return not number.isdecimal() or Path("/proc", number).exists()


def golden_rests(home: Path) -> dict[str, list[Path]]:
    """Return the folders of golden labs without a manifest, by name, each with the disks that stand on it."""
    rests: dict[str, list[Path]] = {
        path.name: []
        for path in sorted((home / "golden").glob("*"))
        if path.is_dir() and GOLDEN_NAME.fullmatch(path.name) and not (path / "manifest.json").exists()
    }
    if rests:
        for disk in sorted(find_disks(home / "labs")):
            for base in chain(disk)[1:]:
                if base.is_relative_to(home / "golden"):
                    rests.get(base.relative_to(home / "golden").parts[0], []).append(disk)
    return rests


def foreign_objects(seen: Observed, prefix: str, seats: Collection[str], home: Path) -> list[str]:
    """Return the machines and networks that look like ours and are not: by a seat's name, or by a disk in our home."""
    starts = tuple(f"{prefix}{seat}." for seat in seats)
    objects: tuple[SeenDomain | SeenNetwork, ...] = (*seen.domains, *seen.networks)
    names = {one.name for one in objects if one.tag is None and one.name.startswith(starts)}
    names |= {
        domain.name
        for domain in seen.domains
        if domain.tag is None and any(Path(disk).is_relative_to(home / "labs") for disk in domain.disks)
    }
    return sorted(names)
