"""What a topology may name: the images, services and competencies that this labctl knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from labctl.topology.model import Text


@dataclass(frozen=True)
class ImageFacts:
    """An image that can be built or was imported. `minimum_memory` is in MiB."""

    name: str
    minimum_memory: int


@dataclass(frozen=True)
class Parameter:
    """One parameter of a service, as its role's argument_specs.yml describes it.

    `type` is one of Ansible's: str, int, bool, list, dict, float, path, raw. `elements` is the type
    of a list's items; `options` describes the keys of a dict or of a list of dicts.
    """

    name: str
    type: str
    required: bool
    choices: tuple[str, ...]
    elements: str
    options: Mapping[str, "Parameter"]
    description: str


@dataclass(frozen=True)
class Service:
    """A role of playbooks/: what it is for, what it serves and which packages its image needs."""

    name: str
    title: Text
    competencies: tuple[str, ...]
    packages: tuple[str, ...]
    parameters: Mapping[str, Parameter]


@dataclass(frozen=True)
class Catalogue:
    """Everything that names in a topology are looked up in."""

    images: Mapping[str, ImageFacts]
    services: Mapping[str, Service]
    competencies: frozenset[str]
