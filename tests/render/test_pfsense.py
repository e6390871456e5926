"""A planned firewall as pfSense's config.xml: known elements only, found by its locator, read once from a medium."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.plan.model import PlannedNode
from labctl.plan.observed import Observed
from labctl.render import pfsense
from labctl.render.pfsense import LOCATOR, render_config
from labctl.topology.load import load_topology
from labctl.topology.problems import ProblemsFound
from labctl.topology.tree import read_tree
from tests.render.test_opnsense import ALL, OWN, paths, rules
from tests.worlds import catalogue, plan

ROOT = Path(__file__).parents[2]
TABLE = Path(pfsense.__file__).parent / "elements" / "pfsense.yml"
# What the parser of pfSense takes several of; it refuses a file in which another element stands twice in one place
# (src/etc/inc/xmlparse.inc, listtags).
LISTS = {
    "acls", "cert", "dnsserver", "earlyshellcmd", "gateway_item", "group", "hosts", "member", "priv", "route", "row",
    "rule", "user", "vip",
}  # fmt: skip


def without_tunnel() -> str:
    """Return the topology of everything without what pfSense has as a package only."""
    text = re.sub(r"      vpn_gateway:\n(?:        .*\n)+", "", ALL)
    text = re.sub(r".*to: wg0.*\n", "", text)
    return text.replace("opnsense-25", "pfsense-2").replace("allow_query: [lan]", "allow_query: [lan, 10.9.0.0/16]")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedNode:
    monkeypatch.setenv("LABCTL_LANG", "en")
    path = tmp_path / "all.yml"
    path.write_text(without_tunnel(), encoding="utf-8")
    return plan(Observed(), topology=load_topology(path, catalogue())).node("fw")


@pytest.fixture
def config(node: PlannedNode) -> ElementTree.Element:
    return ElementTree.fromstring(render_config(node, OWN))


def known() -> dict[str, str]:
    tree = read_tree(TABLE)
    tree.settle()
    assert isinstance(tree.data, dict)
    return {path: str(source) for path, source in tree.data.items()}


def test_every_element_is_one_that_pfsense_reads(config: ElementTree.Element) -> None:
    written = {re.sub(r"^pfsense/(interfaces|dhcpd)/\w+/", r"pfsense/\1/*/", path) for path in paths(config)}
    assert written - known().keys() == set()
    assert known().keys() - written == set(), "the table names what nothing writes"
    assert all(source.startswith("src/") for source in known().values())


def test_only_lists_stand_twice(config: ElementTree.Element) -> None:
    for element in config.iter():
        tags = [child.tag for child in element]
        assert {tag for tag in tags if tags.count(tag) > 1} <= LISTS


def test_the_locator_finds_the_root_on_the_second_line(node: PlannedNode) -> None:
    assert render_config(node, OWN).splitlines()[:2] == ['<?xml version="1.0"?>', "<pfsense>"]


def test_the_rules_are_those_of_opnsense(config: ElementTree.Element) -> None:
    found = rules(config)
    assert ("opt2", "pass", "tcp", "1", "(self) 443") in found
    assert ("opt1", "pass", "tcp/udp", "1", "(self) 53") in found
    assert found[-1] == ("opt1", "pass", "tcp", "172.16.10.10", "1 443")
    assert config.find("system/ipv6allow") is not None, "management is by IPv6"


def test_names_are_answered_to_those_who_may_ask(config: ElementTree.Element) -> None:
    assert config.findtext("unbound/active_interface") == "opt1,lo0"
    assert config.findtext("unbound/acls/row/acl_network") == "10.9.0.0"
    assert config.findtext("unbound/hosts/ip") == "192.168.50.80"


def test_the_default_gateway_is_named_once(config: ElementTree.Element) -> None:
    assert config.findtext("gateways/defaultgw4") == "GW_LAN"
    assert config.find("gateways/gateway_item/defaultgw") is None


def test_what_replaces_the_locator_is_a_shell_script(config: ElementTree.Element, tmp_path: Path) -> None:
    """The command of the configuration writes it once, and runs it then."""
    place = tmp_path / "rc.ecl"
    place.write_text("#!/usr/local/bin/php-cgi -q\n")
    place.chmod(0o755)
    command = (config.findtext("system/earlyshellcmd") or "").replace("/etc/rc.ecl", str(place))
    shell = shutil.which("sh") or "sh"
    subprocess.run([shell, "-c", command], check=True)
    assert place.read_text() == "".join(f"{line}\n" for line in LOCATOR)
    subprocess.run([shell, "-n", place], check=True)
    place.write_text(place.read_text() + "# changed\n")
    subprocess.run([shell, "-c", command], check=True)
    assert place.read_text().endswith("# changed\n")


@pytest.mark.parametrize("again", [False, True], ids=["first start", "same medium"])
def test_what_students_change_stays_until_another_medium_comes(tmp_path: Path, again: bool) -> None:
    medium, kept, own = tmp_path / "at" / "config.xml", tmp_path / "labctl.xml", tmp_path / "config.xml"
    medium.parent.mkdir()
    medium.write_text("planned")
    own.write_text("changed")
    if again:
        kept.write_text("planned")
    script = "\n".join(LOCATOR[4:]).replace("/cf/conf", str(tmp_path)).replace("$at/", f"{tmp_path}/at/")
    script = re.sub(r"^(\[ -c|mkdir|umount|rm).*$", "", script, flags=re.MULTILINE)
    subprocess.run([shutil.which("sh") or "sh", "-ec", script], check=True)
    assert (own.read_text(), kept.read_text()) == ("changed", "planned")
    medium.write_text("planned anew")
    subprocess.run([shutil.which("sh") or "sh", "-c", script], check=True)
    assert (own.read_text(), kept.read_text()) == ("planned anew", "planned anew")


def test_what_cannot_be_written_is_refused_by_name(node: PlannedNode) -> None:
    asked: dict[str, Mapping[str, JsonValue]] = {
        **node.services,
        "dns": {**node.services["dns"], "forwarders": ["9.9.9.9"]},
    }
    with pytest.raises(LabctlError, match="labctl cannot configure this on pfSense: forwarders"):
        render_config(replace(node, services=asked), OWN)
    inner: dict[str, Mapping[str, JsonValue]] = {**node.services, "router_firewall": {"masquerade": False}}
    with pytest.raises(LabctlError, match=r"router_firewall\.outside names none"):
        render_config(replace(node, services=inner), OWN)


def test_a_tunnel_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    path = tmp_path / "all.yml"
    path.write_text(ALL.replace("opnsense-25", "pfsense-2"), encoding="utf-8")
    with pytest.raises(ProblemsFound, match='a service that labctl configures on the image "pfsense-2"'):
        load_topology(path, catalogue())


def test_the_commands_of_the_documentation_make_a_topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab with OPNsense, without the faults that are its rules, is one with pfSense."""
    monkeypatch.setenv("LABCTL_LANG", "en")
    for page in ("docs/appliances.md", "docs/fr/appliances.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        (command,) = re.findall(r"^\$ (sed .*\\\n.*) > dmz-pfsense\.yml$", text, re.MULTILINE)
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, check=True, capture_output=True)
        path = tmp_path / "dmz-pfsense.yml"
        path.write_bytes(done.stdout)
        topology = load_topology(path, catalogue())
        assert topology.name == "dmz-pfsense"
        root = ElementTree.fromstring(render_config(plan(Observed(), topology=topology).node("fw"), OWN))
        written = {re.sub(r"^pfsense/(interfaces|dhcpd)/\w+/", r"pfsense/\1/*/", path) for path in paths(root)}
        assert written <= known().keys()
