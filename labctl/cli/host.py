"""The verbs about the host and the tool: doctor, schema, completion."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from labctl.cli.table import console
from labctl.doctor.findings import Finding
from labctl.errors import ExitCode
from labctl.language import _, ngettext


@click.command(
    help=_("Explain what this host can do; for each problem, the command that cures it."),
    epilog=_(
        "KSM keeps equal memory of all machines once, so that clones take little. It also lets a machine find out, by "
        "the time that writing takes, what another one holds in memory: use it in lessons, switch it off for an exam."
    ),
)
@click.option("--fix", is_flag=True, help=_("First cure what is safe to cure, KSM on included; needs root."))
@click.option(
    "--ksm",
    type=click.Choice(["on", "off"]),
    help=_("Switch the merging of memory on or off, now and for each start of the host; needs root."),
)
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def doctor(fix: bool, ksm: str | None, as_json: bool) -> int:
    from labctl.doctor.examination import examine, findings_document
    from labctl.images.store import ImageStore
    from labctl.lab.site import DEFAULT_URI, home_folder

    home = home_folder(os.environ)
    uri = os.environ.get("LABCTL_URI", DEFAULT_URI)
    image = next((found.path for found in ImageStore(home).list_images()), None)
    cured = []
    for line in treat(home, fix=fix, ksm=ksm):
        cured.append(line)
        if not as_json:
            click.echo(line)
    findings = examine(home, uri, image)
    if as_json:
        click.echo(json.dumps(findings_document(findings, cured), ensure_ascii=False))
    else:
        if (fix or ksm) and not cured:
            click.echo(_("nothing had to be changed"))
        print_findings(findings)
    return ExitCode.HOST_NOT_READY if any(found.level == "problem" for found in findings) else ExitCode.DONE


def treat(home: Path, *, fix: bool, ksm: str | None) -> Iterator[str]:
    """Change the host as was asked for, and say what was done."""
    if fix:
        from labctl.doctor.cures import Host, cure_all

        yield from cure_all(Host(home), merging=ksm is None)
    if ksm is not None:
        import psutil

        from labctl.doctor.merging import set_merging

        if set_merging(ksm == "on", room=psutil.virtual_memory().available):
            yield _("KSM is on, now and after each start of the host") if ksm == "on" else _("KSM is off and stays off")


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the findings with their cures, and how many problems there are."""
    signs = {"ok": "[green]✔[/]", "warning": "[yellow]![/]", "problem": "[red]✘[/]"}
    table = Table.grid(padding=(0, 2))
    for found in findings:
        table.add_row(signs[str(found.level)], escape(found.text))
        if found.cure:
            table.add_row("", "[bold]→[/] " + escape(found.cure))
    console().print(table)
    problems = sum(found.level == "problem" for found in findings)
    summary = ngettext("{count} problem to cure", "{count} problems to cure", problems)
    click.echo(summary.format(count=problems) if problems else _("this host is ready for labs"))
    if any(found.automatic and found.level != "ok" for found in findings):
        click.echo(_("some of this can be cured at once: {command}").format(command="sudo labctl doctor --fix"))


@click.command(help=_("Print the JSON Schema of topology files, for completion and errors in an editor."))
@click.option("--exam", is_flag=True, help=_("That of exam files."))
def schema(exam: bool) -> int:
    from labctl.exam.schema import exam_schema
    from labctl.lab.workplace import shipped_catalogue
    from labctl.topology.schema import topology_schema

    found = exam_schema() if exam else topology_schema(shipped_catalogue())
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
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
