"""Topologies and the list of competencies to what serves each competency, and what nothing serves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from labctl.competencies import Competency
from labctl.topology.model import Topology

CORE = ("B2", "B3")  # the blocks that labs are made for; parts of B1 are served along with them


class Extent(StrEnum):
    """How far a competency is served.

    COVERED: a check or a fault shows it. ANNOUNCED: a lab says that it trains it, and nothing shows it. GAP: nothing.
    """

    COVERED = "covered"
    ANNOUNCED = "announced"
    GAP = "gap"


@dataclass(frozen=True)
class Coverage:
    """What serves one competency: `checks` and `faults` have for each lab that has some the ids, in the file's order.

    `labs` are all that announce it, check it or break it, in the order they were given.
    """

    competency: Competency
    labs: tuple[str, ...]
    checks: Mapping[str, tuple[str, ...]]
    faults: Mapping[str, tuple[str, ...]]

    @property
    def extent(self) -> Extent:
        """Return how far the competency is served."""
        if self.checks or self.faults:
            return Extent.COVERED
        return Extent.ANNOUNCED if self.labs else Extent.GAP


@dataclass(frozen=True)
class Share:
    """How many of the sub-competencies of a block are covered."""

    covered: int
    total: int


def cover(topologies: Iterable[Topology], competencies: Mapping[str, Competency]) -> Mapping[str, Coverage]:
    """Return what serves each competency, by id in the official order.

    A check or a fault serves the competency that it names and no other: one that names B2.2 covers no part of it.
    """
    labs = list(topologies)
    return {name: cover_one(one, labs) for name, one in competencies.items()}


def cover_one(competency: Competency, labs: Iterable[Topology]) -> Coverage:
    """Return what serves one competency."""
    name = competency.id
    checks: dict[str, tuple[str, ...]] = {}
    faults: dict[str, tuple[str, ...]] = {}
    serving = []
    for lab in labs:
        checked = tuple(check.id for check in lab.checks if check.competency == name)
        broken = tuple(fault.id for fault in lab.faults if name in fault.competencies)
        if checked:
            checks[lab.name] = checked
        if broken:
            faults[lab.name] = broken
        if checked or broken or name in lab.competencies:
            serving.append(lab.name)
    return Coverage(competency, tuple(serving), checks, faults)


def parts_of(coverage: Mapping[str, Coverage], block: str) -> tuple[Coverage, ...]:
    """Return the coverage of the sub-competencies of a block, in the official order."""
    return tuple(one for one in coverage.values() if one.competency.block == block and one.competency.is_part)


def share_of(coverage: Mapping[str, Coverage], block: str) -> Share:
    """Return how many sub-competencies of a block are covered."""
    parts = parts_of(coverage, block)
    return Share(sum(one.extent is Extent.COVERED for one in parts), len(parts))
