"""The verb `graph`."""

from pathlib import Path

import click

from labctl.cli.workplace import complete_topologies
from labctl.errors import ExitCode, LabctlError
from labctl.lab.source import load_named
from labctl.language import _, current_language
from labctl.program import run
from labctl.render.drawing import draw_dot, draw_text


@click.command(help=_("Draw a topology as text, or as an SVG picture with --svg FILE."))
@click.argument("topology", metavar=_("TOPOLOGY"), shell_complete=complete_topologies)
@click.option(
    "--svg",
    metavar=_("FILE"),
    type=click.Path(dir_okay=False, path_type=Path),
    help=_("Write an SVG picture to this file."),
)
@click.option("--dot", is_flag=True, help=_("Print Graphviz DOT."))
def graph(topology: str, svg: Path | None, dot: bool) -> int:
    _path, loaded = load_named(topology)
    language = current_language()
    if dot:
        click.echo(draw_dot(loaded, language), nl=False)
    elif svg:
        picture = run(["dot", "-Tsvg"], stdin=draw_dot(loaded, language)).stdout
        try:
            svg.write_text(picture, encoding="utf-8")
        except OSError as exc:
            raise LabctlError(_('"{path}" cannot be written: {error}').format(path=svg, error=exc.strerror)) from exc
        click.echo(_("written: {path}").format(path=svg), err=True)
    else:
        click.echo(draw_text(loaded, language), nl=False)
    return ExitCode.DONE
