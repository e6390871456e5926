"""The name of a shipped topology, or a path, to what its file says."""

from pathlib import Path

from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.load import Template, find_topology, read_template
from labctl.topology.model import Topology


def load_named(name: str) -> tuple[Path, Topology]:
    """Return the file and the topology of a name or path."""
    path, _template, topology = load_source(name)
    return path, topology


def load_source(name: str) -> tuple[Path, Template, Topology]:
    """Return the file of a name or path, what it says before its variants have values, and its topology."""
    path = find_topology(name, shipped_folder("topologies"))
    template = read_template(path)
    return path, template, template.resolve(shipped_catalogue())
