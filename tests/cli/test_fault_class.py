"""The verbs of faults on the labs of a class: each lab has a result, and the trouble of one keeps no other."""

import json
import shutil

import pytest

from labctl.shipped import shipped_folder
from labctl.store import Store, StoredFault
from tests.cli.conftest import Installation

CLASS = "id,name\nalice,Alice\nbob,Bob\ncarol,Carol\n"


@pytest.fixture
def labs(labctl: Installation) -> Installation:
    """Return two labs without machines, one of them with a fault; a third student has none."""
    for owner in ("alice", "bob"):
        folder = labctl.home / "labctl" / "labs" / f"dmz-{owner}"
        folder.mkdir(parents=True)
        shutil.copy(shipped_folder("topologies") / "dmz.yml", folder / "topology.yml")
    fault = StoredFault("web-stopped", "web", "2026-01-01T00:00:00+00:00", "ada", "", frozenset({"site-https"}))
    Store(labctl.home / "labctl").add_fault("dmz-alice", fault)
    (labctl.home / "classe.csv").write_text(CLASS)
    return labctl


def test_the_faults_of_a_class_stand_in_one_table(labs: Installation) -> None:
    done = labs.run("fault", "status", "--class", "classe.csv", COLUMNS="120")
    assert "dmz-alice" in done.stdout
    assert "could not be checked" in done.stdout
    assert "dmz-bob: no fault was injected" in done.stdout
    assert done.returncode == 4  # one lab is fine, the other could not be checked


def test_each_lab_of_a_class_has_a_line_of_json(labs: Installation) -> None:
    done = labs.run("fault", "status", "--class", "classe.csv", "--json")
    found = {one["lab"]: one["faults"] for one in map(json.loads, done.stdout.splitlines())}
    assert [one["state"] for one in found["dmz-alice"]] == ["unknown"]
    assert found["dmz-bob"] == []


def test_one_student_of_the_class(labs: Installation) -> None:
    done = labs.run("fault", "clear", "--class", "classe.csv", "--student", "bob")
    assert (done.returncode, done.stdout) == (0, "dmz-bob: no fault was injected\n")


def test_what_is_refused_in_each_lab_is_told_for_each(labs: Installation) -> None:
    """No machine answers: that faults could be told from what is wrong already cannot be known."""
    done = labs.run("fault", "inject", "--class", "classe.csv", "dns-not-at-boot", "--json")
    assert done.returncode == 6
    said = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "result"]
    assert {one["lab"] for one in said} == {"dmz-alice", "dmz-bob"}
    assert all("nothing was changed" in one["error"] for one in said)
    done = labs.run("fault", "inject", "--topology", "dmz", "no-such-fault")
    assert done.returncode == 6
    assert done.stderr.count('"no-such-fault" is not a fault of "dmz"') == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inject", "dns-stopped"], "give the names of faults, or --seed"),  # it is the lab
        (["inject", "--class", "classe.csv"], "give the names of faults, or --seed"),
        (["inject", "--class", "classe.csv", "dns-stopped", "--seed", "1"], "give the names of faults, or --seed"),
        (["inject", "--seed", "1"], "name labs, or say --class"),
        (["status"], "name labs, or say --class"),
        (["clear"], "name labs, or say --class"),
    ],
)
def test_a_line_that_means_nothing_is_a_usage_error(labs: Installation, words: list[str], said: str) -> None:
    done = labs.run("fault", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_faults_are_completed_after_the_lab_and_nothing_where_there_is_none(labs: Installation) -> None:
    settings = {"_LABCTL_COMPLETE": "bash_complete", "COMP_CWORD": "4"}
    done = labs.run(COMP_WORDS="labctl fault inject dmz-alice web-st", **settings)
    assert done.stdout.split() == ["plain,web-stopped"]
    (labs.home / "labctl" / "labs" / "dmz-bob" / "topology.yml").write_text("name: [")
    for lab in ("dmz-nobody", "dmz-bob", "../x"):
        done = labs.run(COMP_WORDS=f"labctl fault inject {lab} web-st", **settings)
        assert (done.stdout.strip(), done.stderr) == ("", "")
