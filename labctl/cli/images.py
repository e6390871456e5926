"""The verb family `image`: build, list, verify, rm."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from labctl.appliances.script import adapt, find_recipe_file, recipe_names
from labctl.cli.progress import choose_display
from labctl.cli.table import console, open_table
from labctl.cli.typed import printable
from labctl.cli.workplace import open_hypervisor, open_workplace
from labctl.errors import ExitCode
from labctl.images.importing import ImportWish
from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.images.store import Image, ImageSpec
from labctl.lab.estimate import IMAGE
from labctl.lab.evaluation import days_left
from labctl.lab.taking import Bench, build_firewall, take_image
from labctl.lab.workplace import Workplace
from labctl.language import _, ngettext
from labctl.topology.hardware import LARGEST_DISK, MOST_DISKS, CardModel, DiskBus, Firmware, System
from labctl.topology.values import DISK_PATTERN, PATTERNS

DISK_WORD = re.compile("([^=]*)=([1-9][0-9]{0,3})", re.ASCII)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DISC = click.Path(path_type=Path)  # what is wrong with it is told with what was found in it


@click.group(
    subcommand_metavar=_("VERB …"),
    options_metavar="",
    help=_("Build, list, verify and remove the images that machines start from."),
)
def image() -> None:
    """Hold the image verbs."""


@image.command(
    short_help=_("Build an image."),
    help=_(
        "Build an image: Debian with the packages of services where --package names some, or Windows from the school's "
        "own discs."
    ),
)
@click.argument("recipe", type=click.Choice(sorted(RECIPES)))
@click.option(
    "--package", "packages", metavar=_("NAME"), multiple=True, help=_("A Debian package to install; can be repeated.")
)
@click.option(
    "--iso", "--media", "iso", type=DISC,
    help=_(
        "The school's own medium: the ISO of Windows, the nano image or the ISO of OPNsense, the disk of a pfSense."
    ),
)  # fmt: skip
@click.option("--virtio-win", "drivers", type=DISC, help=_("Windows: the disc of drivers, virtio-win (ISO)."))
@click.option(
    "--edition", metavar=_("NAME"), default="", help=_("Windows: an edition of the disc; the usual one by default.")
)
@click.option(
    "--product-key-file",
    "key_file",
    type=FILE,
    help=_("Windows: a file with the product key, for discs that ask for one."),
)
@click.option(
    "--openssh", type=FILE, help=_("Windows: the installer of OpenSSH (MSI), for a host that is not on the Internet.")
)
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def build(
    recipe: str, packages: Sequence[str], iso: Path | None, drivers: Path | None, edition: str, key_file: Path | None,
    openssh: Path | None, as_json: bool,
) -> int:  # fmt: skip
    wanted = RECIPES[recipe]
    if not (isinstance(wanted, MediaRecipe) and wanted.system is System.WINDOWS):
        if drivers or edition or key_file or openssh:
            raise click.UsageError(_("these options are for images of Windows"))
    else:
        from labctl.cli.windows import build_from_discs, make_request

        if packages:
            raise click.BadParameter(_("packages are Debian's"), param_hint="--package")
        built = build_from_discs(make_request(wanted, (iso, drivers), edition, key_file, openssh), as_json=as_json)
        click.echo(json.dumps(image_dict(built)) if as_json else str(built.path))
        return ExitCode.DONE
    if iso is not None:
        return build_from_medium(recipe, iso, as_json)
    with open_workplace() as place:
        spec = ImageSpec(recipe, tuple(sorted(set(packages))))
        estimate = place.store.expected_seconds(IMAGE)
        with choose_display(_("image {name}").format(name=recipe), as_json=as_json, estimate=estimate) as display:
            built = place.images.ensure(spec, display)
    click.echo(json.dumps(image_dict(built)) if as_json else str(built.path))
    return ExitCode.DONE


@image.command(
    name="import",
    short_help=_("Take a disk image of the school's own."),
    help=_(
        "Take a disk image that the school owns (qcow2, vmdk, ova or raw) under a name that topologies can use. The"
        " file is inspected before anything opens it, and stays as it is."
    ),
)
@click.argument("file", metavar=_("FILE"), type=click.Path(path_type=Path))
@click.option("--name", required=True, metavar=_("NAME"), help=_("The name that topologies give, such as fw-school."))
@click.option(
    "--recipe", default="", metavar=_("RECIPE"),
    help=_("What machine it wants and what is typed on its console once: one of {names}, or a YAML file.").format(
        names=", ".join(recipe_names())
    ),
)  # fmt: skip
@click.option(
    "--firmware", type=click.Choice([one.value for one in Firmware]), help=_("What boots the disk; bios by default.")
)
@click.option(
    "--disk-bus",
    type=click.Choice([one.value for one in DiskBus]),
    help=_("How the disks are attached; virtio by default."),
)
@click.option(
    "--disk", "disks", metavar=_("NAME=GIB"), multiple=True, callback=lambda _run, _option, words: read_disks(words),
    help=_("An empty disk that each machine of it has too, or another size for one of the recipe; can be repeated."),
)  # fmt: skip
@click.option(
    "--nic",
    type=click.Choice([one.value for one in CardModel]),
    help=_("Model of the network cards; virtio by default."),
)
@click.option("--memory", type=click.IntRange(64, 262144), help=_("Memory that a machine of it needs, in MiB."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
def import_(  # the verb is a word of Python
    file: Path, name: str, recipe: str, disks: dict[str, int], as_json: bool, **machine: str | int | None
) -> int:
    told = find_recipe_file(recipe)
    disks = {**told.disks, **disks}
    if len(disks) > MOST_DISKS:
        text = _("at most {most} disks, with those of the recipe").format(most=MOST_DISKS)
        raise click.BadParameter(text, param_hint="--disk")
    wanted = adapt(told, {"disks": disks, **{key: value for key, value in machine.items() if value}})
    with open_bench() as bench, choose_display(_("image {name}").format(name=name), as_json=as_json) as display:
        wish = ImportWish(file, name, wanted.hardware, wanted.memory)
        taken = take_image(bench, wish, wanted, display)
    click.echo(json.dumps(image_dict(taken)) if as_json else str(taken.path))
    return ExitCode.DONE


def read_disks(words: Sequence[str]) -> dict[str, int]:
    """Return sizes in GiB by name, from words such as data=20."""
    found = [DISK_WORD.fullmatch(word) for word in words]
    for word, match in zip(words, found, strict=True):
        if match is None or not re.fullmatch(DISK_PATTERN, match[1]) or int(match[2]) > LARGEST_DISK:
            text = _("{word}: NAME=GIB is needed, such as data=20: {name}, and 1 to {largest} GiB")
            name = _(PATTERNS[DISK_PATTERN])
            raise click.BadParameter(text.format(word=printable(word), name=name, largest=LARGEST_DISK))
    return {match[1]: int(match[2]) for match in found if match}


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
        content = (*left_words(found), *(found.given.words if found.given else found.packages))
        table.add_row(found.label, found.digest[:12], size, found.built, ", ".join(content) or "—")
    console().print(table)
    return ExitCode.DONE


def left_words(found: Image) -> tuple[str, ...]:
    """Return how long an image still works, in words; nothing for one that does not end."""
    left = days_left(found, datetime.now(UTC).date())
    if left is None:
        return ()
    return (ngettext("evaluation: {days} day left", "evaluation: {days} days left", left).format(days=left),)


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Give what prepares images in this environment."""
    with open_hypervisor() as machines:
        place = Workplace.open(machines, os.environ)
        yield Bench(place.home, place.prefix, machines)


def build_from_medium(name: str, medium: Path, as_json: bool) -> int:
    """Make the image of a firewall from a medium of the school, and print it as `build` does."""
    with open_bench() as bench, choose_display(_("image {name}").format(name=name), as_json=as_json) as display:
        built = build_firewall(bench, name, medium, display)
    click.echo(json.dumps(image_dict(built)) if as_json else str(built.path))
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
        "evaluation_days_left": days_left(found, datetime.now(UTC).date()),
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
