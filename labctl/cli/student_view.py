"""Shows outcomes to students: what is tested and how it stands, never the command, its output or what is expected."""

from collections.abc import Sequence

import click
from pydantic import JsonValue
from rich.markup import escape

from labctl.checks.hints import hints_of
from labctl.checks.model import Outcome
from labctl.cli.show import RESULT_SIGNS, count_checks, result_name
from labctl.cli.table import console, open_table
from labctl.language import _, ngettext


def student_dict(outcome: Outcome, language: str, count: int) -> dict[str, JsonValue]:
    """Return an outcome as a student may see it, with the first `count` hints; keys are stable."""
    check = outcome.check
    hints, left = hints_of(outcome, language, count)
    return {
        "id": check.id,
        "title": check.title.pick(language),
        "result": str(outcome.result),
        "hints": [*hints],
        "hints_left": left,
        "after_reboot": check.after_reboot,
        "rebooted": outcome.rebooted,
    }


def print_student_view(lab: str, outcomes: Sequence[Outcome], language: str, count: int) -> None:
    """Print a table of titles and states, then the first hints for what does not pass."""
    table = open_table(_("Checks of {lab}").format(lab=lab))
    for heading in (_("Check"), _("Test"), _("Result")):
        table.add_column(heading)
    for outcome in outcomes:
        sign, style = RESULT_SIGNS[outcome.result]
        state = f"[{style}]{sign} {result_name(outcome.result)}[/]"
        table.add_row(outcome.check.id, escape(outcome.check.title.pick(language)), state)
    console().print(table)
    for outcome in outcomes:
        print_hints(outcome, language, count)
    click.echo(count_checks(outcomes))


def print_hints(outcome: Outcome, language: str, count: int) -> None:
    """Print what a student is told about a check that has not passed."""
    hints, left = hints_of(outcome, language, count)
    if hints or left:
        click.echo(f"{RESULT_SIGNS[outcome.result][0]} {outcome.check.id}: {outcome.check.title.pick(language)}")
    for number, hint in enumerate(hints, start=1):
        click.echo("    " + _("hint {number}: {text}").format(number=number, text=hint))
    if left:
        text = ngettext("{count} more hint: --hint {next}", "{count} more hints: --hint {next}", left)
        click.echo("    " + text.format(count=left, next=len(hints) + 1))
