"""The generated pages and the schema are true, and what they show loads."""

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from labctl.images.recipe import recipe_facts
from labctl.language import LOCALES
from labctl.topology.catalogue import Catalogue, load_catalogue
from labctl.topology.document import EXAMPLE, topology_document
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from labctl.topology.schema import topology_schema
from labctl.topology.shapes import Shape, expectation, field_shape, shape_of
from labctl.topology.tree import read_tree
from tests.topology.known import GOOD, known
from tests.topology.test_problems import FILES, compare

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "topologies").glob("*.yml"))

BAD_SHAPES = (
    "key-unknown",
    "key-missing",
    "service-unknown",
    "service-parameter-unknown",
    "service-parameter-choice",
    "service-parameter-type",
    "name-long",
    "check-probe-unknown",
    "version-number",
)


def shipped_catalogue() -> Catalogue:
    return load_catalogue(ROOT / "playbooks", recipe_facts())


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


def test_the_page_is_true(update_golden: bool) -> None:
    compare(topology_document(shipped_catalogue()), ROOT / "docs" / "topology.md", update_golden)


# The compiled catalogue is made by the build; without it there is no French to compare.
@pytest.mark.skipif(not (LOCALES / "fr" / "LC_MESSAGES" / "labctl.mo").exists(), reason="no French catalogue was built")
def test_the_french_page_is_true(monkeypatch: pytest.MonkeyPatch, update_golden: bool) -> None:
    monkeypatch.setenv("LABCTL_LANG", "fr")
    page = ROOT / "docs" / "fr" / "topology.md"
    page.parent.mkdir(exist_ok=True)
    compare(topology_document(shipped_catalogue()), page, update_golden)


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "first-lab.yml"
    file.write_text(EXAMPLE, encoding="utf-8")
    assert load_topology(file, known()).checks


def test_the_shipped_schema_is_true(update_golden: bool) -> None:
    text = json.dumps(topology_schema(shipped_catalogue()), indent=2, ensure_ascii=False) + "\n"
    compare(text, ROOT / "topologies" / "topology.schema.json", update_golden)


def test_the_schema_takes_good_files_and_refuses_bad_shapes(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(topology_schema(known()))
    jsonschema.Draft202012Validator.check_schema(validator.schema)
    example = tmp_path / "first-lab.yml"
    example.write_text(EXAMPLE, encoding="utf-8")
    for good in (GOOD, example):
        assert not list(validator.iter_errors(read_tree(good).data))
    by_name = {file.stem: file for file in FILES}
    for bad in BAD_SHAPES:
        assert list(validator.iter_errors(read_tree(by_name[bad]).data)), bad


def test_every_key_of_the_model_says_what_it_means() -> None:
    def visit(shape: Shape, seen: set[object]) -> None:
        for inner in (*shape.members, *([shape.item] if shape.is_list or shape.is_mapping else [])):
            visit(inner, seen)
        if shape.type in seen:
            return
        for name, field in shape.fields.items():
            seen.add(shape.type)
            assert field.description, (shape.type, name)
            assert expectation(field_shape(field)) not in ("a value", "")
            visit(field_shape(field), seen)

    seen: set[object] = set()
    visit(shape_of(Topology), seen)
    assert len(seen) >= 15
