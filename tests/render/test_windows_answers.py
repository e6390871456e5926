"""Answer files and scripts for Windows: known settings in their passes, no secret, PowerShell that parses."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tree_sitter_powershell
from lxml import etree
from ruamel.yaml import YAML
from tree_sitter import Language, Node, Parser

from labctl.plan.model import PlannedInterface, PlannedNode, PlannedRoute
from labctl.plan.observed import Observed
from labctl.render.identity import Keys
from labctl.render.windows.answers import (
    BUILD_SCRIPTS,
    SCRIPTS,
    Install,
    build_files,
    node_files,
    render_autounattend,
    render_unattend,
    windows_name,
)
from labctl.render.windows.versions import WINDOWS
from tests.worlds import plan

TABLE = YAML(typ="safe").load(Path(__file__).with_name("unattend.yml"))
SETTINGS: dict[str, dict[str, list[str]]] = TABLE["settings"]
UNATTEND = "{urn:schemas-microsoft-com:unattend}"
WCM = "{http://schemas.microsoft.com/WMIConfig/2002/State}"
POWERSHELL = sorted(SCRIPTS.glob("*.ps1"))
KEYS = Keys("HOST PRIVATE", "ssh-ed25519 host", "MANAGEMENT PRIVATE", "ssh-ed25519 login labctl@lab\n")
PASSWORD = "Zebre-42-quai"
KEY = "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"
INSTALLS = [Install(version, f"{version.title} SERVERSTANDARD", "fr-FR") for version in WINDOWS.values()]


def node(**changes: object) -> PlannedNode:
    """Return a node with all that an answer file can say: fixed and leased addresses, a route, name servers."""
    first = plan(Observed()).nodes[0]
    cards = (
        PlannedInterface("lan", "lan", "52:54:00:0a:0b:0c", "10.1.2.3", 24, "10.1.2.254"),
        PlannedInterface("wan", "wan", "52:54:00:0a:0b:0d", "dhcp"),
        PlannedInterface("bare", "bare", "52:54:00:0a:0b:0e", "none"),
    )
    routes = (PlannedRoute("192.0.2.0/24", "10.1.2.250", "lan"),)
    given = {"interfaces": cards, "routes": routes, "nameservers": ("10.1.2.10", "10.1.2.11"), "search": "lan.example"}
    return replace(first, **{**given, **changes})  # type: ignore[arg-type]


def written() -> Iterator[tuple[str, str]]:
    """Yield each answer file that is judged, with a name."""
    for install in INSTALLS:
        yield install.version.name, render_autounattend(install)
    yield "with-a-key", render_autounattend(replace(INSTALLS[0], product_key=KEY))
    yield "clone", render_unattend(node(), PASSWORD, "fr-FR")
    bare = node(interfaces=(), routes=(), nameservers=(), search="")
    yield "clone-without-network", render_unattend(bare, PASSWORD, "en-US")


ANSWERS = [pytest.param(text, id=name) for name, text in written()]


def paths(element: etree._Element, above: str = "") -> Iterator[str]:
    """Yield the path of each element that holds a text."""
    for child in element:
        path = f"{above}/{etree.QName(child).localname}".lstrip("/")
        yield from paths(child, path) if len(child) else [path]


@pytest.mark.parametrize("text", ANSWERS)
def test_every_setting_is_documented_for_its_pass(text: str) -> None:
    root = etree.fromstring(text.encode())
    assert root.tag == f"{UNATTEND}unattend"
    seen = [(component.get("name"), settings.get("pass"), path)
            for settings in root for component in settings for path in paths(component)]  # fmt: skip
    assert len(seen) > 10
    assert [row for row in seen if row[1] not in SETTINGS.get(row[0], {}).get(row[2], [])] == []


@pytest.mark.parametrize("text", ANSWERS)
def test_components_are_named_in_full_once_in_a_pass_and_lists_are_added_to(text: str) -> None:
    root = etree.fromstring(text.encode())
    for settings in root:
        names = [component.get("name") for component in settings]
        assert names == sorted(set(names))
        for component in settings:
            whole = {key: component.get(key) for key in ("processorArchitecture", "publicKeyToken", "language")}
            assert whole == {
                "processorArchitecture": "amd64",
                "publicKeyToken": "31bf3856ad364e35",
                "language": "neutral",
            }
    lists = {"Disk", "CreatePartition", "ModifyPartition", "MetaData", "PathAndCredentials", "RunSynchronousCommand",
             "Interface", "IpAddress", "Route"}  # fmt: skip
    added = [element.get(f"{WCM}action") for element in root.iter() if etree.QName(element).localname in lists]
    assert set(added) == {"add"} or added == []


@pytest.mark.parametrize("text", ANSWERS)
def test_settings_whose_order_counts_are_in_that_order(text: str) -> None:
    root = etree.fromstring(text.encode())
    for place, order in TABLE["order"].items():
        component, *way = place.split("/")
        query = f".//u:component[@name='{component}']/" + "/".join(f"u:{name}" for name in way)
        for element in root.iterfind(query, {"u": UNATTEND[1:-1]}):
            names = [etree.QName(child).localname for child in element]
            assert names == sorted(names, key=order.index)


def test_the_table_names_nothing_that_no_answer_file_uses() -> None:
    roots = [etree.fromstring(text.encode()) for _name, text in written()]
    components = [component for root in roots for component in root.iter(f"{UNATTEND}component")]
    used = {(component.get("name"), path) for component in components for path in paths(component)}
    known = {(component, path) for component, rows in SETTINGS.items() for path in rows}
    assert known - used == set()


@pytest.mark.parametrize("install", INSTALLS, ids=lambda install: install.version.name)
def test_an_installation_is_french_and_finds_the_drivers_of_its_version(install: Install) -> None:
    text = render_autounattend(install)
    assert "<InputLocale>040c:0000040c</InputLocale>" in text
    assert "<TimeZone>Romance Standard Time</TimeZone>" in text
    assert f"<Value>{install.image}</Value>" in text
    driver_paths = re.findall(r"<Path>([D-H]):\\(\w+)\\(\w+)\\amd64</Path>", text)
    assert {folder for _letter, _driver, folder in driver_paths} == {install.version.drivers}
    assert {driver for _letter, driver, _folder in driver_paths} == {
        "viostor",
        "NetKVM",
        "vioserial",
        "Balloon",
        "viorng",
    }


def test_commands_of_answer_files_fit_into_their_setting() -> None:
    for install in INSTALLS:
        commands = re.findall("<Path>(cmd.exe.*)</Path>", render_autounattend(install))
        assert len(commands) == 3
        assert max(map(len, commands)) <= 259  # "Path is a string with a maximum length of 259 characters"


def test_an_installation_holds_no_account_and_no_password() -> None:
    for install in INSTALLS:
        whole = b"\n".join(build_files(replace(install, openssh=True)).values())
        assert not re.search(rb"<(Password|AdministratorPassword|AutoLogon|LocalAccount|Username)\b", whole)
        assert not re.search(rb"(?i)password\s*[=:]\s*['\"]", whole)


def test_the_password_of_a_clone_is_hidden_from_a_glance_and_nowhere_else() -> None:
    files = node_files(node(), KEYS, PASSWORD, "fr-FR")
    hidden = base64.b64encode(f"{PASSWORD}AdministratorPassword".encode("utf-16-le"))
    assert hidden in files["Unattend.xml"]
    assert [name for name, content in files.items() if PASSWORD.encode() in content] == []


def test_a_clone_is_given_its_name_addresses_and_keys() -> None:
    files = node_files(node(member="serveur-annuaire-1"), KEYS, PASSWORD, "fr-FR")
    text = files["Unattend.xml"].decode()
    assert "<ComputerName>serveur-annuair</ComputerName>" in text
    assert re.findall("<IpAddress[^>]*>(.*)</IpAddress>", text) == ["10.1.2.10", "10.1.2.11"] * 2 + ["10.1.2.3/24"]
    assert re.findall("<NextHopAddress>(.*)</NextHopAddress>\n *<Prefix>(.*)</Prefix>", text) == [
        ("10.1.2.254", "0.0.0.0/0"), ("10.1.2.250", "192.0.2.0/24"),
    ]  # fmt: skip
    assert "52-54-00-0A-0B-0E" not in text  # a card without an address is left alone
    told = json.loads(files["labctl/node.json"])
    assert told["interfaces"]["52-54-00-0A-0B-0E"] == "bare"
    assert told["management"] in told["interfaces"].values()
    assert told["authorized_keys"] == KEYS.authorized


def test_the_disc_of_a_clone_stays_in_its_drive_and_holds_no_private_key() -> None:
    assert b"PRIVATE" not in b"".join(node_files(node(), KEYS, PASSWORD, "fr-FR").values())


def test_a_clone_waits_for_its_cards_and_lets_labctl_in_at_the_very_end() -> None:
    text = (SCRIPTS / "identity.ps1").read_text(encoding="utf-8")
    acts = text[text.index("    Wait-Setup\n") :]
    words = ("Set-CardName", "Enable-Administrator", "Start-Service -Name sshd", "Start-Service -Name QEMU-GA")
    assert [acts.index(word) for word in words] == sorted(acts.index(word) for word in words)
    assert text.count("Get-NetAdapter ") == 1  # where it is waited for
    assert "catch {\n    Send-Failure" in acts  # on the serial port, where labctl reads what a start says


@pytest.mark.parametrize(
    ("member", "name"),
    [("web", "web"), ("serveur-annuaire", "serveur-annuair"), ("abcdefghijklmn-o", "abcdefghijklmn")],
)
def test_a_name_is_one_that_windows_takes(member: str, name: str) -> None:
    assert windows_name(member) == name


def scripts(kind: str) -> list[str]:
    return [name for name in BUILD_SCRIPTS if name.endswith(kind)]


def read(name: str) -> bytes:
    return build_files(INSTALLS[0])[f"labctl/{name}"]


def errors(node: Node) -> Iterator[Node]:
    if node.is_error or node.is_missing:
        yield node
    for child in node.children:
        yield from errors(child)


def test_every_script_of_an_installation_is_one_of_ours() -> None:
    assert {path.name for path in POWERSHELL} > set(scripts(".ps1"))


@pytest.mark.parametrize("path", POWERSHELL, ids=lambda path: path.name)
def test_powershell_parses(path: Path) -> None:
    tree = Parser(Language(tree_sitter_powershell.language())).parse(path.read_bytes())
    assert tree.root_node.child_count > 0
    assert [(error.start_point, error.text) for error in errors(tree.root_node)] == []


def test_the_parser_sees_broken_powershell() -> None:
    tree = Parser(Language(tree_sitter_powershell.language())).parse(b"if ($a { Get-Item")
    assert list(errors(tree.root_node))


@pytest.mark.parametrize("name", BUILD_SCRIPTS)
def test_scripts_are_written_as_windows_reads_them(name: str) -> None:
    content = read(name)
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert content.startswith(b"\xef\xbb\xbf") is name.endswith(".ps1")


def test_scripts_name_groups_by_their_numbers_not_by_names_of_one_language() -> None:
    whole = b"".join(read(name) for name in scripts(".ps1"))
    assert b"S-1-5-32-544" in whole
    assert not re.search(rb"(?i)['\"](BUILTIN\\)?(Administrators|Administrateurs|Everyone|Users)['\"]", whole)
