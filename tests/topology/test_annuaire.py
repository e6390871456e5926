"""`annuaire-windows` is `annuaire` with another image: the same network, services and checks."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_powershell
from ruamel.yaml import YAML

from labctl.checks.questions import ask
from labctl.topology.hardware import System
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.worlds import catalogue

FOLDER = Path(__file__).parents[2] / "topologies"
TEXTS = {"title", "fail", "pass", "hints"}
WINDOWS = {"dc", "dhcp", "files"}
NOT_ON_WINDOWS = {"directory-anonymous", "dc-not-at-boot", "smb-obsolete", "smb-guests", "smb-netbios"}


def read(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = YAML(typ="safe").load(FOLDER / f"{name}.yml")
    return found


@cache
def load(name: str) -> Topology:
    return load_topology(FOLDER / f"{name}.yml", catalogue())


def without(what: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in what.items() if key not in keys}


def test_the_checks_are_the_same() -> None:
    """Only what people are told of them may differ: it names tools."""
    samba, windows = (
        [without(check, TEXTS) for check in read(name)["checks"]] for name in ("annuaire", "annuaire-windows")
    )
    assert samba == windows
    assert len(samba) == 38


def test_the_services_and_their_parameters_are_the_same() -> None:
    samba, windows = read("annuaire"), read("annuaire-windows")
    assert samba["networks"] == windows["networks"]
    assert samba["nodes"].keys() == windows["nodes"].keys()
    for name, node in samba["nodes"].items():
        other = windows["nodes"][name]
        services = {key: value for key, value in other["services"].items() if key in node["services"]}
        assert services == node["services"]
        # A DHCP server that a domain authorises is a member of it.
        assert other["services"].keys() - node["services"].keys() == ({"ad_member"} if name == "dhcp" else set())
        assert other["interfaces"] == node["interfaces"]
        assert other["image"] == ("windows-2022" if name in WINDOWS else node["image"])


def test_each_check_is_asked_in_the_way_of_its_node() -> None:
    for check, other in zip(load("annuaire").checks, load("annuaire-windows").checks, strict=True):
        system = System.WINDOWS if other.origin in WINDOWS else System.DEBIAN
        assert (check.id, check.points, check.competency) == (other.id, other.points, other.competency)
        assert ask(other, system=system).command
        if check.windows is not None:
            assert (check.probe, other.probe) != (other.probe, check.probe) or check.origin not in WINDOWS
            assert (other.probe == check.windows) == (check.origin in WINDOWS)


def test_faults_are_the_same_where_windows_can_have_them() -> None:
    samba = {fault.id: fault for fault in load("annuaire").faults}
    windows = {fault.id: fault for fault in load("annuaire-windows").faults}
    assert samba.keys() - windows.keys() == NOT_ON_WINDOWS
    assert windows.keys() < samba.keys()
    for name, fault in windows.items():
        assert fault.fixed == samba[name].fixed
        assert (fault.windows is not None) == (fault.node in WINDOWS), name
        if fault.node in WINDOWS:
            assert "systemctl" not in fault.inject + fault.cure


def test_scripts_of_windows_parse() -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    for fault in load("annuaire-windows").faults:
        for script in (fault.inject, fault.cure) if fault.node in WINDOWS else ():
            assert not parser.parse(script.encode()).root_node.has_error, script


def test_no_text_names_a_tool_of_the_other_system() -> None:
    for check in load("annuaire-windows").checks:
        told = [text.pick(language) for language in ("en", "fr") for text in (check.failed, *check.hints)]
        if check.origin in WINDOWS:
            assert not re.search("samba-tool|kea|systemctl|smb.conf|getfacl|/srv/|/etc/", " ".join(told)), check.id
