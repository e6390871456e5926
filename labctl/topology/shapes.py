"""The model's annotations and pydantic's errors to what was expected where, in the reader's words."""

import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from labctl.language import _, ngettext
from labctl.topology.problems import Finding, Step, Steps, describe, listing, nearest, quoted
from labctl.topology.values import PATTERNS

KEY = "[key]"  # how pydantic ends the way to a mapping's key


@dataclass(frozen=True)
class Shape:
    """A type of the model without its wrapping; `constraints` has min_length, max_length, ge, le and pattern."""

    type: Any
    constraints: Mapping[str, Any]

    @property
    def members(self) -> tuple["Shape", ...]:
        """The alternatives of a union, without None; empty for everything else."""
        if get_origin(self.type) not in (Union, types.UnionType):
            return ()
        return tuple(shape_of(one) for one in get_args(self.type) if one is not type(None))

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """The keys of a model as the author writes them; empty for everything else."""
        if not (isinstance(self.type, type) and issubclass(self.type, BaseModel)):
            return {}
        return {field.alias or name: field for name, field in self.type.model_fields.items()}

    @property
    def tags(self) -> Mapping[str, "Shape"]:
        """The models of a union by the value that tells them apart; empty for everything else."""
        found = {}
        for member in self.members:
            for field in member.fields.values():
                if get_origin(field.annotation) is Literal:
                    found[get_args(field.annotation)[0]] = member
                    break
        return found

    @property
    def discriminator(self) -> str:
        """The key whose value tells the models of a union apart."""
        fields = next(iter(self.tags.values())).fields
        return next(name for name, field in fields.items() if get_origin(field.annotation) is Literal)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a closed set; empty for everything else."""
        if get_origin(self.type) is Literal:
            return get_args(self.type)
        if isinstance(self.type, type) and issubclass(self.type, StrEnum):
            return tuple(str(one) for one in self.type)
        return ()

    @property
    def is_mapping(self) -> bool:
        """Whether the author writes names of their own as keys."""
        return get_origin(self.type) is Mapping

    @property
    def is_list(self) -> bool:
        """Whether the author writes a list."""
        return get_origin(self.type) is tuple

    @property
    def item(self) -> "Shape":
        """What a list or a mapping holds."""
        return shape_of(get_args(self.type)[1 if self.is_mapping else 0])


def shape_of(annotation: object, metadata: Iterable[Any] = ()) -> Shape:
    """Return a type of the model without Annotated, and with one alternative instead of `X | None`."""
    noted = list(metadata)
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        noted = [*more, *noted]
    alternatives = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) in (Union, types.UnionType) and len(alternatives) == 1:
        return shape_of(alternatives[0], noted)
    limits: dict[str, Any] = {}
    for note in noted:
        parts = note.metadata if isinstance(note, FieldInfo) else [note]
        for part in parts:
            for name in ("min_length", "max_length", "ge", "le", "pattern"):
                value = getattr(part, name, None)
                if value is not None:
                    limits[name] = value
    return Shape(annotation, limits)


def field_shape(field: FieldInfo) -> Shape:
    """Return the shape of a model's field."""
    return shape_of(field.annotation, field.metadata)


def expectation(shape: Shape) -> str:
    """Return what a value of this shape is, for the "expected" part of a sentence."""
    limits = shape.constraints
    if shape.choices:
        return one_of(shape.choices)
    if shape.tags:
        tags = ", ".join(shape.tags)
        return _('a mapping with the key "{key}": {names}').format(key=shape.discriminator, names=tags)
    if shape.members:
        return _(" or ").join(expectation(member) for member in shape.members)
    if shape.fields:
        return _("a mapping with the keys {names}").format(names=", ".join(required_keys(shape)))
    if shape.is_mapping:
        return counted(_("a mapping"), limits) if limits else _("a mapping (two braces if it is empty)")
    if shape.is_list:
        return counted(_("a list"), limits)
    sentence = PATTERNS.get(limits.get("pattern", ""))
    if shape.type is str and sentence:
        return _(sentence)
    if shape.type is str and "max_length" in limits:
        return _("a text of 1 to {most} characters").format(most=limits["max_length"])
    if shape.type is int:
        return _("a whole number from {least} to {most}").format(least=limits.get("ge"), most=limits.get("le"))
    return simple_expectation(shape.type)


def one_of(choices: Sequence[str]) -> str:
    """Return what a value of a closed set is."""
    return _("one of {names}").format(names=", ".join(choices)) if len(choices) > 1 else quoted(choices[0])


def simple_expectation(kind: object) -> str:
    """Return what a value without constraints is."""
    if kind is bool:
        return _("true or false")
    if kind is IPv4Address:
        return _("an IPv4 address")
    if kind is IPv4Network:
        return _("an IPv4 network such as 192.168.50.0/24")
    return _("a text") if kind is str else _("a value")


def counted(what: str, limits: Mapping[str, Any]) -> str:
    """Return "a list" with the numbers of items that it may have."""
    least, most = limits.get("min_length", 0), limits.get("max_length")
    if most is not None:
        return _("{what} ({least} to {most})").format(what=what, least=least, most=most)
    return _("{what} (at least {least})").format(what=what, least=least) if least else what


def required_keys(shape: Shape) -> list[str]:
    """Return the keys that a model must have, all of them if none must."""
    names = [name for name, field in shape.fields.items() if field.is_required()]
    return names or list(shape.fields)


def shape_findings(error: ValidationError, model: object, data: JsonValue) -> list[Finding]:
    """Return pydantic's errors about `data`, each once, as findings."""
    found: dict[tuple[Steps, bool], Finding] = {}
    wrong_containers: set[Steps] = set()
    for detail in error.errors(include_url=False, include_input=False):
        one = explain(detail, shape_of(model), data)
        if one:
            found.setdefault((one.steps, one.at_key), one)
            if detail["type"] in ("dict_type", "tuple_type"):
                wrong_containers.add(one.steps)
    around = {steps[:length] for steps, _at_key in found for length in range(len(steps))}
    # "A list or a mapping" was one of them, and what is inside has problems of its own.
    return [one for one in found.values() if not (one.steps in wrong_containers and one.steps in around)]


def explain(detail: ErrorDetails, root: Shape, data: JsonValue) -> Finding | None:
    """Return one error of pydantic as a finding, None for one that only follows from others."""
    steps, shape, owner = follow(detail["loc"], root)
    kind = detail["type"]
    if kind == "extra_forbidden":
        keys = list(owner.fields)
        text = _("one of the keys {names}").format(names=listing(keys, limit=20))
        return Finding(steps, text, describe(steps[-1]), nearest(str(steps[-1]), keys), at_key=True)
    if kind == "missing":
        return Finding(steps, _('the key "{key}"').format(key=steps[-1]), at_key=True)
    if kind == "union_tag_not_found":
        text = _('the key "{key}": {names}').format(key=shape.discriminator, names=", ".join(shape.tags))
        return Finding((*steps, shape.discriminator), text, at_key=True)
    if kind == "union_tag_invalid":
        steps, shape = (*steps, shape.discriminator), Shape(Literal[*shape.tags], {})
    if detail["loc"][-1:] == (KEY,):
        return Finding(steps, expectation(shape), describe(steps[-1]), at_key=True)
    value = look_up(data, steps)
    if kind == "too_short" and isinstance(value, list | dict) and len(value) >= shape.constraints["min_length"]:
        return None  # the items themselves were refused
    return Finding(steps, expectation(shape), found_text(value, shape), near_choice(value, shape))


def follow(loc: tuple[Step, ...], root: Shape) -> tuple[Steps, Shape, Shape]:
    """Return the way in the file, the shape at its end, and the model or mapping around it."""
    steps: list[Step] = []
    shape = owner = root
    for step in loc:
        if step == KEY and owner.is_mapping:
            shape = shape_of(get_args(owner.type)[0])
        elif step in shape.tags:
            shape = shape.tags[str(step)]
        elif shape.fields:
            steps.append(step)
            field = shape.fields.get(str(step))
            owner, shape = shape, field_shape(field) if field else shape_of(Any)
        elif shape.is_mapping or shape.is_list:
            steps.append(step)
            owner, shape = shape, shape.item
        else:  # the label of an alternative, such as tuple[str]
            kinds = [one for one in shape.members if one.is_list or one.is_mapping]
            shape = next((one for one in kinds if one.is_list == str(step).startswith("tuple")), shape)
    return tuple(steps), shape, owner


def look_up(data: JsonValue, steps: Steps) -> JsonValue:
    """Return the value at the end of a way."""
    for step in steps:
        if isinstance(data, dict):
            data = data.get(str(step))
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def found_text(value: JsonValue, shape: Shape) -> str:
    """Return what was found, with its size where the size is what is wrong."""
    most = shape.constraints.get("max_length")
    if isinstance(value, str) and most is not None and len(value) > most:
        return _("a text of {count} characters").format(count=len(value))
    if (isinstance(value, list) and shape.is_list) or (isinstance(value, dict) and shape.is_mapping):
        return ngettext("{count} item", "{count} items", len(value)).format(count=len(value))
    return describe(value)


def near_choice(value: JsonValue, shape: Shape) -> str:
    """Return what the author probably meant: a choice, a network without host bits, or a YAML 1.2 boolean."""
    if not isinstance(value, str):
        return ""
    if shape.type is bool:
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), "")
    if shape.type is IPv4Network and re.fullmatch(r"[0-9.]+/[0-9]+", value):
        try:
            return str(IPv4Network(value, strict=False))
        except ValueError:
            return ""
    choices = [choice for part in (shape, *shape.members) for choice in part.choices]
    return nearest(value, choices) if choices else ""


def as_json(data: JsonValue) -> bytes:
    """Return data for pydantic's strict JSON mode, where "512" is no number and an address is a text."""
    return json.dumps(data).encode()
