"""What the installed command answers without a guest: exit codes, results on stdout, errors and hints on stderr."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import NOWHERE, Installation

ROOT = Path(__file__).parents[2]
PROBLEMS = ROOT / "tests" / "problems"
HINT = "Try: "


def test_a_good_topology_is_valid_from_any_folder(labctl: Installation) -> None:
    done = labctl.run("validate", "dmz")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("dmz.yml: valid (3 machines, 24 checks, 37 faults)\n")


def test_a_file_wins_over_a_shipped_topology(labctl: Installation) -> None:
    shutil.copy(PROBLEMS / "empty.yml", labctl.home / "dmz.yml")
    done = labctl.run("validate", "dmz.yml")
    assert done.returncode == 3
    assert "dmz.yml" in done.stdout


def test_the_worst_of_several_files_decides_the_exit_code(labctl: Installation) -> None:
    done = labctl.run("validate", "dmz", str(PROBLEMS / "several.yml"), str(PROBLEMS / "list-at-top.yml"))
    assert done.returncode == 3
    assert "valid (3 machines" in done.stdout
    assert "several.yml:1:7: name:" in done.stdout
    assert "list-at-top.yml:1:1:" in done.stdout


@pytest.mark.parametrize("verb", ["plan", "up", "graph"])
@pytest.mark.parametrize("name", ["list-at-top", "binary", "several"])
def test_an_invalid_topology_creates_nothing(labctl: Installation, verb: str, name: str) -> None:
    done = labctl.run(verb, str(PROBLEMS / f"{name}.yml"))
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{name}.yml" in done.stderr
    assert not (labctl.home / "labctl" / "labs").exists()


@pytest.mark.parametrize(
    "name", ['a"b', "a'b", "a<b>&c", "two\nlines", "x" * 300, "", "../dmz", "\x1b[2J", "nul\udcff", "-", "."]
)
def test_a_name_that_is_no_topology(labctl: Installation, name: str) -> None:
    done = labctl.run("plan", "--", name)
    assert (done.returncode, done.stdout) == (3, "")
    assert "\x1b" not in done.stderr
    assert max(len(line) for line in done.stderr.splitlines()) < 300  # the names that there are, and little more


def test_files_that_are_no_topology(labctl: Installation) -> None:
    (labctl.home / "binary.yml").write_bytes(bytes(range(256)))
    (labctl.home / "folder.yml").mkdir()
    (labctl.home / "list.yml").write_text("- a\n- b\n", encoding="utf-8")
    os.mkfifo(labctl.home / "pipe.yml")
    for name, word in {"binary": "binary", "folder": "folder", "list": "a list", "pipe": "pipe"}.items():
        done = labctl.run("validate", f"{name}.yml")
        assert done.returncode == 3
        assert word in done.stdout


def test_a_plan_as_json(labctl: Installation) -> None:
    done = labctl.run("plan", "dmz", "--student", "alice,bob", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    plans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [plan["lab"] for plan in plans] == ["dmz-alice", "dmz-bob"]
    assert all(set(action) == {"kind", "target", "reason"} for plan in plans for action in plan["actions"])
    assert {action["kind"] for action in plans[0]["actions"]} == {"create network", "clone machine"}
    assert labctl.run("plan", "dmz", "--student", "alice,bob", "--json").stdout == done.stdout


def test_a_plan_says_what_is_pending_in_its_exit_code_and_writes_nothing(labctl: Installation) -> None:
    assert labctl.run("plan", "dmz", "--detailed-exitcode").returncode == 8
    assert labctl.json("status") == {"version": 1, "labs": [], "without": [], "spares": []}
    assert list((labctl.home / "labctl").glob("labs/*")) == []


def test_a_plan_of_a_session_has_values_of_each_owner_and_writes_nothing(labctl: Installation) -> None:
    words = ("plan", "dmz", "--student", "alice,bob", "--session", "TP-3", "--json")
    done = labctl.run(*words)
    assert done.returncode == 0
    assert "an example" in done.stderr
    assert not (labctl.home / "labctl" / "variants.key").exists()
    drawn = labctl.json("variant", "show", "--topology", "dmz", "--session", "TP-3", "--student", "alice")
    done = labctl.run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    alice, bob = (json.loads(line) for line in done.stdout.splitlines())
    assert {"kind": "configure", "target": "fw", "reason": "own values"} in alice["actions"]
    assert [account_of(plan) == account_of(alice) for plan in (alice, bob)] == [True, False]
    (values,) = drawn["labs"]
    assert account_of(alice) in {one["value"] for one in values["values"]}
    assert labctl.run(*words).stdout == done.stdout
    # Without a session, the same labs have the defaults.
    (plain,) = map(json.loads, labctl.run("plan", "dmz", "--student", "alice", "--json").stdout.splitlines())
    assert account_of(plain) == "technicien"
    assert {action["kind"] for action in plain["actions"]} == {"create network", "clone machine"}
    assert list((labctl.home / "labctl").glob("labs/*")) == []


def account_of(plan: Any) -> str:
    """Return the account that a planned lab of `dmz` has on its client."""
    (client,) = (node for node in plan["nodes"] if node["member"] == "client")
    (name,) = client["services"]["client"]["accounts"]
    return str(name)


def test_a_plan_refuses_the_session_that_up_would_refuse(labctl: Installation) -> None:
    roster = labctl.home / "class.csv"
    roster.write_text("id\n" + "".join(f"e{number}\n" for number in range(3)), encoding="utf-8")
    text = (ROOT / "tests" / "lab" / "varied.yml").read_text(encoding="utf-8")
    few = text.replace("values: [alpha, beta, gamma, delta, epsilon, zeta]", "values: [alpha, beta]\n    unique: true")
    (labctl.home / "few.yml").write_text(few, encoding="utf-8")
    for words, code, said in (
        (("few.yml", "--class", str(roster), "--session", "s1"), 6, "has 2 values, 3 owners"),
        (("annuaire", "--session", "s1"), 6, "has no variants"),
        (("dmz", "--session", "../s1"), 2, "is not a session"),
    ):
        done = [labctl.run(verb, *words) for verb in ("plan", "up")]
        assert {one.returncode for one in done} == {code}, done
        assert all(said in one.stderr for one in done)
        assert {one.stdout for one in done} == {""}
    assert list((labctl.home / "labctl").glob("labs/*")) == []


def test_no_lab_yet(labctl: Installation) -> None:
    done = labctl.run("status")
    assert (done.returncode, done.stdout) == (0, "no lab yet\n")
    assert done.stderr.startswith(HINT)


@pytest.mark.parametrize(
    "words",
    [("check",), ("status",), ("inventory",), ("logs",), ("ssh", "fw"), ("configure",), ("logs", "fw")],
    ids=" ".join,
)
def test_an_unknown_lab_is_told_with_a_hint(labctl: Installation, words: tuple[str, ...]) -> None:
    done = labctl.run(words[0], "dmz-nobody", *words[1:])
    assert_told(done)


@pytest.mark.parametrize("lab", ['a"<b>', "two\nlines", "x" * 300, "../labctl", ".."])
def test_a_name_that_no_lab_can_have(labctl: Installation, lab: str) -> None:
    for verb in ("check", "status", "logs"):
        assert_told(labctl.run(verb, lab))


def assert_told(done: subprocess.CompletedProcess[str]) -> None:
    """Assert an error with a command to type, and nothing on stdout."""
    assert (done.returncode, done.stdout) == (1, "")
    error, _newline, hint = done.stderr.rstrip("\n").rpartition("\n")
    assert error.startswith("Error: ")
    assert hint.startswith(HINT + "labctl ")


@pytest.mark.parametrize("lab", ["../../precious", "..", ".", "", "a/../../../precious", "x" * 300])
def test_down_removes_nothing_outside_the_labs(labctl: Installation, lab: str) -> None:
    precious = labctl.home / "precious"
    precious.mkdir()
    (labctl.home / "labctl" / "labs" / "first-alice").mkdir(parents=True)
    done = labctl.run("down", "--", lab)
    assert done.returncode == 1
    assert "a lab is named" in done.stderr
    assert precious.exists()
    assert (labctl.home / "labctl" / "labs" / "first-alice").exists()


def test_down_of_a_lab_that_is_gone_is_done(labctl: Installation) -> None:
    done = labctl.run("down", "dmz-nobody")
    assert (done.returncode, done.stdout) == (0, "dmz-nobody: there is nothing to remove\n")


def test_down_asks_before_everything_goes(labctl: Installation) -> None:
    assert labctl.run("down", "--all").returncode == 0  # there is nothing


@pytest.mark.parametrize("words", [("status",), ("plan", "dmz"), ("up", "dmz"), ("down", "dmz-demo")], ids=" ".join)
def test_no_libvirtd_is_code_7_with_the_command_that_starts_it(labctl: Installation, words: tuple[str, ...]) -> None:
    done = labctl.run(*words, LABCTL_URI=NOWHERE)
    assert (done.returncode, done.stdout) == (7, "")
    assert "cannot be reached" in done.stderr
    assert f"\n{HINT}" in done.stderr


def test_doctor_explains_a_host_without_libvirt(labctl: Installation) -> None:
    done = labctl.run("doctor", "--json", LABCTL_URI=NOWHERE)
    assert done.returncode == 7
    findings = {found["code"]: found for found in json.loads(done.stdout)["findings"]}
    assert findings["libvirt"]["level"] == "problem"
    assert findings["libvirt"]["cure"]


@pytest.mark.parametrize(
    ("home", "words"),
    [("/proc/labctl", ("status",)), ("/dev/null", ("plan", "dmz")), ("/dev/null/below", ("image", "list"))],
)
def test_a_home_that_cannot_be_written(labctl: Installation, home: str, words: tuple[str, ...]) -> None:
    done = labctl.run(*words, LABCTL_HOME=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert f'the folder "{home}" cannot be used' in done.stderr
    assert f"\n{HINT}" in done.stderr


def test_a_console_needs_a_terminal(labctl: Installation) -> None:
    done = labctl.run("console", "dmz-demo", "fw")
    assert done.returncode == 1
    assert f"{HINT}labctl logs dmz-demo fw" in done.stderr


def test_a_drawing_of_a_topology(labctl: Installation) -> None:
    done = labctl.run("graph", "dmz")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("fw", "web", "client", "192.168.50.0/24"))
    assert labctl.run("graph", "dmz", "--dot").stdout.startswith("graph")
    assert labctl.run("graph", "dmz", "--svg", "picture.svg").returncode == 0
    assert "<svg" in (labctl.home / "picture.svg").read_text(encoding="utf-8")
    done = labctl.run("graph", "dmz", "--svg", "/nonexistent/picture.svg")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_the_schema_is_json(labctl: Installation) -> None:
    assert json.loads(labctl.run("schema").stdout)["$schema"].startswith("https://json-schema.org/")


def test_images(labctl: Installation) -> None:
    assert labctl.json("image", "list") == {"version": 1, "images": []}
    done = labctl.run("image", "rm", "debian-99\x1b")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{HINT}labctl image list" in done.stderr
    assert "\x1b" not in done.stderr


MEDIA = Path(__file__).parents[1] / "golden" / "media" / "topology.yml"


@pytest.mark.parametrize("verb", ["plan", "up"])
def test_media_that_the_school_has_not_given_are_asked_for(labctl: Installation, verb: str) -> None:
    done = labctl.run(verb, str(MEDIA))
    assert done.returncode == 7
    assert 'the image "opnsense-25" is not on this host' in done.stderr
    assert "labctl image build opnsense-25 --media FILE" in done.stderr
    assert not list((labctl.home / "labctl" / "labs").glob("media-*"))


def test_the_faults_of_a_topology_are_listed_for_trainers(labctl: Installation) -> None:
    found = {one["id"]: one for one in labctl.json("fault", "list", "dmz")["faults"]}
    assert len(found) >= 30
    one = found["dns-refuses-dmz"]
    assert (one["node"], one["difficulty"], one["fixed"]) == ("fw", 2, ["dns-from-dmz"])
    done = labctl.run("fault", "list", "dmz", COLUMNS="110")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"dmz: {len(found)} faults\n")
    assert "dns-refuses-dmz" in done.stdout


def test_tickets_are_in_the_readers_language_and_tell_no_answer(labctl: Installation) -> None:
    done = labctl.run("fault", "list", "dmz", "--tickets", LABCTL_LANG="fr")
    assert "Depuis ce matin, aucun site ne s'ouvre." in done.stdout
    assert "dns-stopped" not in done.stdout
    assert "named" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["inject", "dmz-x"], 2, "give the names of faults, or --seed"),
        (["inject", "dmz-x", "dns-stopped", "--seed", "1"], 2, "give the names of faults, or --seed"),
        (["inject", "dmz-x", "--seed", "1", "--count", "0"], 2, "--count"),
        (["inject", "dmz-x", "dns-stopped"], 1, 'there is no lab "dmz-x"'),
        (["status", "dmz-x"], 1, 'there is no lab "dmz-x"'),
        (["clear", "../x"], 1, "a lab is named TOPOLOGY-STUDENT"),
        (["list", "nothing"], 3, 'no shipped topology "nothing"'),
    ],
)
def test_a_fault_verb_that_cannot_be_done_says_why(
    labctl: Installation, words: list[str], code: int, said: str
) -> None:
    done = labctl.run("fault", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
