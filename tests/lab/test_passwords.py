"""The passwords of a lab are told as they were drawn to whoever holds its secrets; who asks draws none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.filter.core import FilterModule  # type: ignore[import-untyped]  # it ships no types
from jinja2.nativetypes import NativeEnvironment
from ruamel.yaml import YAML

from labctl.cli.passwords import nothing, print_passwords
from labctl.errors import LabctlError
from labctl.lab.appliance import ensure_secrets
from labctl.lab.keys import ensure_password
from labctl.lab.passwords import APPLIANCE_USERS, derive, read_passwords
from labctl.plan.model import Folders, PlannedNode
from labctl.shipped import shipped_folder
from labctl.topology.hardware import ANSWERS, System
from tests.worlds import plan

DOMAIN = {"ad_domain_controller": {"domain": "ad.cimes.example", "netbios": "CIMES"}}
VARIABLES = shipped_folder("playbooks") / "roles" / "ad_domain_controller" / "vars" / "main.yml"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "lab")
    folders.secrets.mkdir(parents=True, mode=0o700)
    return folders


def node(name: str, system: System, **changes: object) -> PlannedNode:
    return replace(plan().nodes[0], member=name, system=system, services={}, **changes)  # type: ignore[arg-type]


def test_each_machine_is_told_with_the_account_and_where_it_opens(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    firewall, files, linux = node("fw", System.OPNSENSE), node("files", System.WINDOWS), node("web", System.DEBIAN)
    controller = replace(node("dc", System.WINDOWS), services=DOMAIN)
    known = ensure_secrets(folders, firewall)
    drawn = ensure_password(folders, "files")
    ensure_password(folders, "dc")  # it opened the machine before there was a domain
    (folders.secrets / "directory.password").write_text("secret\n", encoding="utf-8")
    found = read_passwords(folders, [firewall, files, controller, linux])
    assert [(one.node, one.account, one.password) for one in found] == [
        ("fw", "root", known.password),
        ("files", "Administrator", drawn),
        ("dc", "CIMES\\Administrator", derive("secret", "administrator")),
    ]
    print_passwords(found)
    shown = capsys.readouterr().out
    assert all(word in shown for one in found for word in (one.node, one.account, one.password, one.opens))


def test_each_appliance_that_labctl_configures_has_an_account() -> None:
    assert APPLIANCE_USERS.keys() == ANSWERS.keys() - {System.IMPORT}


def test_who_asks_draws_nothing(folders: Folders) -> None:
    nodes = [node("fw", System.OPNSENSE), node("files", System.WINDOWS), node("other", System.IMPORT)]
    assert read_passwords(folders, nodes) == ()
    assert list(folders.secrets.iterdir()) == []


def test_damaged_secrets_are_told_without_a_word_of_them(folders: Folders) -> None:
    (folders.secrets / "fw.appliance").write_text('{"pass', encoding="utf-8")
    with pytest.raises(LabctlError, match="the secrets of fw are damaged") as caught:
        read_passwords(folders, [node("fw", System.OPNSENSE)])
    assert caught.value.hint.startswith("labctl reset ")
    assert "pass" not in caught.value.message


def test_secrets_that_cannot_be_read_are_told(folders: Folders) -> None:
    (folders.secrets / "fw.appliance").mkdir()
    with pytest.raises(LabctlError, match="cannot be used"):
        read_passwords(folders, [node("fw", System.OPNSENSE)])


def test_the_password_of_a_domain_is_the_one_that_the_roles_make() -> None:
    made = YAML(typ="safe").load(VARIABLES)["ad_domain_controller_passwords"]
    environment = NativeEnvironment()
    environment.filters.update(FilterModule().filters())
    passwords: Any = environment.from_string(made).render(
        ad_domain_controller_secret="secret", ad_domain_controller_logins=["lea.martin"]
    )
    assert passwords == {login: derive("secret", login) for login in ("administrator", "lea.martin")}


def test_machines_without_a_password_are_told() -> None:
    one, all_of_them = nothing("dmz-alice", "web"), nothing("dmz-alice", "")
    assert (one.message, one.hint) == ("labctl has drawn no password for web", "labctl console dmz-alice web")
    assert "for a machine of dmz-alice" in all_of_them.message
