"""The verbs of a lab's life: up, reset, status, down."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from labctl.classroom.anew import group_by_topology, reset_wish
from labctl.classroom.wish import ClassWish
from labctl.cli import show
from labctl.cli.bringing import carry_out, worst
from labctl.cli.planning import JSON, OWNERS, SESSION, SPARE, TOPOLOGY, find_owners_or_spares
from labctl.cli.progress import choose_display
from labctl.cli.selection import CLASS, STUDENT, confirm_loss, require_labs, select_labs
from labctl.cli.selection import TOPOLOGY as OF_TOPOLOGY
from labctl.cli.typed import printable
from labctl.cli.workplace import complete_labs, open_workplace
from labctl.errors import ExitCode, LabctlError, Refused
from labctl.lab.checkpoint import checkpoints_of
from labctl.lab.down import Removal, take_down
from labctl.lab.evaluation import check_evaluations
from labctl.lab.own_values import assign_values
from labctl.lab.source import load_source
from labctl.lab.standby import FOLDER as STANDBY
from labctl.lab.standby import keep_spares
from labctl.lab.status import read_status
from labctl.language import _
from labctl.topology.model import Topology

LABS = click.argument("labs", metavar=_("[LABS…]"), nargs=-1, shell_complete=complete_labs)
LABS_AT_ONCE = 4  # removed side by side: libvirt waits for each machine and each DHCP server to end
YES = click.option("-y", "--yes", is_flag=True, help=_("Do not ask."))


@click.command(help=_("Bring up one lab per owner. Run it again at any time: it does what is missing."))
@TOPOLOGY
@OWNERS
@CLASS
@JSON
@SPARE
@click.option("--failed", is_flag=True, help=_("Only the labs that are not whole; the others are not even looked at."))
@click.option("--replace", is_flag=True, help=_("Accept that changed machines are made anew and lose their disks."))
@click.option("--force", is_flag=True, help=_("Accept images of Windows whose evaluation is about to end."))
@SESSION
def up(  # noqa: PLR0913, PLR0917  one for each option
    topology: str, student: str, roster: Path | None, as_json: bool, spare: int | None, failed: bool, replace: bool,
    force: bool, session: str,
) -> int:  # fmt: skip
    path, template, loaded = load_source(topology)
    owners = find_owners_or_spares(student, roster, spare)
    with open_workplace() as place:
        if not force:
            used = {node.image for node in loaded.nodes.values()}
            check_evaluations(image for image in place.images.list_images() if image.name in used)
        own = assign_values(place, (template, loaded), place.catalogue, session, owners)
        wish = ClassWish(loaded, path, owners, replace=replace, only_unfinished=failed, spares=spare, own=own)
        return carry_out(place, wish, as_json=as_json)


@click.command(help=_("Bring labs, or some of their machines, back to the golden state. What was done there is lost."))
@LABS
@CLASS
@STUDENT
@OF_TOPOLOGY
@click.option("--node", metavar=_("NAMES"), default="", help=_("Only these machines, with commas."))
@YES
@JSON
def reset(
    labs: Sequence[str], roster: Path | None, student: str, topology: str, node: str, yes: bool, as_json: bool
) -> int:
    with open_workplace() as place:
        wanted = require_labs(select_labs(place, labs, roster, student, topology))
        groups = group_by_topology(place, wanted)
        wishes = [
            reset_wish(place, group, choose_nodes(place.load_template(group[0]).resolve(place.catalogue), node))
            for group in groups
        ]
        confirm_loss(wanted, yes=yes, always=False)
        return worst([carry_out(place, wish, as_json=as_json) for wish in wishes])


def choose_nodes(topology: Topology, nodes: str, beside: Sequence[str] = ()) -> list[str]:
    """Return the machines that were asked for; other names `beside` them are taken. Raises a usage error."""
    wanted = [name.strip() for name in nodes.split(",") if name.strip()]
    for name in wanted:
        if name not in topology.nodes and name not in beside:
            text = _('"{name}" is not a machine of this lab: {names}')
            message = text.format(name=printable(name), names=", ".join([*topology.nodes, *beside]))
            raise click.BadParameter(message, param_hint="--node")
    return wanted


def refuse_examined(home: Path, labs: Sequence[str]) -> None:
    """Raise Refused where somebody's exam is under way on one of the labs: their work would be lost."""
    from labctl.exam.session import find_session, list_sessions

    for name in list_sessions(home):
        try:
            candidates = find_session(home, name).read().candidates.values()
        except LabctlError:
            continue  # a log that was changed is told by the verbs of exams
        for one in candidates:
            if one.lab in labs and one.practical and not one.closed:
                text = _('the lab "{lab}" is in use by the exam session "{session}"; end that exam first')
                hint = f"labctl exam close {name} --candidate {one.number}"
                raise Refused(text.format(lab=one.lab, session=name), hint=hint)


@click.command(help=_("Remove labs: exactly what `up` made. Other machines and networks are never touched."))
@LABS
@CLASS
@STUDENT
@OF_TOPOLOGY
@click.option("--all", "everything", is_flag=True, help=_("Remove every lab of this installation; asks first."))
@YES
def down(labs: Sequence[str], roster: Path | None, student: str, topology: str, everything: bool, yes: bool) -> int:
    with open_workplace() as place:
        if everything:
            wanted = tuple(found.name for found in read_status(place, lambda _lab: False))
        elif labs and not (roster or student or topology):
            wanted = tuple(dict.fromkeys(labs))  # one that is gone already is what was wanted
        else:
            wanted = require_labs(select_labs(place, labs, roster, student, topology, spares=True))
        refuse_examined(place.home, wanted)
        kept = [f"{lab}/{one.id}" for lab in wanted for one in checkpoints_of(place, lab)]
        confirm_loss(wanted, yes=yes, always=everything, kept=kept)
        if everything or not (labs or roster or student):
            for path in (place.home / STANDBY).glob(topology or "*"):
                keep_spares(place, path.name, 0)
        title = wanted[0] if len(wanted) == 1 else _("{count} labs").format(count=len(wanted))
        with choose_display(title, as_json=False) as display, ThreadPoolExecutor(LABS_AT_ONCE) as workers:
            work = {lab: workers.submit(take_down, place, lab, display) for lab in wanted}
            ended = {lab: done.exception() or done.result() for lab, done in work.items()}
    return worst([report_removal(lab, end, alone=len(wanted) == 1) for lab, end in ended.items()])


def report_removal(lab: str, end: Removal | BaseException, *, alone: bool) -> ExitCode:
    """Say what was removed, or why not; where several go, one that cannot go keeps no other."""
    if isinstance(end, LabctlError) and not alone:
        show.print_failure(lab, end)
        return end.exit_code
    if isinstance(end, BaseException):
        raise end
    if end.empty:
        click.echo(_("{lab}: there is nothing to remove").format(lab=lab))
    else:
        text = _("{lab}: removed {machines} machines and {networks} networks")
        click.echo(text.format(lab=lab, machines=len(end.domains), networks=len(end.networks)))
    return ExitCode.DONE
