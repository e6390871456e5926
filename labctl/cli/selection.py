"""Which labs a verb works on: by name, by class list, by student, by topology."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from labctl.cli.typed import printable
from labctl.errors import LabctlError
from labctl.lab.known import find_labs
from labctl.lab.workplace import Workplace
from labctl.language import _, ngettext
from labctl.plan.names import SPARE, is_spare
from labctl.roster import load_roster

OWNER = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
CLASS = click.option(
    "--class", "roster", type=click.Path(path_type=Path), help=_("A class list (CSV): one lab for each student.")
)
STUDENT = click.option("--student", default="", help=_("Only these students, with commas."))
TOPOLOGY = click.option("--topology", default="", help=_("Only labs of this topology."))


def split_owners(students: str) -> list[str]:
    """Return the owners of a comma-separated list. Raises a usage error for a bad name."""
    owners = [owner.strip() for owner in students.split(",") if owner.strip()]
    for owner in owners:
        if not OWNER.fullmatch(owner):
            text = _('"{owner}" is not an owner: 1 to 31 small letters, digits and dashes')
            raise click.BadParameter(text.format(owner=printable(owner)), param_hint="--student")
        if is_spare(owner):
            raise click.BadParameter(no_owner(owner), param_hint="--student")
    if not owners:
        raise click.BadParameter(_("at least one owner is needed"), param_hint="--student")
    return list(dict.fromkeys(owners))


def no_owner(owner: str) -> str:
    """Return why a name cannot be an owner's."""
    text = _('"{owner}" cannot be an owner: names that begin with "{start}" are those of ready labs that wait')
    return text.format(owner=printable(owner), start=SPARE)


def find_owners(student: str, roster: Path | None) -> tuple[str, ...]:
    """Return the owners that --student and --class name, in order; `demo` where neither is given.

    With both, those of the class that are named: a student who is not on the list is a mistake.
    """
    if roster is None:
        return tuple(split_owners(student or "demo"))
    listed = [one.slug for one in load_roster(roster)]
    for owner in filter(is_spare, listed):
        raise click.BadParameter(no_owner(owner), param_hint="--class")
    if not student:
        return tuple(listed)
    wanted = split_owners(student)
    for owner in wanted:
        if owner not in listed:
            text = _('"{owner}" is not in the class list {path}')
            raise click.BadParameter(text.format(owner=owner, path=roster), param_hint="--student")
    return tuple(wanted)


@dataclass(frozen=True)
class Selection:
    """The labs that were asked for, and the owners among those named who have none."""

    labs: tuple[str, ...]
    without: tuple[str, ...] = ()


def select_labs(
    place: Workplace,
    names: Sequence[str],
    roster: Path | None,
    student: str,
    topology: str = "",
    *,
    spares: bool = False,
) -> Selection | None:
    """Return the labs of these names, owners and topology; None where nothing was asked for: all labs then.

    Spares are among them where they are named, or with `spares`, where the topology is.
    Raises LabctlError for a lab that does not exist.
    """
    if not names and roster is None and not student and not topology:
        return None
    known = find_labs(place)
    for name in names:
        if name not in known:
            place.load_lab(name)  # raises, naming the known ones
    if names and roster is None and not student and not topology:
        return Selection(tuple(dict.fromkeys(names)))
    owners = find_owners(student, roster) if roster or student else ()
    found = tuple(
        lab
        for lab, (made_from, owner) in known.items()
        if (not owners or owner in owners)
        and (not topology or made_from == topology)
        and (not names or lab in names)
        and (spares or lab in names or not is_spare(owner))
    )
    having = {known[lab][1] for lab in found}
    return Selection(found, tuple(owner for owner in owners if owner not in having))


def require_labs(selection: Selection | None) -> tuple[str, ...]:
    """Return the labs of a selection. Raises a usage error where none was asked for, LabctlError where none is left."""
    if selection is None:
        raise click.UsageError(_("name labs, or say --class, --student or --topology"))
    if not selection.labs:
        raise LabctlError(_("no lab fits what was asked for"), hint="labctl status")
    return selection.labs


def confirm_loss(labs: Sequence[str], *, yes: bool, always: bool, kept: Sequence[str] = ()) -> None:
    """Ask before the work in several labs goes, or what somebody `kept` in one, on a terminal, or `always`.

    Raises Abort unless their number is typed.
    """
    if kept:
        click.echo(_("These checkpoints go too: {names}").format(names=", ".join(kept)), err=True)
    if yes or len(labs) < (1 if always or kept else 2) or not (always or sys.stdin.isatty()):
        return
    text = ngettext(
        "This removes {count} lab and all work on it: {names}",
        "This removes {count} labs and all work on them: {names}",
        len(labs),
    )
    click.echo(text.format(count=len(labs), names=", ".join(labs)), err=True)
    answer = click.prompt(_("Type the number of labs to go on:"), prompt_suffix=" ", err=True)
    if answer.strip() != str(len(labs)):
        raise click.Abort
