"""What is asked of a Windows before it is frozen, how long its image lasts, and what its board remembers."""

import base64
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from labctl.errors import ExitCode, Refused
from labctl.hypervisor.tpm import copy_owned, give_state, state_file
from labctl.images.given import Given
from labctl.images.recipe import RECIPES
from labctl.images.store import Image
from labctl.lab.board import clear_board, give_board, keep_board
from labctl.lab.evaluation import check_evaluations, days_left
from labctl.lab.frozen import Frozen
from labctl.lab.hygiene import State, is_not_activated, judge
from labctl.lab.keys import draw_password, ensure_password
from labctl.lab.up import bring_up
from labctl.lab.windows_image import Request, given_of
from labctl.lab.wish import Pace, Stop, Wish
from labctl.monitor import Silent
from labctl.plan.model import Folders, PlannedNode
from labctl.plan.observed import Observed
from labctl.render.identity import Keys
from labctl.render.windows.personalisation import FLUSH, clock_script, hygiene_script, render_windows_personalisation
from labctl.render.xml import TEMPLATES
from labctl.topology.hardware import Firmware, Hardware, System
from labctl.topology.load import load_topology
from tests.lab.doubles import World, make_place
from tests.lab.test_up import SMALL
from tests.worlds import catalogue, plan

GOOD = State("S-1-5-21-1-2-3", False, 1, -1)
OTHER = replace(GOOD, sid="S-1-5-21-4-5-6")


def test_good_machines_are_frozen() -> None:
    assert list(judge({"dc": GOOD, "files": OTHER})) == []
    assert list(judge({"dc": replace(GOOD, licence=2, evaluation_days=179)})) == []


@pytest.mark.parametrize(
    ("states", "problem"),
    [
        (
            {"dc": GOOD, "files": GOOD},
            "dc, files have the same security identifier S-1-5-21-1-2-3: their image was not generalised",
        ),
        ({"dc": replace(GOOD, pending_reboot=True)}, "dc waits for a restart"),
        ({"dc": replace(GOOD, evaluation_days=3)}, "the evaluation of Windows on dc ends in 3 days"),
        ({"dc": replace(GOOD, evaluation_days=1)}, "the evaluation of Windows on dc ends in 1 day"),
        ({"dc": replace(GOOD, licence=5, evaluation_days=0)}, "the evaluation of Windows on dc ends in 0 days"),
        ({"dc": replace(GOOD, sid="")}, "dc has no security identifier"),
    ],
)  # fmt: skip
def test_what_would_spoil_every_clone_is_told(states: dict[str, State], problem: str) -> None:
    assert list(judge(states)) == [problem]


def test_a_windows_that_is_not_activated_is_frozen_and_said_to_be_so() -> None:
    silent = replace(GOOD, licence=5)
    assert list(judge({"poste": silent})) == []
    assert [is_not_activated(one) for one in (silent, GOOD, replace(silent, evaluation_days=0))] == [True, False, False]


def image(**facts: str | int) -> Image:
    given = Given(System.WINDOWS, "server.iso", "0" * 64, "iso", 2048, facts=facts)
    return Image("windows-2022", "k", "d", Path("/x.qcow2"), (), 1, 1, "2026-01-01", (0, 0, 0), given)


def test_the_days_of_an_evaluation_run_from_the_day_they_were_read() -> None:
    timed = image(evaluation_days=180, measured="2026-01-01")
    assert days_left(timed, date(2026, 1, 31)) == 150
    assert days_left(timed, date(2027, 1, 1)) == 0
    assert days_left(image(edition="ServerStandard"), date(2026, 1, 1)) is None


def test_the_days_of_an_evaluation_that_is_not_activated_begin_with_a_machine() -> None:
    asleep = image(evaluation_days=3)
    assert days_left(asleep, date(2036, 1, 1)) == 3
    check_evaluations([asleep])  # its machines are asked before they are frozen
    request = Request(RECIPES["windows-2022"], Path("w.iso"), Path("v.iso"))  # type: ignore[arg-type]
    facts: dict[str, str | int] = {"edition": "ServerStandardEval", "evaluation_days": 10}
    assert "measured" not in given_of(request, {**facts, "licence": 2}, "0" * 64).facts
    assert "measured" in given_of(request, {**facts, "licence": 1}, "0" * 64).facts


@pytest.mark.parametrize(("days", "words"), [(6, "in 6 days"), (1, "in 1 day:"), (0, "in 0 days")])
def test_a_lab_is_not_begun_on_a_windows_that_is_about_to_end(days: int, words: str) -> None:
    today = datetime.now(UTC).date().isoformat()
    with pytest.raises(Refused, match=words) as caught:
        check_evaluations([image(evaluation_days=days, measured=today)])
    assert caught.value.exit_code is ExitCode.REFUSED
    assert "labctl image build windows-2022" in caught.value.hint
    check_evaluations([image(evaluation_days=7, measured=today), image()])


def windows_node(**hardware: object) -> PlannedNode:
    machine = Hardware(firmware=Firmware.UEFI, **hardware)  # type: ignore[arg-type]
    return replace(plan(Observed()).nodes[0], system=System.WINDOWS, hardware=machine)


def test_the_variables_of_the_firmware_go_with_the_disk(tmp_path: Path) -> None:
    lab, clone = Folders(tmp_path / "lab"), Folders(tmp_path / "clone")
    frozen = Frozen("x", "x", tmp_path / "golden")
    node = windows_node()
    clear_board(lab, node)
    assert keep_board(lab, node, frozen, tmp_path) == ()
    lab.nvram(node.member).write_bytes(b"boot order")
    assert keep_board(lab, node, frozen, tmp_path) == (frozen.nvram(node.member),)
    give_board(clone, node, frozen, tmp_path)
    assert clone.nvram(node.member).read_bytes() == b"boot order"
    assert clone.nvram(node.member).stat().st_mode & 0o777 == 0o600
    clear_board(clone, node)  # a machine that is made anew begins with those of the package
    assert not clone.nvram(node.member).exists()


def test_a_bios_machine_has_no_board_to_remember(tmp_path: Path) -> None:
    node = plan(Observed()).nodes[0]
    give_board(Folders(tmp_path), node, Frozen("x", "x", tmp_path / "golden"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_a_tpm_is_that_of_its_machine_alone(tmp_path: Path) -> None:
    kept = tmp_path / "node.permall"
    give_state(kept, "uuid", tmp_path / "swtpm")
    assert not (tmp_path / "swtpm").exists()  # a machine that never had one
    kept.write_bytes(b"seeds")
    give_state(kept, "uuid", tmp_path / "swtpm")
    state = state_file("uuid", tmp_path / "swtpm")
    assert state.read_bytes() == b"seeds"
    assert [path.stat().st_mode & 0o777 for path in (state, state.parent)] == [0o600, 0o700]


def test_the_state_of_a_tpm_is_read_by_nobody_else_while_it_is_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "state", tmp_path / "kept"
    os.mkfifo(source)  # what is copied comes when the test wants it
    before = os.umask(0)
    try:
        with ThreadPoolExecutor(1) as copier:
            copying = copier.submit(copy_owned, source, target)
            with source.open("wb") as seeds:
                while not (found := list(tmp_path.glob(".kept.*"))):
                    assert not copying.done()
                    time.sleep(0.01)
                assert found[0].stat().st_mode & 0o777 == 0o600
                seeds.write(b"seeds")
            assert copying.result()
    finally:
        os.umask(before)
    assert target.read_bytes() == b"seeds"


def test_a_password_is_drawn_once_for_each_machine_of_each_lab(tmp_path: Path) -> None:
    one, other = Folders(tmp_path / "a"), Folders(tmp_path / "b")
    first = ensure_password(one, "dc")
    assert ensure_password(one, "dc") == first
    assert len({first, ensure_password(one, "files"), ensure_password(other, "dc")}) == 3
    assert (one.secrets / "administrator_dc").stat().st_mode & 0o777 == 0o600


def test_windows_takes_a_drawn_password() -> None:
    for _attempt in range(200):
        password = draw_password()
        kinds = [any(map(test, password)) for test in (str.isupper, str.islower, str.isdigit)]
        assert len(password) >= 12
        assert all(kinds)


def test_values_of_a_clone_reach_powershell_as_data() -> None:
    keys = Keys("", "", "", "ssh-ed25519 login labctl@lab\n")
    script = render_windows_personalisation(windows_node(), keys, "'; Remove-Item C:\\", 1_800_000_000.5)
    assert b"Remove-Item" not in script
    assert b"\r\n\r\n" not in script.rstrip()

    found = re.search(rb"\$data = '([^']*)'", script)
    assert found
    told = json.loads(base64.b64decode(found[1]))
    assert told["password"] == "'; Remove-Item C:\\"
    assert told["now"] == 1_800_000_000_500


def test_what_lasts_comes_through_the_agent_at_the_first_start_and_stands_on_no_disc(tmp_path: Path) -> None:
    source = tmp_path / "small.yml"
    machine = "image: windows-2022\n    memory: 2048\n    disk: 40"
    source.write_text(SMALL.read_text().replace("image: debian-13", machine, 1))
    wish = Wish(load_topology(source, catalogue()), source, "alice")
    world = World()
    place = make_place(tmp_path / "home", world)
    _plan, result = bring_up(place, wish, lambda _image: Pace("tcg", 1.0), Silent(), Stop())
    assert not result.failures
    assert world.personal == {"small-alice.server"}  # the key of its SSH server has reached it
    folders = place.folders("small-alice")
    password = (folders.secrets / "administrator_server").read_text()
    disc = folders.identity("server").read_bytes()
    assert b"PRIVATE KEY" not in disc
    assert base64.b64encode(f"{password}AdministratorPassword".encode("utf-16-le")) not in disc


def guarded(script: str, act: str) -> list[str]:
    """Return the conditions that an act of a PowerShell script stands under, outermost first."""
    here: Node | None = Parser(Language(tree_sitter_powershell.language())).parse(script.encode()).root_node
    found = []
    while here:
        if here.type == "if_statement" and (condition := here.child_by_field_name("condition")):
            found.append((condition.text or b"").decode())
        here = next((child for child in here.children if act.encode() in (child.text or b"")), None)
    return found


def test_the_password_of_a_domain_is_not_that_of_one_clone() -> None:
    script = (TEMPLATES / "windows" / "personalise.ps1").read_text()
    assert ["DomainRole -lt 4" in condition for condition in guarded(script, "SetPassword")] == [True]


@pytest.mark.parametrize(
    "script", [hygiene_script(), clock_script(1_800_000_000.5), FLUSH], ids=["hygiene", "clock", "flush"]
)
def test_what_powershell_reads_from_its_input_is_ascii_and_ends_its_block(script: bytes) -> None:
    assert script.isascii()
    assert script.endswith(b"\r\n")
    assert script.count(b"{") == script.count(b"}")
