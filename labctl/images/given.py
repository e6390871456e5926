"""What is kept with an image that was made from media of the school: where it comes from and what machine it wants."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.language import _
from labctl.topology.catalogue import ImageFacts
from labctl.topology.hardware import COMMON, Hardware, System

Fact = str | int | bool


@dataclass(frozen=True)
class Given:
    """Where an image comes from. `source` is the name of the file that was given, `source_digest` its SHA-256.

    `facts` are what else is known of it, by English names: the edition of a Windows, its days of evaluation.
    """

    system: System
    source: str
    source_digest: str
    source_format: str
    minimum_memory: int
    hardware: Hardware = COMMON
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """Return what people are shown of the machine and the facts, in a few words each."""
        machine = (self.hardware.firmware.upper(), self.hardware.disk_bus, self.hardware.card)
        secure = (_("secure boot"),) if self.hardware.secure_boot else ()
        disks = (_("{name} of {size} GiB").format(name=name, size=size) for name, size in self.hardware.disks.items())
        return (*machine, *secure, *(("TPM",) if self.hardware.tpm else ()), *disks, *self.said)

    @property
    def said(self) -> tuple[str, ...]:
        """Return the facts as `name=value`."""
        return tuple(f"{name}={value}" for name, value in sorted(self.facts.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return what is written beside the image and printed as JSON."""
        return asdict(self)


def read_given(data: object) -> Given | None:
    """Return what a record says, None for an image that labctl built by itself. Raises ValueError for anything else."""
    if data is None:
        return None
    try:
        return TypeAdapter(Given).validate_python(data)
    except ValidationError as exc:
        raise ValueError(str(exc)) from exc


def describe_given(name: str, given: Given) -> ImageFacts:
    """Return what a topology may know of an image that was given: its machine is known better than by the recipe."""
    recipe = RECIPES.get(name)
    services = recipe.services if isinstance(recipe, MediaRecipe) else frozenset[str]()
    return ImageFacts(name, given.minimum_memory, given.system, given.hardware, services, command_for(name))


def command_for(name: str) -> str:
    """Return what a person types to give the image of this name."""
    recipe = RECIPES.get(name)
    return recipe.command if isinstance(recipe, MediaRecipe) else f"labctl image import FILE --name {name}"
