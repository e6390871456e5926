"""The verbs that reach into a lab: ssh, console, logs, inventory."""

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Sequence
from pathlib import Path

import click

from labctl import ssh as ssh_door
from labctl.cli.workplace import complete_labs, complete_nodes, open_hypervisor, open_workplace, require_node
from labctl.errors import ExitCode, LabctlError
from labctl.hypervisor.console import Console
from labctl.lab import keys
from labctl.lab.console_log import read_console
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.render.inventory import render_inventory

LAB = click.argument("lab", metavar=_("LAB"), shell_complete=complete_labs)
ESCAPE = b"\x1d"  # Ctrl-], as virsh and telnet


@click.command(
    help=_("Open a root shell on a machine, or run a command: labctl ssh LAB NODE -- COMMAND. Its code is returned."),
    context_settings={"ignore_unknown_options": True},
)
@LAB
@click.argument("node", metavar=_("NODE"), shell_complete=complete_nodes)
@click.argument("command", metavar=_("[-- COMMAND…]"), nargs=-1, type=click.UNPROCESSED)
def ssh(lab: str, node: str, command: Sequence[str]) -> int:
    with open_workplace() as place:
        require_node(place, lab, node)
        login = place.logins(lab, place.load_lab(lab))[node]
    ssh_door.require_server(login, hint=f"labctl console {lab} {node}")
    return ssh_door.interactive(login, command)


@click.command(help=_("Open the serial console of a machine. Ctrl-] leaves it."))
@LAB
@click.argument("node", metavar=_("NODE"), shell_complete=complete_nodes)
@click.option("--force", is_flag=True, help=_("Take the console over from whoever holds it."))
def console(lab: str, node: str, force: bool) -> int:
    if not sys.stdin.isatty():
        raise LabctlError(_("a console needs a terminal"), hint=f"labctl logs {lab} {node}")
    with open_hypervisor() as machines:
        place = Workplace.open(machines, os.environ)
        require_node(place, lab, node)
        seat = place.seat_of(lab)
        with machines.open_console(f"{place.prefix}{seat}.{node}", seat, force=force) as stream:
            click.echo(_("Connected to {node}. Ctrl-] leaves, Enter shows the prompt.").format(node=node), err=True)
            relay(stream)
    return ExitCode.DONE


def relay(stream: Console) -> None:
    """Join the terminal and the console until Ctrl-] or the end of the stream."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        while True:
            ready, _writable, _broken = select.select([terminal, stream], [], [])
            if terminal in ready:
                typed = os.read(terminal, 1024)
                if not typed or ESCAPE in typed:
                    return
                stream.write(typed)
            if stream in ready:
                shown = stream.read()
                if not shown:
                    return
                os.write(sys.stdout.fileno(), shown)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@click.command(help=_("Show the history of a lab; with a machine its serial console; with --ansible the last run."))
@LAB
@click.argument("node", metavar=_("[NODE]"), required=False, default="", shell_complete=complete_nodes)
@click.option("--ansible", is_flag=True, help=_("Show the output of the last Ansible run."))
@click.option("-f", "--follow", is_flag=True, help=_("Go on showing a console as it grows."))
def logs(lab: str, node: str, ansible: bool, follow: bool) -> int:
    with open_workplace() as place:
        if node:
            require_node(place, lab, node)
            show_console(place.folders(lab).serial_log(node), follow=follow)
        elif ansible:
            show_ansible(place.folders(lab).ansible)
        else:
            events = place.store.events(lab)
            if not events:
                raise LabctlError(_('the lab "{lab}" has no history').format(lab=lab), hint="labctl status")
            for event in events:
                click.echo(f"{event.at}  {event.who}  {event.what}  {event.detail}")
    return ExitCode.DONE


def show_console(path: Path, *, follow: bool) -> None:
    """Print a console log, and what is added to it."""
    shown = read_console(path)
    click.echo("\n".join(shown))
    size = path.stat().st_size if path.exists() else 0
    while follow:
        time.sleep(0.5)
        if path.exists() and path.stat().st_size != size:
            size = path.stat().st_size
            lines = read_console(path)
            fresh = lines[len(shown) :] if lines[: len(shown)] == shown else lines[-1:]
            click.echo("\n".join(fresh))
            shown = lines


def show_ansible(folder: Path) -> None:
    """Print the newest run's output."""
    runs = sorted(folder.glob("artifacts/*/stdout"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise LabctlError(_("Ansible has not run for this lab yet"), hint="labctl status")
    click.echo(runs[-1].read_text(encoding="utf-8", errors="replace"))


@click.command(
    help=_("Print the inventory of a lab: labctl inventory LAB > hosts.json; ansible -i hosts.json all -m ping")
)
@LAB
def inventory(lab: str) -> int:
    with open_workplace() as place:
        topology = place.load_lab(lab)
        layout = place.layout(lab, topology)
        data = render_inventory(layout, topology, keys.access(layout.folders))
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    return ExitCode.DONE
