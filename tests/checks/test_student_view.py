"""What students are shown: titles and states, hints step by step where they ask, and no answer."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from labctl.checks.hints import steps_of
from labctl.checks.model import Outcome, Result
from labctl.cli.show import seen_text
from labctl.cli.student_view import print_student_view, student_dict
from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from tests.checks.asking import make

SECRETS = ("dig @192.0.2.53 secret-command", "raw output of the probe", "192.0.2.80", "status 502", "does not lead")
HINTS = [{"en": f"Step {number}", "fr": f"Étape {number}"} for number in (1, 2, 3)]
FAIL = {
    "en": "The name does not lead to 192.0.2.80. Look at the zone file. Then look at the flows!",
    "fr": "Le nom ne mène pas à 192.0.2.80. Regardez le fichier de zone. Étudiez ensuite les flux !",
}


def outcome(result: Result, *, after_reboot: bool = False, hints: Sequence[dict[str, str]] = HINTS) -> Outcome:
    probe = {"type": "dns", "name": "www.lab.example", "answer": "192.0.2.80"}
    check = make(probe, hints=hints, fail=FAIL, title={"en": "The name", "fr": "Le nom"}, after_reboot=after_reboot)
    return Outcome(check, result, "status 502", SECRETS[0], SECRETS[1], 0.5)


@pytest.mark.parametrize("result", Result)
@pytest.mark.parametrize("steps", [0, 2, 9])
@pytest.mark.parametrize("hints", [HINTS, ()])
def test_no_answer_is_shown(
    result: Result, steps: int, hints: Sequence[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said when a check fails is no text for students: it names what is expected."""
    found = outcome(result, hints=hints)
    print_student_view("dmz-alice", [found], "en", steps)
    shown = capsys.readouterr().out + json.dumps(student_dict(found, "en", steps))
    assert not [secret for secret in SECRETS if secret in shown]
    assert "The name" in shown


def test_hints_come_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    found = student_dict(outcome(Result.FAILED), "fr", 1)
    assert (found["hints"], found["hints_left"]) == (["Étape 1"], 2)
    assert student_dict(outcome(Result.FAILED), "en", 3)["hints_left"] == 0
    print_student_view("dmz-alice", [outcome(Result.FAILED)], "en", 1)
    shown = capsys.readouterr().out
    assert "hint 1: Step 1" in shown
    assert "2 more hints: --hint 2" in shown
    assert "Step 2" not in shown


def test_what_passes_needs_no_hint() -> None:
    found = student_dict(outcome(Result.PASSED), "en", 3)
    assert (found["hints"], found["hints_left"]) == ([], 0)


def test_without_hints_they_are_the_sentences_that_say_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    found = outcome(Result.FAILED, hints=())
    assert steps_of(found.check, "en") == ["Look at the zone file.", "Then look at the flows!"]
    assert steps_of(found.check, "fr") == ["Regardez le fichier de zone.", "Étudiez ensuite les flux !"]
    print_student_view("dmz-alice", [found], "fr", 0)
    assert "Regardez" not in capsys.readouterr().out
    print_student_view("dmz-alice", [found], "fr", 1)
    shown = capsys.readouterr().out
    assert "Regardez le fichier de zone." in shown
    assert "Étudiez" not in shown


def test_every_shipped_check_has_a_hint() -> None:
    for path in sorted(shipped_folder("topologies").glob("*.yml")):
        for check in load_topology(path, shipped_catalogue()).checks:
            for language in ("en", "fr"):
                assert steps_of(check, language), f"{path.stem}: {check.id} has no hint"


def test_a_check_for_after_a_reboot_says_when_it_was_run_without_one() -> None:
    check = outcome(Result.PASSED, after_reboot=True)
    assert seen_text(check) == "status 502 — not tested after a reboot"
    assert (check.to_dict("en")["after_reboot"], check.to_dict("en")["rebooted"]) == (True, False)
    assert seen_text(replace(check, rebooted=True)) == "status 502"
    assert seen_text(outcome(Result.PASSED)) == "status 502"
