"""A console script, as data: which words of a machine are waited for, and what is typed then."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from labctl.errors import InvalidFile
from labctl.language import N_, _
from labctl.topology.hardware import MOST_DISKS, CardModel, ConsoleKind, DiskBus, Firmware, Hardware
from labctl.topology.load import is_file, read_shapes
from labctl.topology.problems import Finding, ProblemsFound, listing, nearest, quoted
from labctl.topology.tree import Tree, read_tree
from labctl.topology.values import DiskName, DiskSize, Line, Model, Name, Text

RECIPES = Path(__file__).parent / "recipes"  # for images that a person imports
SCRIPTS = Path(__file__).parent / "scripts"  # for media that labctl knows, with values of its own
VALUE = re.compile(r"\$\{([a-z_]*)\}")
LONGEST_WAIT = 7200  # seconds; an installation that writes a whole disk under emulation


class Step(Model):
    """One exchange: wait for a pattern, then type a line."""

    phase: Name = Field(description=N_("short name of the step, shown as progress"))
    wait: Line = Field(description=N_("regular expression that the machine's words must match"))
    within: int = Field(ge=1, le=LONGEST_WAIT, description=N_("seconds that the wait may take"))
    send: Annotated[str, Field(max_length=4000)] | None = Field(
        default=None, description=N_("what is typed then; ${name} stands for a value of labctl's")
    )
    enter: bool = Field(default=True, description=N_("whether the Enter key follows"))
    unless: Line | None = Field(
        default=None, description=N_("regular expression: where it comes first, the step is left out")
    )


class Recipe(Model):
    """A recipe of the school's own: the machine that an image wants, and how its console is driven once."""

    title: Text = Field(description=N_("what the image is"))
    memory: int = Field(default=1024, ge=64, le=262144, description=N_("memory that it needs, in MiB"))
    firmware: Firmware = Field(default=Firmware.BIOS, description=N_("bios or uefi"))
    secure_boot: bool = Field(default=False, description=N_("whether the firmware starts signed systems only"))
    tpm: bool = Field(default=False, description=N_("whether it has a TPM 2.0"))
    disk_bus: DiskBus = Field(default=DiskBus.VIRTIO, description=N_("how the disks are attached"))
    disks: Mapping[DiskName, DiskSize] = Field(
        default_factory=dict, max_length=MOST_DISKS,
        description=N_("empty disks that each machine has beside its system's, by name, with their sizes in GiB"),
    )  # fmt: skip
    nic: CardModel = Field(default=CardModel.VIRTIO, description=N_("model of the network cards"))
    console: ConsoleKind = Field(default=ConsoleKind.SERIAL, description=N_("serial or screen"))
    script: tuple[Step, ...] = Field(
        default=(), max_length=200, description=N_("what is typed on its console, once, before it is kept")
    )

    @property
    def hardware(self) -> Hardware:
        """Return the machine that the image wants."""
        return Hardware(self.firmware, self.secure_boot, self.tpm, self.disk_bus, self.nic, self.console, self.disks)


COMMON_MACHINE = Recipe(title=Text(en="imported", fr="importée"))


def recipe_names() -> list[str]:
    """Return the names of the recipes that labctl brings along."""
    return sorted(path.stem for path in RECIPES.glob("*.yml"))


def find_script(name: str, values: Mapping[str, str]) -> Recipe:
    """Return what labctl types on the console of media that it knows, the common machine for no name."""
    return load_recipe(SCRIPTS / f"{name}.yml", values) if name else COMMON_MACHINE


def find_recipe_file(word: str) -> Recipe:
    """Return the recipe that a person means by a path or a name, the common machine for no word.

    Raises InvalidFile for neither, ProblemsFound for a file with problems.
    """
    if not word:
        return COMMON_MACHINE
    path = Path(word) if is_file(Path(word)) or "/" in word or word.endswith((".yml", ".yaml")) else None
    if path is None and word in recipe_names():
        path = RECIPES / f"{word}.yml"
    if path is None:
        text = _("there is no file and no recipe {name}; recipes are: {names}")
        raise InvalidFile(
            text.format(name=quoted(word), names=", ".join(recipe_names())), hint="labctl image import --help"
        )
    return load_recipe(path)


def adapt(recipe: Recipe, own: Mapping[str, object]) -> Recipe:
    """Return a recipe with some of its keys replaced by what a person typed."""
    return Recipe.model_validate({**recipe.model_dump(), **own})


def load_recipe(path: Path, values: Mapping[str, str] | None = None) -> Recipe:
    """Return a recipe from its YAML file. `values` are those that ${name} may stand for.

    Raises ProblemsFound with every problem at file:line:column.
    """
    tree = read_tree(path)
    tree.settle()
    recipe = read_shapes(tree, tree.data, Recipe)
    if recipe is not None:
        find_problems(tree, recipe, values or {})
    if tree.problems or recipe is None:
        raise ProblemsFound(tree.problems)
    return recipe


def find_problems(tree: Tree, recipe: Recipe, values: Mapping[str, str]) -> None:
    """Add to the tree what no shape can tell: patterns, unknown values, a script without a serial line."""
    if recipe.script and recipe.console is not ConsoleKind.SERIAL:
        tree.find(Finding(("console",), _("serial, because the recipe has a script"), quoted(recipe.console)))
    if recipe.secure_boot and recipe.firmware is not Firmware.UEFI:
        tree.find(Finding(("secure_boot",), _("firmware: uefi beside it"), quoted(recipe.firmware)))
    for position, step in enumerate(recipe.script):
        for key, pattern in (("wait", step.wait), ("unless", step.unless)):
            if pattern is not None and (wrong := pattern_problem(pattern)):
                tree.find(Finding(("script", position, key), _("a regular expression"), wrong))
        for name in VALUE.findall(step.send or ""):
            if name not in values:
                expected = _("a value of labctl's ({names})").format(names=listing(sorted(values)) or _("none"))
                tree.find(Finding(("script", position, "send"), expected, quoted(name), nearest(name, values)))


def pattern_problem(pattern: str) -> str:
    """Return what is wrong with a regular expression, empty for a good one."""
    try:
        re.compile(pattern)
    except re.error as exc:
        return f"{quoted(pattern)} ({exc})"
    return ""


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return what is typed, with the values in it."""
    return VALUE.sub(lambda found: values[found[1]], text)
