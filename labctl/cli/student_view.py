"""Shows outcomes to students: what is tested and how it stands, never the command, its output or what is expected."""

import re
from collections.abc import Sequence

import click
from pydantic import JsonValue
from rich.markup import escape

from labctl.checks.model import Outcome, Result
from labctl.cli.show import RESULT_SIGNS, count_checks, result_name
from labctl.cli.table import console, open_table
from labctl.language import _, ngettext

SENTENCE = re.compile(r"(?<=[.!?…])\s+(?=[A-ZÀ-ÖØ-Þ«“])")


def first_step(text: str) -> str:
    """Return the first sentence: what fails. The others say where to look, and hints do that step by step."""
    return SENTENCE.split(text.strip(), maxsplit=1)[0]


def student_dict(outcome: Outcome, language: str, steps: int) -> dict[str, JsonValue]:
    """Return an outcome as a student may see it, with the first hints; keys are stable."""
    check = outcome.check
    hints = hints_of(outcome, language, steps)
    return {
        "id": check.id,
        "title": check.title.pick(language),
        "result": str(outcome.result),
        "text": first_step(outcome.text(language)) if outcome.result is Result.FAILED else "",
        "hints": [*hints],
        "hints_left": 0 if outcome.result is Result.PASSED else len(check.hints) - len(hints),
        "after_reboot": check.after_reboot,
        "rebooted": outcome.rebooted,
    }


def hints_of(outcome: Outcome, language: str, steps: int) -> list[str]:
    """Return the first hints of a check that has not passed."""
    shown = () if outcome.result is Result.PASSED else outcome.check.hints[:steps]
    return [hint.pick(language) for hint in shown]


def print_student_view(lab: str, outcomes: Sequence[Outcome], language: str, steps: int) -> None:
    """Print a table of titles and states, then the first sentence and the hints for what does not pass."""
    table = open_table(_("Checks of {lab}").format(lab=lab))
    for heading in (_("Check"), _("Test"), _("Result")):
        table.add_column(heading)
    for outcome in outcomes:
        sign, style = RESULT_SIGNS[outcome.result]
        state = f"[{style}]{sign} {result_name(outcome.result)}[/]"
        table.add_row(outcome.check.id, escape(outcome.check.title.pick(language)), state)
    console().print(table)
    for outcome in outcomes:
        if outcome.result is not Result.PASSED:
            print_help(outcome, language, steps)
    click.echo(count_checks(outcomes))


def print_help(outcome: Outcome, language: str, steps: int) -> None:
    """Print what a student is told about a check that has not passed."""
    sign = RESULT_SIGNS[outcome.result][0]
    text = first_step(outcome.text(language)) or result_name(outcome.result)
    click.echo(f"{sign} {outcome.check.id}: {text}")
    hints = hints_of(outcome, language, steps)
    for number, hint in enumerate(hints, start=1):
        click.echo("    " + _("hint {number}: {text}").format(number=number, text=hint))
    left = len(outcome.check.hints) - len(hints)
    if left:
        text = ngettext("{count} more hint: --hint {next}", "{count} more hints: --hint {next}", left)
        click.echo("    " + text.format(count=left, next=len(hints) + 1))
