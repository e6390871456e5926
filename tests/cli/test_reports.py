"""The verb `report` as it is typed: documents on stdout or in a file, what is refused, and how long a class takes."""

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydantic import JsonValue

from labctl.store import Store
from tests.benchmarks.report import CHECKS, LABS, make_class, time_grid
from tests.cli.conftest import Installation
from tests.report.sheets import AT, ATELIER, atelier

LAB = "atelier-alice"


def add_lab(labctl: Installation, lab: str, *, checked: bool = True) -> None:
    """Add a lab as `up` and `check` leave one, without machines."""
    folder = labctl.home / "labctl" / "labs" / lab
    folder.mkdir(parents=True)
    shutil.copy(ATELIER, folder / "topology.yml")
    store = Store(labctl.home / "labctl")
    store.note_boot(lab, "", made=AT)
    if checked:
        evidence: dict[str, JsonValue] = {"seen": "ok", "command": "true", "output": "fine \x1b[2J", "seconds": 0.5}
        rows = [(check.id, "failed" if check.id == "fw-ssh" else "passed", evidence) for check in atelier().checks]
        store.save_outcomes(lab, rows, whole=True)


def complaints(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command said beside its result, without the word of patience of a busy host."""
    return "".join(line for line in done.stderr.splitlines(keepends=True) if not line.endswith("…\n"))


@pytest.fixture
def alice(labctl: Installation) -> Installation:
    add_lab(labctl, LAB)
    return labctl


def test_a_sheet_is_french_unless_english_is_wanted(alice: Installation) -> None:
    french = alice.run("report", LAB)
    assert (french.returncode, complaints(french)) == (0, "")
    assert '<html lang="fr">' in french.stdout
    assert "Le bureau joint sa passerelle" in french.stdout
    english = alice.run("report", LAB, "--language", "en", LABCTL_LANG="fr")
    assert '<html lang="en">' in english.stdout
    assert "The office reaches its gateway" in english.stdout
    assert "accepted with reservations" in english.stdout
    assert "\x1b" not in english.stdout


def test_every_format_on_standard_output(alice: Installation) -> None:
    def seen(kind: str) -> str:
        done = alice.run("report", LAB, "--format", kind, "--language", "en")
        assert (done.returncode, complaints(done)) == (0, "")
        return done.stdout

    assert json.loads(seen("json"))["verdict"]["ruling"] == "accepted_with_reservations"
    suite = ElementTree.fromstring(seen("junit")).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1"
    table = list(csv.reader(io.StringIO(seen("csv").removeprefix("\ufeff"), newline="")))
    assert len(table) == 1 + len(atelier().checks)


def test_a_pdf_is_a_file_named_after_the_lab(alice: Installation) -> None:
    for _again in range(2):
        done = alice.run("report", LAB, "--format", "pdf")
        assert (done.returncode, done.stdout) == (0, f"{LAB}.pdf\n")
        assert (alice.home / f"{LAB}.pdf").read_bytes().startswith(b"%PDF-1.7")


@pytest.mark.parametrize("name", ["sheet.html", "sheet.json", "sheet.xml", "sheet.csv"])
def test_a_report_is_replaced_and_nothing_else_is(alice: Installation, name: str) -> None:
    for _again in range(2):
        done = alice.run("report", LAB, "--output", name)
        assert (done.returncode, done.stdout, complaints(done)) == (0, "", f"written: {name}\n")
    target = alice.home / name
    assert "dns-site" in target.read_text(encoding="utf-8")
    for precious in (b"id;name\nalice;Alice\n", b"<!DOCTYPE html>mine", b'{"mine": 1}', b"\xef\xbb\xbfid,name\n"):
        target.write_bytes(precious)
        done = alice.run("report", LAB, "--output", name)
        assert done.returncode == 6
        assert "left as it is" in done.stderr
        assert target.read_bytes() == precious
    assert [path.name for path in alice.home.iterdir() if path.name.startswith(".")] == []


def test_a_pdf_of_somebody_else_is_left_alone(alice: Installation) -> None:
    target = alice.home / f"{LAB}.pdf"
    target.write_bytes(b"%PDF-1.4 my thesis")
    done = alice.run("report", LAB, "--format", "pdf")
    assert (done.returncode, done.stdout) == (6, "")
    assert target.read_bytes() == b"%PDF-1.4 my thesis"


def test_a_folder_that_does_not_exist_is_told(alice: Installation) -> None:
    done = alice.run("report", LAB, "--output", "nowhere/sheet.html")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name one lab"),
        ((LAB, "--class", "x.csv"), "name one lab"),
        ((LAB, "--topology", "dmz"), "--topology goes with --class"),
        ((LAB, "--format", "odt"), "odt"),
        ((LAB, "--format", "csv", "--output", "sheet.pdf"), "another format"),
        (("--annex-ii-e", "dmz", "--format", "csv"), "html or pdf"),
    ],
)
def test_wrong_usage(alice: Installation, words: tuple[str, ...], said: str) -> None:
    done = alice.run("report", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_lab_that_does_not_exist_or_was_never_checked(labctl: Installation) -> None:
    add_lab(labctl, "atelier-bob", checked=False)
    done = labctl.run("report", "atelier-nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "atelier-bob" in done.stderr
    assert "Try: labctl status" in done.stderr
    done = labctl.run("report", "atelier-bob")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Try: labctl check atelier-bob\n" in done.stderr


def test_a_class_with_a_student_without_a_lab_and_one_never_checked(alice: Installation) -> None:
    add_lab(alice, "atelier-bob", checked=False)
    add_lab(alice, "atelier-x-alice")  # of an owner who is not in the class
    (alice.home / "classe.csv").write_text("id,name\nalice,Alice\nbob,Bob\nzoe,Zoé\n", encoding="utf-8")
    done = alice.run("report", "--class", "classe.csv", "--format", "json")
    assert (done.returncode, complaints(done)) == (0, "")
    labs = json.loads(done.stdout)["labs"]
    assert [(lab["student"], lab["lab"]) for lab in labs] == [("Alice", LAB), ("Bob", "atelier-bob"), ("Zoé", "")]
    assert labs[1]["total"]["undecided"] == 8
    page = alice.run("report", "--class", "classe.csv", "--language", "en").stdout
    assert "no lab" in page
    done = alice.run("report", "--class", "classe.csv", "--topology", "dmz")
    assert done.returncode == 1
    assert "Try: labctl check --class classe.csv" in done.stderr


def test_annex_ii_e_of_a_shipped_lab(labctl: Installation) -> None:
    done = labctl.run("report", "--annex-ii-e", "dmz")
    assert (done.returncode, complaints(done)) == (0, "")
    assert "Un service d&#39;authentification" in done.stdout
    assert labctl.run("report", "--annex-ii-e", "dmz", "--format", "pdf").stdout == "annexe-ii-e-dmz.pdf\n"


def test_the_grid_of_a_class_from_the_database_is_quick(tmp_path: Path) -> None:
    """24 labs × 40 checks in a second is the goal, on a quiet machine; tests run beside others."""
    roster = make_class(tmp_path)
    assert (LABS, CHECKS) == (24, 40)
    assert min(time_grid(tmp_path, roster) for _turn in range(2)) < 3.0
