"""The official list of competencies, from labctl/competencies.yml to records by id."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from ruamel.yaml import YAML

DATA = Path(__file__).with_suffix(".yml")


@dataclass(frozen=True)
class Competency:
    """A block (B2), a competency (B2.2) or one of its parts (B2.2.1).

    `title` is verbatim French; `status` says how well it is attested, `source` by what.
    """

    id: str
    title: str
    block: str
    status: str
    source: str


@cache
def load_competencies() -> Mapping[str, Competency]:
    """Return all competencies by id, in the official order."""
    found: dict[str, Competency] = {}
    for block in YAML(typ="safe", pure=True).load(DATA)["blocks"]:
        titles = {block["id"]: block["title"], **block["competencies"]}
        for name, title in titles.items():
            found[name] = Competency(name, title, block["id"], block["status"], block["source"])
    return MappingProxyType(found)
