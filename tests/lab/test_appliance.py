"""What a firewall without agent is given: secrets made once, a medium that stays the same, and no secret in it."""

import io
import json
from pathlib import Path

import bcrypt
import pycdlib
import pytest

from labctl.lab.appliance import appliance_identity, ensure_secrets, has_agent, wait_appliance
from labctl.lab.keys import copy_inherited
from labctl.plan.model import Folders, PlannedNode
from labctl.plan.observed import Observed
from labctl.shipped import shipped_folder
from labctl.topology.hardware import System
from labctl.topology.load import load_topology
from tests.worlds import catalogue, plan


@pytest.fixture(scope="module")
def firewall() -> PlannedNode:
    topology = load_topology(shipped_folder("topologies") / "dmz-opnsense.yml", catalogue())
    return plan(Observed(), topology=topology).node("fw")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "lab")
    folders.secrets.mkdir(parents=True, mode=0o700)
    return folders


def read_config(medium: bytes) -> str:
    disc, out = pycdlib.PyCdlib(), io.BytesIO()
    disc.open_fp(io.BytesIO(medium))
    disc.get_file_from_iso_fp(out, rr_path="/config.xml")
    disc.close()
    return out.getvalue().decode()


def test_secrets_are_made_once_and_are_for_their_owner_alone(folders: Folders, firewall: PlannedNode) -> None:
    made = ensure_secrets(folders, firewall)
    assert ensure_secrets(folders, firewall) == made
    assert (folders.secrets / "fw.appliance").stat().st_mode & 0o777 == 0o600
    assert bcrypt.checkpw(made.api_secret.encode(), made.api_secret_hash.encode())
    assert bcrypt.checkpw(made.password.encode(), made.password_hash.encode())


def test_the_medium_has_the_same_configuration_each_time_and_no_secret_in_clear(
    folders: Folders, firewall: PlannedNode
) -> None:
    text = read_config(appliance_identity(folders, firewall))
    assert text == read_config(appliance_identity(folders, firewall))
    kept = ensure_secrets(folders, firewall)
    assert kept.api_key in text
    assert kept.password not in text
    assert kept.api_secret not in text


def test_a_clone_has_the_secrets_of_its_golden_lab(folders: Folders, firewall: PlannedNode, tmp_path: Path) -> None:
    made = ensure_secrets(folders, firewall)
    clone = Folders(tmp_path / "clone")
    copy_inherited(folders.secrets, clone.secrets)
    assert ensure_secrets(clone, firewall) == made
    assert read_config(appliance_identity(clone, firewall)) == read_config(appliance_identity(folders, firewall))


def test_an_imported_image_is_given_nothing_and_not_waited_for(folders: Folders, firewall: PlannedNode) -> None:
    from dataclasses import replace

    imported = replace(firewall, system=System.IMPORT)
    assert appliance_identity(folders, imported) == b""
    wait_appliance(folders, imported, 0.0)
    assert not has_agent(imported)
    assert not list(folders.secrets.iterdir())


def test_the_plan_tells_the_firewall_from_the_others(firewall: PlannedNode) -> None:
    assert firewall.system is System.OPNSENSE
    assert firewall.image.packages == ()
    assert json.loads(json.dumps(firewall.hardware.card)) == "virtio"
