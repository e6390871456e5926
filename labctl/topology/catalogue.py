"""What a topology may name: the images, services and competencies that this labctl knows."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from labctl.competencies import load_competencies
from labctl.language import _
from labctl.topology.hardware import COMMON, Hardware, System
from labctl.topology.problems import Finding, ProblemsFound, Steps, nearest, quoted
from labctl.topology.shapes import as_json, shape_findings
from labctl.topology.tree import Tree, read_tree
from labctl.topology.values import PACKAGE_PATTERN, CompetencyId, Line, ServiceName, Text


@dataclass(frozen=True)
class ImageFacts:
    """An image that can be built or was imported. `minimum_memory` is in MiB.

    `services` are those that labctl can configure on it, None for all. `command` is what a person types to give an
    image that labctl cannot make by itself, empty for the others.
    """

    name: str
    minimum_memory: int
    system: System = System.DEBIAN
    hardware: Hardware = COMMON
    services: frozenset[str] | None = None
    command: str = ""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a service, as its role's argument_specs.yml describes it.

    `type` is one of Ansible's: str, int, bool, list, dict, float, path, raw. `elements` is the type
    of a list's items; `options` describes the keys of a dict or of a list of dicts. `description` is
    English, `french` its French or empty; `default` is as the role writes it, None for none.
    """

    name: str
    type: str
    required: bool
    choices: tuple[str, ...]
    elements: str
    options: Mapping[str, "Parameter"]
    description: str
    french: str = ""
    default: JsonValue = None


@dataclass(frozen=True)
class Service:
    """A role of playbooks/: what it is for, what it serves and which packages its image needs.

    `packages` are for every image; `image_packages` those that only images of a name need. `systems` are those that
    the role has tasks for.
    """

    name: str
    title: Text
    competencies: tuple[str, ...]
    packages: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    image_packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    systems: frozenset[System] = frozenset({System.DEBIAN})

    def packages_for(self, image: str) -> tuple[str, ...]:
        """Return the Debian packages that the service needs on an image, sorted."""
        return tuple(sorted({*self.packages, *self.image_packages.get(image, ())}))


@dataclass(frozen=True)
class Catalogue:
    """Everything that names in a topology are looked up in."""

    images: Mapping[str, ImageFacts]
    services: Mapping[str, Service]
    competencies: frozenset[str]


class Closed(BaseModel):
    """Role metadata whose keys are ours: a typo must not pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)
Package = Annotated[str, Field(pattern=PACKAGE_PATTERN)]


class RoleCard(Closed):
    """meta/labctl.yml of a role.

    `packages` is a list, or a mapping from an image name to a list, where `all` stands for every image.
    `french` has the French of parameter descriptions, by `name` or `name.option`.
    """

    title: Text
    competencies: tuple[CompetencyId, ...]
    packages: tuple[Package, ...] | Mapping[str, tuple[Package, ...]] = ()
    french: Mapping[str, Line] = Field(default_factory=dict)


class Option(BaseModel):
    """One option of argument_specs.yml; Ansible knows more keys than matter here."""

    type: Literal["str", "int", "bool", "list", "dict", "float", "path", "raw", "json", "bytes", "bits"] = "str"
    required: bool = False
    choices: tuple[JsonValue, ...] = ()
    elements: Literal["str", "int", "bool", "list", "dict", "float", "path", "raw"] = "raw"
    options: Mapping[str, "Option"] = Field(default_factory=dict)
    description: str | tuple[str, ...] = ""
    default: JsonValue = None


class EntryPoint(BaseModel):
    """How a role may be entered; only `main` is."""

    options: Mapping[str, Option] = Field(default_factory=dict)


class EntryPoints(BaseModel):
    """The entry points of a role."""

    main: EntryPoint


class ArgumentSpecs(BaseModel):
    """meta/argument_specs.yml of a role."""

    argument_specs: EntryPoints


def load_catalogue(playbooks: Path, images: Iterable[ImageFacts]) -> Catalogue:
    """Return what topologies may name.

    `images` are those that can be built or were given; services are the folders of `playbooks`/roles that
    have a meta/labctl.yml. Raises ProblemsFound about role metadata that has problems.
    """
    cards = sorted(playbooks.glob("roles/*/meta/labctl.yml"))
    services = [load_service(card.parent.parent) for card in cards]
    return Catalogue(
        images={image.name: image for image in images},
        services={service.name: service for service in services},
        competencies=frozenset(load_competencies()),
    )


def load_service(role: Path) -> Service:
    """Return the service of one role folder from meta/labctl.yml and meta/argument_specs.yml (which may be absent)."""
    tree = read_tree(role / "meta" / "labctl.yml")
    card = parse(tree, RoleCard)
    tree.settle()
    named = tree.data.get("competencies") if isinstance(tree.data, dict) else None
    for finding in competency_list_findings(named, ("competencies",), load_competencies()):
        tree.find(finding)
    specs = role / "meta" / "argument_specs.yml"
    french = card.french if card else {}
    parameters = load_parameters(specs, role.name, french) if specs.exists() else {}
    if tree.problems or card is None:
        raise ProblemsFound(tree.problems)
    TypeAdapter(ServiceName).validate_python(role.name)
    packages = card.packages
    every = packages if isinstance(packages, tuple) else packages.get("all", ())
    by_image = {} if isinstance(packages, tuple) else {name: some for name, some in packages.items() if name != "all"}
    return Service(role.name, card.title, card.competencies, every, parameters, by_image, find_systems(role))


def find_systems(role: Path) -> frozenset[System]:
    """Return the systems that a role has tasks for, by its task files; one without such files is for Debian."""
    found = {system for system in System if (role / "tasks" / f"{system}.yml").exists()}
    return frozenset(found or {System.DEBIAN})


def competency_list_findings(named: JsonValue, steps: Steps, known: Collection[str]) -> Iterator[Finding]:
    """Yield competencies of a list that the official one does not have, or that stand twice.

    `named` is plain data: what does not look like a competency at all is told where shapes are checked.
    """
    seen: set[str] = set()
    for position, name in enumerate(named if isinstance(named, list) else []):
        if not isinstance(name, str) or not name.startswith("B"):
            continue
        if name in seen:
            yield Finding((*steps, position), _("each competency once"), quoted(name))
        elif name not in known:
            yield unlisted_competency((*steps, position), name, known)
        seen.add(name)


def unlisted_competency(steps: Steps, name: str, known: Collection[str]) -> Finding:
    """Return the finding about a competency that is not in the official list."""
    return Finding(steps, _("a competency of the official list"), quoted(name), nearest(name, known))


def load_parameters(path: Path, role: str, french: Mapping[str, str]) -> Mapping[str, Parameter]:
    """Return the parameters of a role's main entry point, without the role's name before theirs."""
    tree = read_tree(path)
    specs = parse(tree, ArgumentSpecs)
    steps: Steps = ("argument_specs", "main", "options")
    found = {}
    for name, option in (specs.argument_specs.main.options if specs else {}).items():
        short = name.removeprefix(f"{role}_")
        if short == name:
            tree.find(
                Finding((*steps, name), _('a name that starts with "{prefix}"').format(prefix=f"{role}_"), at_key=True)
            )
        found[short] = parameter_of(short, option, french, short)
    if tree.problems:
        raise ProblemsFound(tree.problems)
    return found


def parameter_of(name: str, option: Option, french: Mapping[str, str], way: str) -> Parameter:
    """Return one option, and those inside it, as a parameter; `way` is its key in `french`."""
    text = option.description if isinstance(option.description, str) else " ".join(option.description)
    return Parameter(
        name=name,
        type=option.type,
        required=option.required,
        choices=tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in option.choices),
        elements=option.elements,
        options={key: parameter_of(key, one, french, f"{way}.{key}") for key, one in option.options.items()},
        description=text,
        french=french.get(way, ""),
        default=option.default,
    )


def parse(tree: Tree, model: type[M]) -> M | None:
    """Return a file of role metadata as a model, None after adding its problems to the tree."""
    try:
        return model.model_validate_json(as_json(tree.data), strict=True)
    except ValidationError as exc:
        for finding in shape_findings(exc, model, tree.data):
            tree.find(finding)
        return None
