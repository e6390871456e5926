"""All kinds of probes that checking knows, by their model; a family of kinds is a module."""

from collections.abc import Mapping
from typing import Any

from labctl.checks import directory, messages, names, network, system
from labctl.checks.kind import Kind

KINDS: Mapping[type, Kind[Any]] = {
    kind.probe: kind for family in (network, names, directory, messages, system) for kind in family.KINDS
}
