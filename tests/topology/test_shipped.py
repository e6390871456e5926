"""Every shipped topology loads, is clean YAML and tells editors its schema."""

from pathlib import Path

import pytest
from yamllint import linter  # type: ignore[import-untyped]  # it ships no types
from yamllint.config import YamlLintConfig  # type: ignore[import-untyped]  # as above

from labctl.topology.load import load_topology
from tests.topology.test_document import ROOT, SHIPPED, shipped_catalogue

RULES = YamlLintConfig("""
extends: default
rules:
  line-length: {max: 160}
  braces: {max-spaces-inside: 1}
  comments: {min-spaces-from-content: 1}
""")


def test_there_are_shipped_topologies() -> None:
    assert SHIPPED


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_it_loads(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    assert load_topology(file, shipped_catalogue()).name == file.stem


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_it_tells_editors_its_schema(file: Path) -> None:
    assert file.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=topology.schema.json\n")
    assert (ROOT / "topologies" / "topology.schema.json").is_file()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_it_is_clean_yaml(file: Path) -> None:
    assert not [str(problem) for problem in linter.run(file.read_text(encoding="utf-8"), RULES)]
