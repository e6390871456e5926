"""What a firewall without agent is given: secrets made once, a medium that stays the same, and no secret in it."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bcrypt
import pycdlib
import pytest

from labctl import ssh
from labctl.checks.questions import ask
from labctl.errors import LabctlError
from labctl.exam.isolation import AgentInside
from labctl.hypervisor.agent import Ended
from labctl.lab import keys
from labctl.lab.appliance import WITHOUT_AGENT, appliance_identity, ensure_secrets, has_agent, wait_appliance
from labctl.lab.checking import SshProber
from labctl.lab.keys import copy_inherited
from labctl.lab.standstill import quiesce, set_clock
from labctl.plan.model import Folders, PlannedNode
from labctl.plan.observed import Observed
from labctl.render.windows.personalisation import POWERSHELL
from labctl.shipped import shipped_folder
from labctl.topology.hardware import ANSWERS, System
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from labctl.topology.problems import ProblemsFound
from tests.checks.asking import make
from tests.lab.doubles import Fault, Freezer, World, make_place
from tests.worlds import catalogue, plan


def opnsense() -> Topology:
    return load_topology(shipped_folder("topologies") / "dmz-opnsense.yml", catalogue())


@pytest.fixture(scope="module")
def firewall() -> PlannedNode:
    return plan(Observed(), topology=opnsense()).node("fw")


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
    imported = replace(firewall, system=System.IMPORT)
    assert appliance_identity(folders, imported) == b""
    wait_appliance(folders, imported, 0.0)
    assert not has_agent(imported)
    assert not list(folders.secrets.iterdir())


def test_the_plan_tells_the_firewall_from_the_others(firewall: PlannedNode) -> None:
    assert firewall.system is System.OPNSENSE
    assert firewall.image.packages == ()
    assert firewall.tag.endpoint == (firewall.address, 443)
    assert json.loads(json.dumps(firewall.hardware.card)) == "virtio"


def test_a_system_without_labctls_agent_tells_where_it_answers() -> None:
    assert ANSWERS.keys() == WITHOUT_AGENT


class Recorder(Freezer):
    """A hypervisor that writes down what guest agents are told."""

    def __init__(self) -> None:
        super().__init__(World(), Fault())
        self.told: list[tuple[Sequence[str], bytes]] = []

    def guest_exec(self, name: str, lab: str, argv: Sequence[str], stdin: bytes = b"", *, deadline: float) -> Ended:  # noqa: ARG002
        self.told.append((argv, stdin))
        return Ended(0, b"")


def test_each_system_is_told_the_time_in_its_own_way_and_an_appliance_not_at_all(
    firewall: PlannedNode, tmp_path: Path
) -> None:
    recorder = Recorder()
    place = replace(make_place(tmp_path, World()), freezer=recorder)
    for system in System:
        node = replace(firewall, system=system)
        set_clock(place, node, 1.0)
        quiesce(place, node)
    (date, sync, set_date, flush) = recorder.told
    assert date[0][:2] == ("/bin/date", "--utc")
    assert sync[0] == ("/bin/sync",)
    assert (set_date[0], flush[0]) == (POWERSHELL, POWERSHELL)
    assert b"Set-Date" in set_date[1]


def test_nobody_logs_in_where_there_is_no_server_of_labctls(firewall: PlannedNode, folders: Folders) -> None:
    login = keys.login(folders, firewall)
    with pytest.raises(ssh.NoServer, match="fw has no SSH server"):
        ssh.wait_login(login, 600)  # at once
    with pytest.raises(ssh.NoServer, match="fw has no SSH server"):
        ssh.run(login, ["true"], deadline=600)
    (reply,) = SshProber(ssh, {"fw": login}).probe("fw", [ask(make({"type": "ping", "to": "web"}))])
    assert "fw has no SSH server" in reply.error
    with pytest.raises(LabctlError, match="from inside Debian and Windows machines alone"):
        AgentInside(make_place(folders.top / "home", World()), plan(topology=opnsense())).look("fw", (), "mark")


def test_no_check_and_no_fault_runs_on_a_machine_that_labctl_cannot_log_in_to(tmp_path: Path) -> None:
    text = (shipped_folder("topologies") / "dmz-opnsense.yml").read_text(encoding="utf-8")
    path = tmp_path / "wrong.yml"
    path.write_text(text.replace("    from: web\n", "    from: fw\n", 1), encoding="utf-8")
    with pytest.raises(
        ProblemsFound, match=r"type: expected a machine that labctl can run programs on.*.opnsense."
    ) as caught:
        load_topology(path, catalogue())
    assert caught.value.message.count("expected") == 1
