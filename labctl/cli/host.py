"""The verbs about the host and the tool: doctor, schema, completion."""

import json
import os

import click
from rich.markup import escape
from rich.table import Table

from labctl.cli import show
from labctl.errors import ExitCode
from labctl.language import _, ngettext


@click.command(help=_("Explain what this host can do; for each problem, the command that cures it."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def doctor(as_json: bool) -> int:
    from labctl.doctor.examination import examine, findings_document
    from labctl.images.store import ImageStore
    from labctl.lab.workplace import DEFAULT_URI, home_folder

    home = home_folder(os.environ)
    image = next((found.path for found in ImageStore(home).list_images()), None)
    findings = examine(home, os.environ.get("LABCTL_URI", DEFAULT_URI), image)
    problems = [finding for finding in findings if finding.level == "problem"]
    if as_json:
        click.echo(json.dumps(findings_document(findings), ensure_ascii=False))
    else:
        signs = {"ok": "[green]✔[/]", "warning": "[yellow]![/]", "problem": "[red]✘[/]"}
        table = Table.grid(padding=(0, 2))
        for found in findings:
            table.add_row(signs[str(found.level)], escape(found.text))
            if found.cure:
                table.add_row("", "[bold]→[/] " + escape(found.cure))
        show.console().print(table)
        summary = ngettext("{count} problem to cure", "{count} problems to cure", len(problems))
        click.echo(summary.format(count=len(problems)) if problems else _("this host is ready for labs"))
    return ExitCode.HOST_NOT_READY if problems else ExitCode.DONE


@click.command(help=_("Print the JSON Schema of topology files, for completion and errors in an editor."))
def schema() -> int:
    from labctl.lab.workplace import shipped_catalogue
    from labctl.topology.schema import topology_schema

    click.echo(json.dumps(topology_schema(shipped_catalogue()), indent=2, ensure_ascii=False))
    return ExitCode.DONE


@click.command(help=_('Print a shell\'s completion script: eval "$(labctl completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    from click.shell_completion import get_completion_class

    from labctl.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.BadParameter(shell)
    click.echo(found(cli, {}, "labctl", "_LABCTL_COMPLETE").source())
    return ExitCode.DONE
