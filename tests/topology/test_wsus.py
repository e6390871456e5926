"""The lab with a server of Windows updates that the guides show loads, in both languages, with the role's defaults."""

import re
from pathlib import Path

from ruamel.yaml import YAML

from labctl.topology.load import load_topology
from tests.worlds import catalogue

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "playbooks" / "roles" / "wsus"


def example(page: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n(name: mises-a-jour\n.*?)```", text, re.DOTALL)
    return str(found)


def test_the_lab_of_the_guides_loads(tmp_path: Path) -> None:
    shown = example("windows-services.md")
    assert example("fr/windows-services.md") == shown
    file = tmp_path / "mises-a-jour.yml"
    file.write_text(shown, encoding="utf-8")
    topology = load_topology(file, catalogue())
    assert "wsus" in topology.nodes["wsus"].services
    assert [check.id for check in topology.checks if check.ready] == ["wsus-service"]


def test_each_kind_of_updates_has_its_number() -> None:
    read = YAML(typ="safe")
    options = read.load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    numbers = read.load(ROLE / "vars" / "main.yml")["wsus_numbers"]
    assert sorted(options["wsus_classifications"]["choices"]) == sorted(numbers)
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", number) for number in numbers.values())
    defaults = read.load(ROLE / "defaults" / "main.yml")
    assert {name: options[name].get("default") for name in defaults} == defaults
