"""Exam files that load, and the golden texts of bad ones: problems/NAME.txt for a change of good.yml."""

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from yamllint import linter  # type: ignore[import-untyped]  # as above

from labctl.errors import InvalidFile
from labctl.exam.document import EXAMPLE, exam_document
from labctl.exam.load import find_exam, load_paper, read_paper
from labctl.exam.meaning import number_of
from labctl.exam.model import Exam, Phase
from labctl.exam.schema import exam_schema
from labctl.topology.load import load_topology
from labctl.topology.problems import ProblemsFound
from labctl.topology.shapes import Shape, expectation, field_shape, shape_of
from labctl.topology.tree import read_tree
from labctl.variants import Lot
from tests.exam.papers import GOOD, HERE, SCENARIO, good_paper, write_exam
from tests.topology.known import known
from tests.topology.test_document import ROOT, shipped_catalogue
from tests.topology.test_problems import compare
from tests.topology.test_shipped import RULES

PROBLEMS = HERE / "problems"
SHIPPED = sorted((ROOT / "exams").glob("*.yml"))
TOPOLOGIES = ROOT / "topologies"
RECETTE = "  - {check: page-opens}\n  - {check: web-answers}\n"

BAD = {
    "phase-of-zero-minutes": [("topology: small.yml", "topology: small.yml\nphases: {practical: 0, interview: 481}")],
    "phase-unknown": [("topology: small.yml", "topology: small.yml\nphases: {practice: 30}")],
    "check-unknown": [("{check: web-answers}", "{check: web-answer}")],
    "check-twice": [("{check: web-answers}", "{check: page-opens}")],
    "check-that-nobody-asks": [("  - {check: page-opens}\n", "")],
    "check-of-the-topology": [("id: page-opens", "id: web-answers"), ("{check: page-opens}", "{check: web-answers}")],
    "check-from-unknown": [("from: client", "from: clients\n    ready: true")],
    "recette-that-passes-at-once": [("{check: page-opens}", "{check: page-opens, start: passes}")],
    "text-missing": [(", fr: Le serveur n'a pas de page.", "")],
    "work-missing": [("  work:", "  tasks:")],
    "topology-unknown": [("topology: small.yml", "topology: smal.yml")],
    "session-without-number": [("session: 2027", "session: 2025")],
    "internet-without-a-way": [("topology: small.yml", "topology: small.yml\ninternet: [docs.example, docs.example]")],
    "reset-that-cannot-be": [("topology: small.yml", "topology: small.yml\nreset: {scope: lab, most: 0}")],
    "evidence-of-unknown-node": [("{web: [/var/www]}", "{www: [/var/www]}")],
    "competency-unknown": [("    competency: B2.2.1\nevidence", "    competency: B2.2.9\nevidence")],
    "variant-of-the-topology": [("  page:\n", "  asked:\n"), ("${variant.page}", "${variant.asked}")],
    "variant-unknown": [("${variant.page}", "${variant.pages}")],
    "variant-where-all-are-equal": [("{web: [/var/www]}", '{web: ["/var/${variant.page}"]}')],
    "several": [("session: 2027", "session: 27"), (RECETTE, "  - {chek: page-opens}\n")],
}
FRENCH = ("several", "check-unknown", "phase-of-zero-minutes")


def text_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write_exam(folder, *BAD[name])
    monkeypatch.chdir(folder)
    with pytest.raises(ProblemsFound) as caught:
        load_paper(Path("exam.yml"), known(), TOPOLOGIES)
    return caught.value.message + "\n"


def test_every_bad_exam_has_its_text() -> None:
    assert {*BAD} == {path.stem for path in PROBLEMS.glob("*.txt") if ".fr" not in path.name}


@pytest.mark.parametrize("name", BAD)
def test_every_problem_is_told_at_its_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update_golden: bool
) -> None:
    compare(text_of(name, tmp_path, monkeypatch), PROBLEMS / f"{name}.txt", update_golden)


@pytest.mark.parametrize("name", FRENCH)
def test_in_french(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update_golden: bool) -> None:
    monkeypatch.setenv("LABCTL_LANG", "fr")
    compare(text_of(name, tmp_path, monkeypatch), PROBLEMS / f"{name}.fr.txt", update_golden)


def test_a_good_exam_has_the_official_times_and_number() -> None:
    exam = good_paper().exam
    assert [exam.phases.minutes(phase) for phase in Phase] == [30, 20, 60, 20]
    assert number_of(exam) == "E6"
    assert number_of(exam.model_copy(update={"session": 2023})) == "E5"
    assert number_of(exam.model_copy(update={"exam_number": "E4"})) == "E4"


def test_each_candidate_draws_values_of_the_topology_and_of_the_demand_together() -> None:
    paper = good_paper()
    lot = Lot(paper.topology, "2027", b"secret")
    drawn = lot.draw(["a", "b", "c"], {})
    assert len({tuple(draw.values.items()) for draw in drawn.values()}) == 3
    values = drawn["a"].values
    own = read_paper(GOOD, TOPOLOGIES).resolve(known(), values)
    assert own.exam.demand.work[0].en == f"Publish a page named {values['page']} for {values['asked']}."
    assert own.topology.nodes["client"].description is not None
    assert own.topology.nodes["client"].description.en == f"asks {values['asked']}"


def test_a_problem_of_the_topology_is_told_in_its_own_file(tmp_path: Path) -> None:
    path = write_exam(tmp_path)
    scenario = tmp_path / "small.yml"
    scenario.write_text(scenario.read_text(encoding="utf-8").replace("kind: segment", "kind: segments"))
    with pytest.raises(ProblemsFound, match=r"small\.yml:8:"):
        load_paper(path, known(), TOPOLOGIES)


def test_a_topology_is_no_exam_and_an_exam_no_topology() -> None:
    with pytest.raises(ProblemsFound, match="expected an exam, found a topology") as caught:
        load_paper(SCENARIO, known(), TOPOLOGIES)
    assert caught.value.hint == f"labctl validate {SCENARIO}"
    with pytest.raises(ProblemsFound, match="expected a topology, found an exam") as caught:
        load_topology(GOOD, known())
    assert caught.value.hint == f"labctl exam validate {GOOD}"
    assert len(caught.value.problems) == 1


def test_a_name_of_a_shipped_exam_or_a_path() -> None:
    shipped = ROOT / "exams"
    assert find_exam("e6-dmz", shipped) == shipped / "e6-dmz.yml"
    assert find_exam(str(GOOD), shipped) == GOOD
    assert find_exam("nowhere/e6.yml", shipped) == Path("nowhere/e6.yml")
    with pytest.raises(InvalidFile, match=r'did you mean "e6-dmz"') as caught:
        find_exam("e6-dzm", shipped)
    assert caught.value.hint == "labctl exam validate e6-dmz"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_exam_loads_and_is_clean(file: Path) -> None:
    assert load_paper(file, shipped_catalogue(), TOPOLOGIES).exam.name == file.stem
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=exam.schema.json\n")
    assert not [str(problem) for problem in linter.run(text, RULES)]


def test_the_schema_is_true_and_takes_good_exams(update_golden: bool, tmp_path: Path) -> None:
    schema = exam_schema()
    compare(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", ROOT / "exams" / "exam.schema.json", update_golden)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert SHIPPED
    for good in (GOOD, *SHIPPED):
        assert not list(validator.iter_errors(read_tree(good).data))
    for bad in ("phase-of-zero-minutes", "phase-unknown", "text-missing", "work-missing"):
        assert list(validator.iter_errors(read_tree(write_exam(tmp_path, *BAD[bad])).data)), bad


@pytest.mark.parametrize(("language", "page"), [("en", "exam.md"), ("fr", "fr/examen.md")])
def test_the_page_is_true(language: str, page: str, monkeypatch: pytest.MonkeyPatch, update_golden: bool) -> None:
    monkeypatch.setenv("LABCTL_LANG", language)
    compare(exam_document(), ROOT / "docs" / page, update_golden)


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "first-exam.yml"
    file.write_text(EXAMPLE, encoding="utf-8")
    assert load_paper(file, shipped_catalogue(), TOPOLOGIES).exam.recette


def test_every_key_says_what_it_means() -> None:
    def visit(shape: Shape) -> None:
        for inner in (*shape.members, *([shape.item] if shape.is_list or shape.is_mapping else [])):
            visit(inner)
        for name, field in shape.fields.items():
            assert field.description, (shape.type, name)
            assert expectation(field_shape(field)) not in ("a value", "")
            visit(field_shape(field))

    visit(shape_of(Exam))
