"""The task files for Windows: every argument is one that the module's own documentation knows, every script parses."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tree_sitter
import tree_sitter_powershell
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "playbooks" / "roles"
FILES = sorted(ROLES.glob("*/tasks/windows*.yml"))
SCRIPTS = sorted([*ROLES.glob("*/files/*.ps1"), *ROLES.glob("*/templates/*.ps1.j2"), *ROOT.glob("labctl/checks/*.ps1")])
BOTH = {"ad_domain_controller", "ad_member", "dns", "dhcp", "file_server"}
COLLECTIONS = ("ansible.windows.", "community.windows.", "microsoft.ad.", "community.crypto.")
TRUTH: Mapping[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": (str, int),
    "path": str,
    "dict": dict,
}


def walk(tasks: Any) -> Iterator[dict[str, Any]]:
    for task in tasks or ():
        yield task
        for key in ("block", "rescue", "always"):
            yield from walk(task.get(key))


def tasks_of(path: Path) -> list[dict[str, Any]]:
    return list(walk(YAML(typ="safe").load(path)))


def calls(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for task in tasks_of(path):
        for module in task:
            if module.startswith(COLLECTIONS):
                yield task["name"], module, task[module]


USED = sorted({module for path in FILES for _name, module, _words in calls(path)})


@cache
def documentation() -> Mapping[str, Any]:
    program = Path(sys.executable).parent / "ansible-doc"
    done = subprocess.run([program, "--json", "--type", "module", *USED], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def options_of(module: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = documentation()[module]["doc"]["options"]
    return options


def wrong(words: Mapping[str, Any], options: Mapping[str, Any], where: str) -> Iterator[str]:
    known = {name: option for key, option in options.items() for name in (key, *(option.get("aliases") or ()))}
    yield from (f"{where}.{name}: no such option" for name in words.keys() - known.keys())
    given = {key for key, option in options.items() if {key, *(option.get("aliases") or ())} & words.keys()}
    yield from (f"{where}.{key}: required" for key, one in options.items() if one.get("required") and key not in given)
    for name, value in words.items():
        if name in known:
            yield from wrong_value(value, known[name], f"{where}.{name}")


def wrong_value(value: Any, option: Mapping[str, Any], where: str) -> Iterator[str]:
    if isinstance(value, str) and "{{" in value:
        return
    kind = option.get("type", "str")
    values = value if isinstance(value, list) else [value]
    if kind == "list" or option.get("elements"):
        kind = option.get("elements", "raw")
    elif isinstance(value, list):
        yield f"{where}: a list"
    choices = option.get("choices") or ()
    for one in values:
        if isinstance(one, str) and "{{" in one:
            continue
        if choices and one not in choices:
            yield f"{where}: {one!r} is none of {list(choices)}"
        if kind in TRUTH and not isinstance(one, TRUTH[kind]):
            yield f"{where}: {one!r} is no {kind}"
        if isinstance(one, dict) and option.get("suboptions"):
            yield from wrong(one, option["suboptions"], where)


def test_there_are_task_files_for_both_systems() -> None:
    assert {path.parents[1].name for path in FILES} >= BOTH
    for role in BOTH:
        assert (ROLES / role / "tasks" / "debian.yml").exists()


@pytest.mark.slow
def test_every_argument_is_one_that_the_module_knows() -> None:
    found = [problem for path in FILES for name, module, words in calls(path)
             for problem in wrong(words, options_of(module), f"{path.parents[1].name}: {name}: {module}")]  # fmt: skip
    assert found == []


@pytest.mark.slow
def test_a_wrong_argument_would_be_found() -> None:
    options = options_of("ansible.windows.win_share")
    bad = {"name": "x", "pfad": "C:\\x", "caching_mode": "Never", "list": "yes"}
    assert len(list(wrong(bad, options, "x"))) == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_only_modules_of_collections_are_named_and_secrets_are_not_logged(path: Path) -> None:
    for task in tasks_of(path):
        modules = [key for key in task if "." in key]
        assert len(modules) == 1, task
        assert modules[0].startswith((*COLLECTIONS, "ansible.builtin.")), task
        shown = json.dumps(task[modules[0]])
        if re.search(r"passwords(\.|\[)", shown):
            assert task.get("no_log") is True, task["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_a_second_run_changes_nothing_by_construction(path: Path) -> None:
    """A script says itself whether it changed something, or never does; a module compares before it acts."""
    for task in tasks_of(path):
        script = task.get("ansible.windows.win_powershell", {}).get("script")
        if script is None:
            assert "ansible.windows.win_shell" not in task
            continue
        file = re.search(r"role_path ~ '/((?:\.\./\w+/)?files/\w+\.ps1)'", script)
        text = (path.parents[1] / file[1]).read_text(encoding="utf-8") if file else script
        assert task.get("changed_when") is False or "$Ansible.Changed = " in text, task["name"]


PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))


def errors(node: tree_sitter.Node) -> Iterator[str]:
    if node.type == "ERROR" or node.is_missing:
        yield f"line {node.start_point[0] + 1}: {(node.text or b'').decode()[:80]}"
    for child in node.children:
        yield from errors(child)


def parse(text: str) -> list[str]:
    return list(errors(PARSER.parse(text.encode()).root_node))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert parse(text) == []
    assert not re.search(r"\bInvoke-Expression\b|\biex\b", text)
    assert [line for line in text.splitlines() if len(line) > 120] == []


def test_a_broken_script_would_be_found() -> None:
    assert parse("if ($x { 1 }")


def test_every_script_of_a_role_is_used() -> None:
    for path in ROLES.glob("*/files/*.ps1"):
        used = "".join(one.read_text(encoding="utf-8") for one in path.parents[1].glob("tasks/*.yml"))
        assert f"/files/{path.name}'" in used, path


def test_a_script_stands_in_one_place() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SCRIPTS]
    assert len(set(texts)) == len(texts)


# Parameters of commands, as MicrosoftDocs/windows-powershell-docs has them (dnsserver), where not all have -Force.
SHARED = {
    "Name",
    "PassThru",
    "ComputerName",
    "CimSession",
    "ThrottleLimit",
    "AsJob",
    "WhatIf",
    "Confirm",
    "ErrorAction",
}
DNS_COMMANDS = {
    "Set-DnsServerClientSubnet": {"IPv4Subnet", "IPv6Subnet", "Action"},
    "Set-DnsServerRecursionScope": {"EnableRecursion", "Forwarder"},
    "Remove-DnsServerRecursionScope": {"Force"},
    "Remove-DnsServerQueryResolutionPolicy": {"Force", "ZoneName"},
}


@pytest.mark.parametrize("command", DNS_COMMANDS)
def test_commands_of_the_dns_server_are_given_parameters_that_they_have(command: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in ROLES.glob("dns/files/*.ps1"))
    given = re.findall(rf"\b{command}\b([^|\n]*)", text)
    assert given
    used = {word for call in given for word in re.findall(r" -(\w+)", call)}
    assert used - SHARED - DNS_COMMANDS[command] == set()


def test_forwarders_that_are_taken_away_leave_no_empty_list_to_be_set() -> None:
    text = (ROLES / "dns" / "files" / "clients.ps1").read_text(encoding="utf-8")
    emptied = text.index("if ($known -and -not $Forwarders)")
    assert emptied < text.index("Remove-DnsServerRecursionScope") < text.index("Add-DnsServerRecursionScope")
    assert text.index("$scope, $known = $null, @()") < text.index("-Forwarder $Forwarders")
