"""A topology file to a Topology, or to all of its problems in one error."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, ValidationError

from labctl.errors import InvalidFile
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Topology
from labctl.topology.parts import readable_parts, whole_parts
from labctl.topology.problems import ProblemsFound, nearest, quoted
from labctl.topology.semantics import semantic_findings
from labctl.topology.shapes import as_json, shape_findings
from labctl.topology.tree import Tree, read_tree

SUFFIXES = (".yml", ".yaml")


def load_topology(path: Path, catalogue: Catalogue) -> Topology:
    """Return the topology of a file.

    Raises ProblemsFound, an InvalidFile, with every problem of the file in one run.
    """
    tree = read_tree(path)
    topology = read_shapes(tree, tree.data)
    tree.settle()
    parts = whole_parts(topology) if topology else readable_parts(tree.data)
    for finding in semantic_findings(parts, tree.data, catalogue):
        tree.find(finding)
    if tree.problems or topology is None:
        raise ProblemsFound(tree.problems)
    return topology


def read_shapes(tree: Tree, data: JsonValue) -> Topology | None:
    """Return the data as a Topology, None after adding its problems to the tree."""
    try:
        return Topology.model_validate_json(as_json(data), strict=True, by_alias=True, by_name=False)
    except ValidationError as exc:
        for finding in shape_findings(exc, Topology, data):
            tree.find(finding)
        return None


def find_topology(name_or_path: str, shipped: Path) -> Path:
    """Return the file that a person means: a path that exists wins over the name of a shipped topology.

    Raises InvalidFile with the nearest name where there is neither.
    """
    path = Path(name_or_path)
    if is_file(path):
        return path
    known = shipped_topologies(shipped)
    if name_or_path in known:
        return known[name_or_path]
    if path.suffix in SUFFIXES or "/" in name_or_path:
        return path  # loading says what is wrong with the path
    near = nearest(name_or_path, known)
    text = _("there is no file and no shipped topology {name}; shipped are: {names}")
    message = text.format(name=quoted(name_or_path), names=", ".join(known) or _("none"))
    if near:
        message += _('; did you mean "{name}"?').format(name=near)
    raise InvalidFile(message, hint=f"labctl validate {near}" if near else "")


def shipped_topologies(folder: Path) -> Mapping[str, Path]:
    """Return the files of the topologies in a folder by name, in alphabetical order."""
    found = {file.stem: file for suffix in reversed(SUFFIXES) for file in folder.glob(f"*{suffix}")}
    return dict(sorted(found.items()))


def is_file(path: Path) -> bool:
    """Tell whether a path is a file; one that no file system takes is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
