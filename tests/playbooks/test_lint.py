"""The shipped roles keep Ansible's rules and ours: what they promise to the topology format is there and true."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from labctl.topology.catalogue import find_systems
from labctl.topology.hardware import System

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
ROLES = sorted(path.name for path in (PLAYBOOKS / "roles").iterdir() if path.is_dir())
COMPETENCIES = ROOT / "labctl" / "competencies.yml"
COMPETENCY = re.compile(r"\bB[1-3]\.[1-9]\.[1-9]\b")


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def specification(role: str) -> Mapping[str, Any]:
    specs = read(PLAYBOOKS / "roles" / role / "meta" / "argument_specs.yml")
    options: Mapping[str, Any] = specs["argument_specs"]["main"]["options"]
    return options


def promises(role: str) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = read(PLAYBOOKS / "roles" / role / "meta" / "labctl.yml")
    return facts


def lint(*command: str) -> subprocess.CompletedProcess[str]:
    # ansible-lint looks for ansible-playbook in PATH and takes no setting from the user's own files.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"}
    environment |= {"NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_there_are_roles() -> None:
    assert {"router_firewall", "web_server", "dns", "client"} <= set(ROLES)


@pytest.mark.slow
def test_ansible_lint_finds_nothing() -> None:
    done = lint("ansiblelint", "--offline", "--strict", "--nocolor", "playbooks")
    assert done.returncode == 0, done.stdout + done.stderr


def test_yamllint_finds_nothing() -> None:
    done = lint("yamllint", "--strict", ".yamllint", ".ansible-lint", "playbooks", "topologies")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_playbook_has_its_role_and_each_role_its_playbook() -> None:
    assert sorted(path.stem for path in PLAYBOOKS.glob("*.yml")) == ROLES


@pytest.mark.parametrize("role", ROLES)
def test_a_playbook_runs_its_role_on_its_group_and_names_its_competencies(role: str) -> None:
    path = PLAYBOOKS / f"{role}.yml"
    [play] = read(path)
    assert play["hosts"] == role
    assert play["gather_facts"] is False
    assert [entry["role"] for entry in play["roles"]] == [role]
    comment = path.read_text(encoding="utf-8").split("- name:")[0]
    assert sorted(COMPETENCY.findall(comment)) == sorted(promises(role)["competencies"])


@pytest.mark.parametrize("role", ROLES)
def test_a_role_says_what_it_is_in_both_languages_and_what_it_needs(role: str) -> None:
    facts = promises(role)
    assert set(facts) - {"french"} == {"title", "competencies", "packages"}
    assert set(facts["title"]) == {"en", "fr"}
    assert all(facts["title"].values())
    only_windows = find_systems(PLAYBOOKS / "roles" / role) == {System.WINDOWS}
    assert bool(facts["packages"]) is not only_windows, "packages are Debian's"
    assert len(set(facts["packages"])) == len(facts["packages"])


@pytest.mark.parametrize("role", ROLES)
def test_every_competency_exists(role: str) -> None:
    known = set(COMPETENCY.findall(COMPETENCIES.read_text(encoding="utf-8")))
    assert set(promises(role)["competencies"]) <= known


@pytest.mark.parametrize("role", ROLES)
def test_every_parameter_carries_the_roles_name_and_every_default_is_a_parameter(role: str) -> None:
    options = specification(role)
    assert all(name.startswith(f"{role}_") for name in options)
    defaults = PLAYBOOKS / "roles" / role / "defaults" / "main.yml"
    written = read(defaults) if defaults.exists() else {}
    assert written == {name: option["default"] for name, option in options.items() if "default" in option}


def described(options: Mapping[str, Any], path: str) -> Iterator[tuple[str, bool]]:
    for name, option in options.items():
        yield f"{path}.{name}", bool(option.get("description"))
        yield from described(option.get("options", {}), f"{path}.{name}")


@pytest.mark.parametrize("role", ROLES)
def test_every_parameter_is_described(role: str) -> None:
    assert [path for path, found in described(specification(role), role) if not found] == []


@pytest.mark.parametrize("role", ROLES)
def test_french_of_parameters_is_that_of_parameters_there_are(role: str) -> None:
    known = {path.removeprefix(f"{role}.{role}_") for path, _found in described(specification(role), role)}
    assert set(promises(role).get("french", {})) <= known


@pytest.mark.parametrize("role", ROLES)
def test_a_role_installs_nothing_and_gathers_nothing(role: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (PLAYBOOKS / "roles" / role / "tasks").glob("*.yml"))
    assert not re.search(r"\b(apt|package|dnf|pip|get_url|setup|package_facts|service_facts):", text)


TEMPLATES = sorted((PLAYBOOKS / "roles").glob("*/templates/*.j2"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_what_students_read_says_where_it_comes_from(path: Path) -> None:
    assert re.search("créée? par labctl ; vous pouvez l[ea] modifier", path.read_text(encoding="utf-8"))
