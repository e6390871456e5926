"""The command `labctl`: finds the verb, speaks the reader's language, turns errors into a sentence and an exit code.

Verbs are imported only when they run, so that `labctl --help` and completion answer at once.
"""

import gettext
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from labctl import __version__
from labctl.cli.typed import printable
from labctl.errors import ExitCode, LabctlError
from labctl.language import LOCALES, N_, _, current_language

VERBS: dict[str, tuple[str, str]] = {
    "validate": ("labctl.cli.planning:validate", N_("Check topology files and show every problem.")),
    "plan": ("labctl.cli.planning:plan", N_("Show what `up` would do, and why; change nothing.")),
    "up": ("labctl.cli.labs:up", N_("Bring labs up: converge, resume, never start over.")),
    "reset": ("labctl.cli.labs:reset", N_("Bring a lab or a machine back to the golden state.")),
    "status": ("labctl.cli.status:status", N_("Show the labs and the state of their machines.")),
    "check": ("labctl.cli.checks:check", N_("Run a lab's checks and show the results.")),
    "report": ("labctl.cli.reports:report", N_("Write the acceptance sheet of a lab, a class grid, or annex II.E.")),
    "fault": ("labctl.cli.faults:fault", N_("Bring troubles about for students to repair.")),
    "variant": ("labctl.cli.variants:variant", N_("Show the values that owners have drawn.")),
    "configure": ("labctl.cli.checks:configure", N_("Run the playbooks of a lab again.")),
    "down": ("labctl.cli.labs:down", N_("Remove labs and nothing else.")),
    "ssh": ("labctl.cli.access:ssh", N_("Open a shell on a machine, or run a command there.")),
    "console": ("labctl.cli.access:console", N_("Open a machine's serial console.")),
    "password": ("labctl.cli.passwords:password", N_("Show the passwords of Windows machines and firewalls.")),
    "logs": ("labctl.cli.access:logs", N_("Show a lab's history, a machine's console or Ansible's output.")),
    "graph": ("labctl.cli.drawing:graph", N_("Draw a topology as text or SVG.")),
    "inventory": ("labctl.cli.access:inventory", N_("Print a lab's inventory for `ansible -i`.")),
    "competencies": (
        "labctl.cli.competencies:competencies",
        N_("Show which labs, checks and faults serve which competency."),
    ),
    "image": ("labctl.cli.images:image", N_("Build, list, verify and remove images.")),
    "golden": ("labctl.cli.golden:golden", N_("List, verify and remove golden labs.")),
    "checkpoint": ("labctl.cli.checkpoints:checkpoint", N_("Keep steps of a lab, and bring it back to them.")),
    "exam": ("labctl.cli.exams:exam", N_("Check, prepare, hold and close practical exams (E6).")),
    "portal": ("labctl.cli.portal:portal", N_("Serve labs to students and trainers in their browsers.")),
    "repair": ("labctl.cli.repair:repair", N_("Rebuild what was lost, and clear what crashes left.")),
    "doctor": ("labctl.cli.host:doctor", N_("Explain what this host can do, and cure what it cannot.")),
    "schema": ("labctl.cli.host:schema", N_("Print the JSON Schema of topologies, for editors.")),
    "completion": ("labctl.cli.host:completion", N_("Print the completion script of a shell.")),
}


class Verbs(click.Group):
    """A group that knows its verbs' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the verbs in the order of a lab's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        module, _colon, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a verb; click would look for the nearest name among the verbs that it has imported, which are none."""
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.NoSuchCommand(printable(args[0]), possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """Write the list of verbs in the reader's language."""
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(summary)) for name, (_where, summary) in VERBS.items()])


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LABCTL", "max_content_width": 100},
    subcommand_metavar=_("VERB …"),
    options_metavar="",
    epilog="\b\nlabctl up dmz --student alice\nlabctl check dmz-alice\nlabctl down dmz-alice",
)
@click.version_option(
    __version__, prog_name="labctl", message="%(prog)s %(version)s", help=_("Show the version and exit.")
)
def cli() -> None:
    """Hands-on infrastructure labs: one topology file, one configured and checked lab per student."""


def speak() -> None:
    """Make click's own sentences follow the reader's language; it asks gettext's default domain."""
    os.environ["LANGUAGE"] = current_language()
    gettext.bindtextdomain("labctl", LOCALES)
    gettext.textdomain("labctl")
    cli.help = _("Hands-on infrastructure labs: one topology file, one configured and checked lab per student.")


def wants_color() -> bool | None:
    """Return False where colour is refused (no-color.org, a dumb terminal), None to let click look at the terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def tell_error(message: str, hint: str = "") -> None:
    """Write an error and the command that cures it to stderr."""
    click.secho(_("Error: {message}").format(message=message), err=True, fg="red", color=wants_color())
    if hint:
        click.echo(_("Try: {hint}").format(hint=hint), err=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; always ends the process."""
    speak()
    stdout = sys.stdout
    try:
        code = cli.main(args=arguments, prog_name="labctl", standalone_mode=False, color=wants_color())
        sys.exit(code if isinstance(code, int) else ExitCode.DONE)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.Abort:
        click.echo(_("Stopped."), err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except LabctlError as exc:
        tell_error(exc.message, exc.hint)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        tell_error(_("interrupted"), _("type the same command again to continue"))
        sys.exit(ExitCode.INTERRUPTED)
    except SystemExit:
        if sys.stdout is not stdout:  # click puts another in its place when the reader of a pipe has left
            sys.exit(ExitCode.DONE)
        raise
    except BrokenPipeError:
        # The reader of a pipe has left (`labctl logs | head`); Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
