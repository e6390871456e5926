"""A topology file to a Topology, or to all of its problems in one error."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from labctl.errors import InvalidFile
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Topology
from labctl.topology.parts import mapping, readable_parts, whole_parts
from labctl.topology.problems import Finding, Mark, ProblemsFound, nearest, quoted
from labctl.topology.references import resolve
from labctl.topology.semantics import semantic_findings
from labctl.topology.shapes import as_json, shape_findings
from labctl.topology.spaces import extreme, space_of
from labctl.topology.system_meaning import for_systems
from labctl.topology.tree import Tree, read_tree
from labctl.topology.variant_meaning import variant_findings
from labctl.topology.variants import AnyVariant, Value, Variant

SUFFIXES = (".yml", ".yaml")
VARIANT: TypeAdapter[AnyVariant] = TypeAdapter(Variant)
M = TypeVar("M", bound=BaseModel)


def load_topology(path: Path, catalogue: Catalogue, values: Mapping[str, Value] | None = None) -> Topology:
    """Return the topology of a file, with an owner's values for its variants, or with the defaults.

    Raises ProblemsFound, an InvalidFile, with every problem of the file in one run.
    """
    return read_template(path).resolve(catalogue, values)


@dataclass(frozen=True)
class Template:
    """A topology file as it was read, before its variants have values: each owner's topology is made from it."""

    tree: Tree
    declared: Mapping[str, AnyVariant | None]

    def resolve(self, catalogue: Catalogue, values: Mapping[str, Value] | None = None) -> Topology:
        """Return the topology with these values, else with the defaults: those are tried with the longest ones too.

        Raises ProblemsFound.
        """
        topology = self.read(catalogue, {**self.defaults(), **(values or {})})
        if topology.variants and values is None:
            self.read(catalogue, longest_values(topology))
        return topology

    def read(self, catalogue: Catalogue, values: Mapping[str, Value]) -> Topology:
        """Return the topology with these values. Raises ProblemsFound."""
        tree = self.tree.copy()
        resolution = resolve(tree.data, self.declared, values)
        for finding in resolution.findings:
            tree.find(finding)
        tree.unread |= resolution.unread
        topology = read_shapes(tree, resolution.data, Topology)
        tree.settle()
        parts = whole_parts(topology) if topology else readable_parts(resolution.data)
        for finding in semantic_findings(parts, resolution.data, catalogue):
            tree.find(finding)
        declared = {name: one for name, one in self.declared.items() if one is not None}
        for finding in variant_findings(declared, resolution.used, parts):
            tree.find(finding)
        if tree.problems or topology is None:
            raise ProblemsFound(tree.problems)
        return for_systems(topology, parts, catalogue)

    def defaults(self) -> Mapping[str, Value]:
        """Return the values of a lab that belongs to no session."""
        return default_values(self.declared)


def default_values(declared: Mapping[str, AnyVariant | None]) -> Mapping[str, Value]:
    """Return the values of variants of which none is drawn."""
    found = {name: getattr(one, "default", "") for name, one in declared.items() if one is not None}
    return {name: value if isinstance(value, int) else str(value) for name, value in found.items()}


def longest_values(topology: Topology) -> Mapping[str, Value]:
    """Return the longest value of each variant that may be drawn: where it fits, all others do."""
    parts = whole_parts(topology)
    longest = {name: extreme(space_of(one, parts)) for name, one in topology.variants.items()}
    return {name: value for name, value in longest.items() if value is not None}


def read_template(path: Path) -> Template:
    """Read a topology file. Raises ProblemsFound where nothing can be said about its meaning."""
    tree = read_tree(path)
    if isinstance(tree.data, dict) and "recette" in tree.data and "nodes" not in tree.data:
        raise another_kind(tree, _("a topology"), _("an exam"), f"labctl exam validate {path}")
    return Template(tree, read_variants(tree))


def another_kind(tree: Tree, expected: str, found: str, hint: str) -> ProblemsFound:
    """Return the error about a file that is a good one of another kind: nothing else need be said of it."""
    return ProblemsFound([tree.source.problem(Mark(1, 1), Finding((), expected, found))], hint)


def read_variants(tree: Tree) -> Mapping[str, AnyVariant | None]:
    """Return the variants that a file declares."""
    return {name: read_variant(plain) for name, plain in mapping(tree.data, "variants").items()}


def read_variant(data: JsonValue) -> AnyVariant | None:
    """Return a variant, None for one that is not well formed: that is found when all shapes are read."""
    try:
        return VARIANT.validate_json(as_json(data), strict=True)
    except ValidationError:
        return None


def read_shapes(tree: Tree, data: JsonValue, model: type[M]) -> M | None:
    """Return the data as a model, None after adding its problems to the tree."""
    try:
        return model.model_validate_json(as_json(data), strict=True, by_alias=True, by_name=False)
    except ValidationError as exc:
        for finding in shape_findings(exc, model, data):
            tree.find(finding)
        return None


def find_topology(name_or_path: str, shipped: Path) -> Path:
    """Return the file that a person means: a path that exists wins over the name of a shipped topology.

    Raises InvalidFile with the nearest name where there is neither.
    """
    text = _("there is no file and no shipped topology {name}; shipped are: {names}")
    return find_file(name_or_path, shipped, text, "labctl validate")


def find_file(name_or_path: str, shipped: Path, unknown: str, verb: str) -> Path:
    """Return the file of a path, or of a shipped name; else raise InvalidFile with the nearest name.

    `unknown` is the error's sentence, with {name} and {names}; `verb` the command that reads such a file.
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
    message = unknown.format(name=quoted(name_or_path), names=", ".join(known) or _("none"))
    if near:
        message += _('; did you mean "{name}"?').format(name=near)
    raise InvalidFile(message, hint=f"{verb} {near}" if near else "")


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
