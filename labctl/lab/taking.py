"""Takes images that a school gives: converts them, and drives the console of those that have a script."""

from dataclasses import dataclass
from pathlib import Path

from labctl.appliances.prepare import Preparation, Workbench, prepare_image
from labctl.appliances.script import Recipe, find_recipe_file
from labctl.errors import Refused
from labctl.hypervisor.accelerator import probe_accelerator
from labctl.images.foreign import read_start
from labctl.images.importing import ImportWish, import_image
from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.images.store import Image, ImageStore
from labctl.language import N_, _
from labctl.monitor import Monitor
from labctl.plan.names import home_mark
from labctl.topology.hardware import System

FACTORY_PASSWORD = "opnsense"  # noqa: S105  the vendor's, documented; each lab's configuration replaces it
ISO_MAGIC, ISO_MAGIC_AT = b"CD001", 0x8001
# What is typed on the console of an image once. pfSense needs nothing: it looks for its configuration by itself.
SCRIPTS = {System.OPNSENSE: "opnsense", System.PFSENSE: ""}
# What is wanted instead of an installation disc. OPNsense's speaks to the screen only (docs.opnsense.org,
# manual/install: "VGA-only mode"); pfSense has none that is installed already.
INSTEAD = {
    System.OPNSENSE: N_("the nano image (.img), which is installed already and has a serial console"),
    System.PFSENSE: N_("the disk of a machine on which pfSense was installed from it"),
}


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


def asked(bench: Bench, wish: ImportWish, recipe: Recipe) -> Preparation:
    """Return what is prepared on this host: an emulated machine gets more time."""
    image = next((found.path for found in bench.store.list_images() if not found.given), None)
    accelerator = probe_accelerator(bench.home, image)
    return Preparation(
        wish, recipe, home_mark(str(bench.home)), bench.prefix, {"password": FACTORY_PASSWORD},
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
    refuse_dvd(medium, recipe)
    script = find_recipe_file(SCRIPTS[recipe.system], {"password": FACTORY_PASSWORD})
    wish = ImportWish(medium, name, recipe.hardware, recipe.minimum_memory, recipe.system)
    return take_image(bench, wish, script, monitor)


def refuse_dvd(medium: Path, recipe: MediaRecipe) -> None:
    """Raise Refused for an installation disc: nothing is installed on it that a lab could start."""
    read_start(medium)
    with medium.open("rb") as file:
        file.seek(ISO_MAGIC_AT)
        if file.read(len(ISO_MAGIC)) != ISO_MAGIC:
            return
    text = _('"{path}" is an installation disc; needed is {instead}')
    raise Refused(text.format(path=medium, instead=_(INSTEAD[recipe.system])), hint=recipe.command)
