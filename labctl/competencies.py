"""The list of competencies, what shows each and the exam of each block, from the package's data to records by id."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML

TITLES = Path(__file__).with_suffix(".yml")
INDICATORS = TITLES.with_name("indicators.yml")  # a file of its own: every verb reads the titles, few need these


class Status(StrEnum):
    """How well a text is attested as the official one."""

    OPEN_DATA = "official-opendata"
    CORROBORATED = "corroborated"
    SINGLE_SOURCE = "single-source"
    SLAM_COPY = "slam-copy"
    NOT_FOUND = "not-found"
    PROPOSAL = "labctl-proposal"  # labctl's own words: not official at all


@dataclass(frozen=True)
class Competency:
    """A block (B2), a competency (B2.2) or one of its parts (B2.2.1).

    `title` is verbatim French; `status` says how well it is attested, `source` by what.
    """

    id: str
    title: str
    block: str
    status: Status
    source: str

    @property
    def is_part(self) -> bool:
        """Tell whether this is a sub-competency, such as B2.2.1."""
        return len(self.id) == len("B2.2.1")


@dataclass(frozen=True)
class Goal:
    """Something that machines can check of a competency, in labctl's own words."""

    en: str
    fr: str

    def pick(self, language: str) -> str:
        """Return the text in "fr" or "en"."""
        return self.fr if language == "fr" else self.en


@dataclass(frozen=True)
class Indicators:
    """What shows that a competency such as B2.2 is mastered.

    `official` is verbatim French and empty where `status` is NOT_FOUND; `source` says where it was found.
    `goals` are labctl's own: their status is always PROPOSAL.
    """

    status: Status
    source: str
    official: tuple[str, ...]
    goals: tuple[Goal, ...] = ()


@dataclass(frozen=True)
class Session:
    """The exam numbers of the sessions from the year `since` to `until`, which is None for those in force."""

    since: int
    until: int | None
    exams: Mapping[str, str]
    source: str


@cache
def load_competencies() -> Mapping[str, Competency]:
    """Return all competencies by id, in the official order."""
    found: dict[str, Competency] = {}
    for block in read(TITLES)["blocks"]:
        titles = {block["id"]: block["title"], **block["competencies"]}
        for name, title in titles.items():
            found[name] = Competency(name, title, block["id"], Status(block["status"]), block["source"])
    return MappingProxyType(found)


@cache
def load_indicators() -> Mapping[str, Indicators]:
    """Return what shows each competency, by ids such as B2.2; blocks and parts have none."""
    return MappingProxyType({
        name: Indicators(
            Status(one["status"]), one["source"], tuple(one["official"]),
            tuple(Goal(goal["en"], goal["fr"]) for goal in one.get("labctl", ())),
        )
        for name, one in read(INDICATORS).items()
    })  # fmt: skip


@cache
def load_sessions() -> tuple[Session, ...]:
    """Return the tables of exam numbers, the newest first."""
    return tuple(
        Session(one["since"], one.get("until"), MappingProxyType(one["exams"]), one["source"])
        for one in read(TITLES)["sessions"]
    )


def exam_number(block: str, year: int) -> str:
    """Return the number, such as E6, of the exam of a block in the session of a year; empty where it was not found."""
    for session in load_sessions():
        if session.since <= year and (session.until is None or year <= session.until):
            return session.exams.get(block, "")
    return ""


@cache
def read(path: Path) -> Any:  # noqa: ANN401  what a YAML file holds
    """Return the plain data of a file of this package."""
    return YAML(typ="safe", pure=True).load(path)
