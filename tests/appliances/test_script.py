import shutil
import subprocess
from pathlib import Path

import pytest

from labctl.appliances import script
from labctl.appliances.script import fill, find_recipe_file, find_script, load_recipe
from labctl.topology.hardware import CardModel, Firmware
from labctl.topology.problems import ProblemsFound

RECIPES = sorted(script.RECIPES.glob("*.yml"))
SCRIPTS = sorted(script.SCRIPTS.glob("*.yml"))
VALUES = {"password": "opnsense"}
HEAD = "title: {en: Firewall, fr: Pare-feu}\n"


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_good(path: Path) -> None:
    assert load_recipe(path).memory >= 1024


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_shipped_scripts_can_be_typed(path: Path) -> None:
    recipe = find_script(path.stem, VALUES)
    assert [step.phase for step in recipe.script][:: len(recipe.script) - 1] == ["boot", "stop"]
    # A terminal of FreeBSD takes lines of 255 bytes (MAX_CANON).
    assert all(len(step.send or "") < 250 for step in recipe.script)


def test_the_hook_that_is_typed_is_a_shell_script_of_as_many_lines_as_are_counted(tmp_path: Path) -> None:
    lines = 11
    recipe = find_script("opnsense", VALUES)
    typed = [step.send or "" for step in recipe.script if step.phase == "hook"]
    assert typed[-1] == "EOF"
    hook = tmp_path / "hook"
    hook.write_text("\n".join(typed[1:-1]) + "\n")
    subprocess.run([shutil.which("sh") or "sh", "-n", hook], check=True)
    assert len(typed[1:-1]) == lines
    assert any(f"hook- *{lines}" in step.wait for step in recipe.script)


def test_a_recipe_says_which_machine_the_image_wants(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(HEAD + "firmware: uefi\nnic: e1000e\nmemory: 2048\n")
    recipe = load_recipe(path)
    assert (recipe.hardware.firmware, recipe.hardware.card) == (Firmware.UEFI, CardModel.E1000E)


def test_a_recipe_says_which_disks_each_machine_has_too(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(HEAD + "disks: {data: 20, log: 5}\n")
    assert load_recipe(path).hardware.disks == {"data": 20, "log": 5}
    shipped = {path.stem: dict(load_recipe(path).disks) for path in RECIPES}
    assert {name: disks for name, disks in shipped.items() if disks} == {
        "fortigate": {"log": 30}, "truenas": {"data1": 20, "data2": 20},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nic: e1000f\n", "2:6: nic: expected one of"),
        ("nick: e1000\n", 'did you mean "nic"'),
        ("memory: 12\n", "2:9: memory"),
        ("disks: {Data: 20}\n", "2:9: disks.Data: expected a name of 1 to 20 small letters"),
        ("disks: {data: 4096}\n", "2:15: disks.data: expected a whole number from 1 to 2048"),
        ("secure_boot: true\n", "2:14: secure_boot: expected firmware: uefi beside it"),
        ("script: [{phase: boot, wait: 'login[', within: 5}]\n", "script[0].wait: expected a regular expression"),
        ("script: [{phase: boot, wait: 'x', within: 5, send: '${pasword}'}]\n", 'did you mean "password"'),
        ("script: [{phase: boot, wait: 'x', within: 0}]\n", "script[0].within"),
        ("script: [{phase: boot, wait: 'x', within: 5}]\nconsole: screen\n", "3:10: console: expected serial"),
        ("script: [{wait: 'x', within: 5}]\n", '"phase"'),
    ],
)  # fmt: skip
def test_a_bad_recipe_is_shown_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.yml"
    path.write_text(HEAD + text)
    with pytest.raises(ProblemsFound) as caught:
        load_recipe(path, VALUES)
    assert said in caught.value.message
    assert caught.value.exit_code == 3


def test_what_a_person_can_name_needs_no_value_of_labctl() -> None:
    assert script.recipe_names() == ["cisco", "fortigate", "stormshield", "truenas"]
    assert find_recipe_file("truenas") == load_recipe(script.RECIPES / "truenas.yml")


def test_values_are_filled_in_where_they_are_typed() -> None:
    assert fill("user ${password}!", VALUES) == "user opnsense!"
