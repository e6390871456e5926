"""A lab's secrets to the passwords that people type on its machines: of firewalls, of Windows, of a directory.

They are only read: what a machine was not given yet is not drawn here. Debian machines have none: their console is
logged in, and SSH takes the lab's key.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.lab.files import explain_files
from labctl.language import _
from labctl.plan.model import Folders, PlannedNode
from labctl.ssh import USERS
from labctl.topology.hardware import System

DIRECTORY = "ad_domain_controller"  # the role whose domain has its accounts' passwords from one secret
APPLIANCE_USERS = {System.OPNSENSE: "root", System.PFSENSE: "admin"}


@dataclass(frozen=True)
class Password:
    """What a person types on a machine. `opens` tells where, in the reader's language."""

    node: str
    account: str
    password: str
    opens: str


def read_passwords(folders: Folders, nodes: Iterable[PlannedNode]) -> tuple[Password, ...]:
    """Return the passwords of machines that were made. Raises LabctlError where the secrets cannot be read."""
    with explain_files(folders.secrets):
        return tuple(found for node in nodes for found in passwords_of(folders.secrets, node))


def passwords_of(secrets: Path, node: PlannedNode) -> Iterator[Password]:
    """Yield the passwords of one machine."""
    if node.system in APPLIANCE_USERS and (text := read_secret(secrets / f"{node.member}.appliance")):
        yield Password(
            node.member, APPLIANCE_USERS[node.system], read_appliance(text, node), _("the console and the web page")
        )
    windows = node.system is System.WINDOWS
    domain = node.services.get(DIRECTORY)
    if domain is not None and (secret := read_secret(secrets / "directory.password")):
        account = f"{domain['netbios']}\\Administrator"
        opens = _("the domain {domain}").format(domain=domain["domain"])
        yield Password(node.member, account, derive(secret, "administrator"), opens)
    elif windows and (password := read_secret(secrets / f"administrator_{node.member}")):
        yield Password(node.member, USERS[System.WINDOWS], password, _("the screen"))


def read_secret(path: Path) -> str:
    """Return a secret, "" where there is none yet."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def read_appliance(text: str, node: PlannedNode) -> str:
    """Return the password among the secrets of a firewall. Raises LabctlError where they are damaged."""
    try:
        return str(json.loads(text)["password"])
    except (ValueError, KeyError, TypeError) as exc:
        text = _("the secrets of {node} are damaged")
        raise LabctlError(
            text.format(node=node.member), hint=f"labctl reset {node.tag.lab} --node {node.member}"
        ) from exc


def derive(secret: str, login: str) -> str:
    """Return the first password of an account of a directory, as the roles make it (vars/main.yml)."""
    digest = hashlib.sha256(f"{secret}:{login}".encode()).hexdigest()
    return "-".join((digest[:6], digest[6:12], digest[12:18], "Aa"))
