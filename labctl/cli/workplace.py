"""Opens the installation that a verb works on, and closes it with the verb."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from labctl.cli.typed import printable
from labctl.errors import LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.lab.pace import Accelerators
from labctl.lab.site import DEFAULT_URI, home_folder
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.names import node_of_disk


def open_hypervisor() -> Hypervisor:
    """Return the libvirt of LABCTL_URI, unopened before the first request."""
    return Hypervisor(os.environ.get("LABCTL_URI", DEFAULT_URI))


@contextmanager
def open_workplace() -> Iterator[Workplace]:
    """Give the installation of this environment."""
    with open_hypervisor() as machines:
        yield Workplace.open(machines, os.environ)


def accelerators(place: Workplace) -> Accelerators:
    """Return what probes the accelerator, and warns of emulation on stderr."""

    def warn(reason: str) -> None:
        text = _("Warning: no hardware acceleration ({reason}); machines are emulated and slow.")
        click.secho(text.format(reason=reason), err=True, fg="yellow")

    return Accelerators(place.home, warn)


def require_node(place: Workplace, lab: str, node: str) -> None:
    """Raise LabctlError where the lab has no such node, naming those it has."""
    nodes = place.load_lab(lab).nodes
    if node not in nodes:
        text = _('the lab "{lab}" has no machine "{node}"; it has: {names}')
        raise LabctlError(
            text.format(lab=lab, node=printable(node), names=", ".join(nodes)), hint=f"labctl status {lab}"
        )


def complete_labs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete lab names from the home folder, never from libvirt: it must answer at once."""
    home = home_folder(os.environ)
    names = [path.parent.name for path in home.glob("labs/*/topology.yml")]
    return sorted(name for name in names if name.startswith(incomplete))


def complete_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  click's signature
    """Complete the machines of the lab named before, from the disks in its folder."""
    home = home_folder(os.environ)
    disks = home.glob(f"labs/{ctx.params.get('lab', '*')}/disks/*.qcow2")
    return sorted({node for node in map(node_of_disk, disks) if node.startswith(incomplete)})


def complete_topologies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[object]:  # noqa: ARG001  click's signature
    """Complete shipped topologies, and files."""
    from click.shell_completion import CompletionItem

    from labctl.shipped import shipped_folder

    names = sorted(path.stem for path in shipped_folder("topologies").glob("*.yml"))
    items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*items, CompletionItem(incomplete, type="file")]
