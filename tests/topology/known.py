"""A small catalogue of the tests' own, so that they do not depend on the shipped services."""

from functools import cache
from pathlib import Path

from labctl.topology.catalogue import Catalogue, ImageFacts, load_catalogue

HERE = Path(__file__).parent
GOOD = HERE / "good.yml"


@cache
def known() -> Catalogue:
    return load_catalogue(HERE / "playbooks", (ImageFacts("debian-12", 256), ImageFacts("debian-13", 256)))
