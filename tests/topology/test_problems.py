"""Bad topologies have golden error text: tests/problems/NAME.yml and NAME.txt (English) or NAME.fr.txt."""

from pathlib import Path

import pytest

from labctl.language import LOCALES
from labctl.topology.load import load_topology
from labctl.topology.problems import ProblemsFound
from tests.topology.known import known

PROBLEMS = Path(__file__).parents[1] / "problems"
FILES = sorted(PROBLEMS.glob("*.yml"))
FRENCH = ("several", "networks-overlap", "service-parameter-type", "key-given-twice", "list-at-top", "empty")


def text_of(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(PROBLEMS)
    with pytest.raises(ProblemsFound) as caught:
        load_topology(Path(file.name), known())
    assert caught.value.problems
    return caught.value.message + "\n"


def compare(seen: str, golden: Path, update: bool) -> None:
    if update:
        golden.write_text(seen, encoding="utf-8")
    assert seen == golden.read_text(encoding="utf-8")


def test_there_are_bad_topologies() -> None:
    assert len(FILES) >= 30
    assert {file.stem for file in FILES} == {text.stem for text in PROBLEMS.glob("*.txt") if ".fr" not in text.name}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_english(file: Path, monkeypatch: pytest.MonkeyPatch, update_golden: bool) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    compare(text_of(file, monkeypatch), file.with_suffix(".txt"), update_golden)


# The compiled catalogue is made by the build; without it there is no French to compare.
@pytest.mark.skipif(not (LOCALES / "fr" / "LC_MESSAGES" / "labctl.mo").exists(), reason="no French catalogue was built")
@pytest.mark.parametrize("name", FRENCH)
def test_french(name: str, monkeypatch: pytest.MonkeyPatch, update_golden: bool) -> None:
    monkeypatch.setenv("LABCTL_LANG", "fr")
    compare(text_of(PROBLEMS / f"{name}.yml", monkeypatch), PROBLEMS / f"{name}.fr.txt", update_golden)
