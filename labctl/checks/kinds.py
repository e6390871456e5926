"""All kinds of probes that checking knows, by their model and the system asked; a family of kinds is a module."""

from collections.abc import Mapping
from typing import Any

from labctl.checks import directory, messages, names, network, on_windows, system, windows
from labctl.checks.kind import Kind
from labctl.topology.hardware import System
from labctl.topology.probes import Probe

KINDS: Mapping[type, Kind[Any]] = {
    kind.probe: kind for family in (network, names, directory, messages, system) for kind in family.KINDS
}
ON_WINDOWS: Mapping[type, Kind[Any]] = {kind.probe: kind for family in (on_windows, windows) for kind in family.KINDS}


def kind_of(probe: Probe, asked: System) -> Kind[Any]:
    """Return how a probe is asked of a system and judged. Raises KeyError where it cannot be asked there."""
    return (ON_WINDOWS if asked is System.WINDOWS else KINDS)[type(probe)]
