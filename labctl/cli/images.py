"""The verb family `image`: build, list, verify, rm."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from labctl.cli.progress import choose_display
from labctl.cli.table import console, open_table
from labctl.cli.typed import printable
from labctl.cli.workplace import open_workplace
from labctl.errors import ExitCode
from labctl.images.recipe import RECIPES
from labctl.images.store import Image, ImageSpec
from labctl.lab.estimate import IMAGE
from labctl.lab.workplace import Workplace
from labctl.language import _


@click.group(
    subcommand_metavar=_("VERB …"),
    options_metavar="",
    help=_("Build, list, verify and remove the images that machines start from."),
)
def image() -> None:
    """Hold the image verbs."""


@image.command(
    short_help=_("Build an image."), help=_("Build an image, with the packages of services where --package names some.")
)
@click.argument("recipe", type=click.Choice(sorted(RECIPES)))
@click.option(
    "--package", "packages", metavar=_("NAME"), multiple=True, help=_("A Debian package to install; can be repeated.")
)
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def build(recipe: str, packages: Sequence[str], as_json: bool) -> int:
    with open_workplace() as place:
        spec = ImageSpec(recipe, tuple(sorted(set(packages))))
        estimate = place.store.expected_seconds(IMAGE)
        with choose_display(_("image {name}").format(name=recipe), as_json=as_json, estimate=estimate) as display:
            built = place.images.ensure(spec, display)
    click.echo(json.dumps(image_dict(built)) if as_json else str(built.path))
    return ExitCode.DONE


@image.command(name="list", help=_("List the images that are built."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def list_images(as_json: bool) -> int:
    with open_workplace() as place:
        images = place.images.list_images()
    if as_json:
        click.echo(json.dumps({"version": 1, "images": [image_dict(found) for found in images]}))
        return ExitCode.DONE
    if not images:
        click.echo(_("no image is built yet"))
        click.echo(_("Try: {hint}").format(hint="labctl image build debian-13"), err=True)
        return ExitCode.DONE
    table = open_table()
    for heading in (_("Image"), _("Digest"), _("Size"), _("Built"), _("Content")):
        table.add_column(heading)
    for found in images:
        size = _("{memory} MiB").format(memory=round(found.size / 2**20))
        content = found.given.words if found.given else found.packages
        table.add_row(found.label, found.digest[:12], size, found.built, ", ".join(content) or "—")
    console().print(table)
    return ExitCode.DONE


def image_dict(found: Image) -> dict[str, object]:
    """Return an image as `--json` shows it."""
    return {
        "name": found.name,
        "label": found.label,
        "key": found.key,
        "digest": found.digest,
        "packages": list(found.packages),
        "path": str(found.path),
        "size": found.size,
        "virtual_size": found.virtual_size,
        "built": found.built,
        "given": found.given.to_dict() if found.given else None,
    }


@image.command(
    short_help=_("Read images whole and compare them with their hashes."),
    help=_("Read images whole and compare them with their hashes; all of them by default."),
)
@click.argument("names", metavar=_("[IMAGES…]"), nargs=-1)
def verify(names: Sequence[str]) -> int:
    with open_workplace() as place:
        for found in find_images(place, names):
            place.images.verify(found)
            click.echo(_("{name} {digest}: intact").format(name=found.label, digest=found.digest[:12]))
    return ExitCode.DONE


@image.command(
    short_help=_("Remove images that no lab uses."),
    help=_("Remove images by name or key; one that a lab uses is kept."),
)
@click.argument("names", metavar=_("IMAGES…"), nargs=-1, required=True)
def rm(names: Sequence[str]) -> int:
    with open_workplace() as place:
        in_use = [Path(disk) for domain in place.machines.observe().domains for disk in domain.disks]
        for found in find_images(place, names):
            place.images.remove(found, in_use)
            click.echo(_("{name} {digest}: removed").format(name=found.label, digest=found.digest[:12]))
    return ExitCode.DONE


def find_images(place: Workplace, names: Sequence[str]) -> list[Image]:
    """Return the images of these labels, recipes or keys, all for none. Raises LabctlError for an unknown one."""
    if not names:
        return list(place.images.list_images())
    return list({image.path: image for name in names for image in place.images.select(printable(name))}.values())
