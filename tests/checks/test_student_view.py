"""What students are shown: titles and states, the first sentence of what fails, hints step by step, and no answer."""

import json
from dataclasses import replace

import pytest

from labctl.checks.model import Outcome, Result
from labctl.cli.show import seen_text
from labctl.cli.student_view import first_step, print_student_view, student_dict
from tests.checks.asking import make

SECRETS = ("dig @192.0.2.53 secret-command", "raw output of the probe", "192.0.2.80", "status 502")
HINTS = [{"en": f"Step {number}", "fr": f"Étape {number}"} for number in (1, 2, 3)]
FAIL = {
    "en": "The name does not lead to the site. Look at the zone file: it must say 192.0.2.80.",
    "fr": "Le nom ne mène pas au site. Regardez le fichier de zone : il doit dire 192.0.2.80.",
}


def outcome(result: Result, *, after_reboot: bool = False) -> Outcome:
    probe = {"type": "dns", "name": "www.lab.example", "answer": "192.0.2.80"}
    check = make(probe, hints=HINTS, fail=FAIL, title={"en": "The name", "fr": "Le nom"}, after_reboot=after_reboot)
    return Outcome(check, result, "status 502", SECRETS[0], SECRETS[1], 0.5)


@pytest.mark.parametrize("result", Result)
@pytest.mark.parametrize("steps", [0, 2, 9])
def test_no_answer_is_shown(result: Result, steps: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_student_view("dmz-alice", [outcome(result)], "en", steps)
    shown = capsys.readouterr().out + json.dumps(student_dict(outcome(result), "en", steps))
    assert not [secret for secret in SECRETS if secret in shown]
    assert "The name" in shown


def test_hints_come_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    found = student_dict(outcome(Result.FAILED), "fr", 1)
    assert found["text"] == "Le nom ne mène pas au site."
    assert (found["hints"], found["hints_left"]) == (["Étape 1"], 2)
    assert student_dict(outcome(Result.FAILED), "en", 3)["hints_left"] == 0
    print_student_view("dmz-alice", [outcome(Result.FAILED)], "en", 1)
    shown = capsys.readouterr().out
    assert "hint 1: Step 1" in shown
    assert "2 more hints: --hint 2" in shown
    assert "Step 2" not in shown


def test_what_passes_needs_no_hint() -> None:
    found = student_dict(outcome(Result.PASSED), "en", 3)
    assert (found["text"], found["hints"], found["hints_left"]) == ("", [], 0)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("172.16.10.254 does not answer. Look there.", "172.16.10.254 does not answer."),
        ("Rien ne répond ! Étudiez la table nat.", "Rien ne répond !"),
        ("One sentence without an end", "One sentence without an end"),
        ("", ""),
    ],
)
def test_the_first_step_is_the_first_sentence(text: str, first: str) -> None:
    assert first_step(text) == first


def test_a_check_for_after_a_reboot_says_when_it_was_run_without_one() -> None:
    check = outcome(Result.PASSED, after_reboot=True)
    assert seen_text(check) == "status 502 — not tested after a reboot"
    assert (check.to_dict("en")["after_reboot"], check.to_dict("en")["rebooted"]) == (True, False)
    assert seen_text(replace(check, rebooted=True)) == "status 502"
    assert seen_text(outcome(Result.PASSED)) == "status 502"
