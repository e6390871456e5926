"""Takes images that a school gives: converts them, and drives the console of those that have a script."""

from dataclasses import dataclass
from pathlib import Path

from labctl.appliances.prepare import Preparation, Workbench, prepare_image
from labctl.appliances.script import Recipe, find_script
from labctl.errors import Refused
from labctl.hypervisor.accelerator import probe_accelerator
from labctl.images.foreign import read_start
from labctl.images.importing import ImportWish, import_image
from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.images.store import Image, ImageStore
from labctl.language import _
from labctl.monitor import Monitor
from labctl.plan.names import home_mark
from labctl.topology.hardware import System

FACTORY = {"password": "opnsense"}  # the vendor's, documented; each lab's configuration replaces it
ISO_MAGIC, ISO_MAGIC_AT = b"CD001", 0x8001
# What is typed on the console of an image once. pfSense needs nothing: it looks for its configuration by itself.
SCRIPTS = {System.OPNSENSE: "opnsense", System.PFSENSE: ""}
INSTALLERS = {System.OPNSENSE: "opnsense-disc"}  # what is typed to install from the vendor's disc


@dataclass(frozen=True)
class Bench:
    """Where images are prepared: an installation and its hypervisor. `prefix` starts every libvirt name."""

    home: Path
    prefix: str
    machines: Workbench

    @property
    def store(self) -> ImageStore:
        """Return the images of the installation."""
        return ImageStore(self.home)


def take_image(bench: Bench, wish: ImportWish, recipe: Recipe, monitor: Monitor) -> Image:
    """Import a disk image; where its recipe has a script, drive its console before it is kept."""
    if not recipe.script:
        return import_image(bench.store, wish, monitor)
    return prepare_image(bench.store, bench.machines, asked(bench, wish, recipe), monitor)


def asked(bench: Bench, wish: ImportWish, recipe: Recipe, installer: Recipe | None = None) -> Preparation:
    """Return what is prepared on this host: an emulated machine gets more time."""
    image = next((found.path for found in bench.store.list_images() if not found.given), None)
    accelerator = probe_accelerator(bench.home, image)
    return Preparation(
        wish, recipe, home_mark(str(bench.home)), bench.prefix, installer, FACTORY,
        accelerator=accelerator.kind, pace=accelerator.factor,
    )  # fmt: skip


def build_firewall(bench: Bench, name: str, medium: Path, monitor: Monitor) -> Image:
    """Make the image of a firewall's recipe from the medium that the school has.

    Raises Refused for a recipe or a medium of another kind, and as `prepare_image` does.
    """
    recipe = RECIPES[name]
    if not isinstance(recipe, MediaRecipe) or recipe.system not in SCRIPTS:
        text = _('the image "{name}" is not made from one medium with --media')
        hint = recipe.command if isinstance(recipe, MediaRecipe) else f"labctl image build {name}"
        raise Refused(text.format(name=name), hint=hint)
    script = find_script(SCRIPTS[recipe.system], FACTORY)
    wish = ImportWish(medium, name, recipe.hardware, recipe.minimum_memory, recipe.system)
    if not is_disc(medium):
        return take_image(bench, wish, script, monitor)
    if recipe.system not in INSTALLERS:
        text = _('"{path}" is an installation disc; needed is the disk of a machine on which it was installed')
        raise Refused(text.format(path=medium), hint=recipe.command)
    installer = find_script(INSTALLERS[recipe.system], FACTORY)
    return prepare_image(bench.store, bench.machines, asked(bench, wish, script, installer), monitor)


def is_disc(medium: Path) -> bool:
    """Return whether a file is an ISO: nothing is installed on it that a lab could start. Raises InvalidFile."""
    read_start(medium)
    with medium.open("rb") as file:
        file.seek(ISO_MAGIC_AT)
        return file.read(len(ISO_MAGIC)) == ISO_MAGIC
