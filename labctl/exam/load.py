"""An exam file to a Paper, the exam together with its topology, or to all of the file's problems in one error."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from labctl.exam.meaning import exam_findings
from labctl.exam.model import Exam
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.load import (
    Template,
    another_kind,
    default_values,
    find_file,
    is_file,
    longest_values,
    read_shapes,
    read_template,
    read_variants,
    shipped_topologies,
)
from labctl.topology.model import Topology
from labctl.topology.parts import read_item, whole_parts
from labctl.topology.problems import Finding, ProblemsFound, listing, nearest, quoted
from labctl.topology.references import ANY, Places, resolve
from labctl.topology.tree import Tree, read_tree
from labctl.topology.variant_meaning import variant_findings
from labctl.topology.variants import AnyVariant, Value

EXAM: TypeAdapter[Exam] = TypeAdapter(Exam)
# Where one candidate's exam may differ from another's: what is asked, how it is seen to be done, what the jury asks.
PLACES: Places = (
    ("title",), ("demand",), ("checks", ANY, "title"), ("checks", ANY, "probe"), ("checks", ANY, "pass"),
    ("checks", ANY, "fail"), ("questions", ANY, "ask"), ("questions", ANY, "expected"),
)  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """An exam with values for its variants, and the topology that it is carried out on.

    `topology` has the variants of both, so that a lot draws all values of a candidate together.
    """

    path: Path
    exam: Exam
    topology: Topology


@dataclass(frozen=True)
class PaperTemplate:
    """An exam file as it was read, before its variants have values.

    `declared` are its own variants; `scenario` is its topology, None where no such file was found.
    """

    tree: Tree
    declared: Mapping[str, AnyVariant | None]
    scenario: Template | None

    def resolve(self, catalogue: Catalogue, values: Mapping[str, Value] | None = None) -> Paper:
        """Return the exam with a candidate's values, or with the defaults: those are tried with the longest ones too.

        Raises ProblemsFound, about the topology before all.
        """
        if self.scenario is None:
            raise ProblemsFound(self.read_alone().problems)
        given = {**self.scenario.defaults(), **default_values(self.declared), **(values or {})}
        paper = self.read(self.scenario.resolve(catalogue, values and given), catalogue, given)
        if values is None:
            longest = {**given, **longest_values(paper.topology)}
            self.read(self.scenario.read(catalogue, longest), catalogue, longest)
        return paper

    def read(self, topology: Topology, catalogue: Catalogue, values: Mapping[str, Value]) -> Paper:
        """Return the exam with these values on its topology. Raises ProblemsFound."""
        tree = self.tree.copy()
        resolution = resolve(tree.data, {**topology.variants, **self.declared}, values, PLACES)
        for finding in resolution.findings:
            tree.find(finding)
        tree.unread |= resolution.unread
        exam = read_shapes(tree, resolution.data, Exam)
        tree.settle()
        readable = exam or read_item(EXAM, resolution.data)
        if isinstance(readable, Exam):
            for finding in exam_findings(readable, resolution.data, topology, catalogue):
                tree.find(finding)
        declared = {name: one for name, one in self.declared.items() if one is not None}
        for finding in variant_findings(declared, resolution.used, whole_parts(topology)):
            tree.find(finding)
        for name in topology.variants.keys() & declared.keys():
            text = _("a name that no variant of the topology has")
            tree.find(Finding(("variants", name), text, quoted(name), at_key=True))
        if tree.problems or exam is None:
            raise ProblemsFound(tree.problems)
        both = topology.model_copy(update={"variants": {**topology.variants, **exam.variants}})
        return Paper(tree.source.path, exam, both)

    def read_alone(self) -> Tree:
        """Return the tree with what can be said of the exam without its topology."""
        tree = self.tree.copy()
        read_shapes(tree, tree.data, Exam)
        return tree


def load_paper(path: Path, catalogue: Catalogue, shipped: Path) -> Paper:
    """Return the exam of a file, with the defaults of its variants; `shipped` is the folder of shipped topologies.

    Raises ProblemsFound with every problem of the file.
    """
    return read_paper(path, shipped).resolve(catalogue)


def read_paper(path: Path, shipped: Path) -> PaperTemplate:
    """Read an exam file and its topology. Raises ProblemsFound where nothing can be said about their meaning."""
    tree = read_tree(path)
    if isinstance(tree.data, dict) and "nodes" in tree.data and "recette" not in tree.data:
        raise another_kind(tree, _("an exam"), _("a topology"), f"labctl validate {path}")
    named = tree.data.get("topology") if isinstance(tree.data, dict) else None
    scenario = find_scenario(named, path.parent, shipped) if isinstance(named, str) else None
    if isinstance(named, str) and scenario is None:
        known, beside = shipped_topologies(shipped), (one.name for one in path.parent.glob("*.yml"))
        text = _("a shipped topology ({names}), or a file seen from here").format(names=listing(known))
        tree.find(Finding(("topology",), text, quoted(named), nearest(named, [*known, *beside])))
    return PaperTemplate(tree, read_variants(tree), read_template(scenario) if scenario else None)


def find_scenario(name: str, folder: Path, shipped: Path) -> Path | None:
    """Return the file of a topology: one beside the exam wins over a shipped name. None where there is neither."""
    return folder / name if is_file(folder / name) else shipped_topologies(shipped).get(name)


def find_exam(name_or_path: str, shipped: Path) -> Path:
    """Return the file that a person means: a path that exists wins over the name of a shipped exam.

    Raises InvalidFile with the nearest name where there is neither.
    """
    text = _("there is no file and no shipped exam {name}; shipped are: {names}")
    return find_file(name_or_path, shipped, text, "labctl exam validate")
