"""The parameters of a service as a topology gives them, held against what its role takes."""

import math
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from labctl.language import _
from labctl.topology.catalogue import Parameter, Service
from labctl.topology.problems import Finding, Steps, describe, listing, nearest

TEMPLATE_MARKS = ("{{", "{%", "{#")
BOOLEAN_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def service_findings(given: Mapping[str, JsonValue], service: Service, steps: Steps) -> Iterator[Finding]:
    """Yield what is wrong with the parameters that a node gives to a service; `steps` leads to them."""
    yield from mapping_findings(given, service.parameters, steps)


def mapping_findings(given: Mapping[str, JsonValue], known: Mapping[str, Parameter], steps: Steps) -> Iterator[Finding]:
    """Yield unknown and missing keys, and what is wrong with the values of the others."""
    for name, value in given.items():
        if name in known:
            yield from value_findings(value, known[name], (*steps, name))
        else:
            text = (
                _("one of the parameters {names}").format(names=listing(known, limit=20))
                if known
                else _("no parameter")
            )
            yield Finding((*steps, name), text, describe(name), nearest(name, known), at_key=True)
    for name, parameter in known.items():
        if parameter.required and name not in given:
            yield Finding((*steps, name), _('the parameter "{name}"').format(name=name), at_key=True)


def value_findings(value: JsonValue, parameter: Parameter, steps: Steps) -> Iterator[Finding]:
    """Yield what is wrong with one value, down to the last nested one."""
    if isinstance(value, str) and any(mark in value for mark in TEMPLATE_MARKS):
        # Ansible would run it on the host: a topology is data, never a template.
        yield Finding(steps, _("a text without {marks}").format(marks=" ".join(TEMPLATE_MARKS)), describe(value))
    elif not fits(value, parameter.type):
        yield Finding(steps, type_name(parameter.type), describe(value), near_boolean(value, parameter.type))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from item_findings(item, parameter, (*steps, position))
    else:
        yield from single_findings(value, parameter, steps)


def item_findings(item: JsonValue, parameter: Parameter, steps: Steps) -> Iterator[Finding]:
    """Yield what is wrong with one item of a list."""
    if isinstance(item, str) and any(mark in item for mark in TEMPLATE_MARKS):
        yield Finding(steps, _("a text without {marks}").format(marks=" ".join(TEMPLATE_MARKS)), describe(item))
    elif fits(item, parameter.elements):
        yield from single_findings(item, parameter, steps)
    else:
        yield Finding(steps, type_name(parameter.elements), describe(item), near_boolean(item, parameter.elements))


def single_findings(value: JsonValue, parameter: Parameter, steps: Steps) -> Iterator[Finding]:
    """Yield what is wrong with a value of the right type: its keys or its choice."""
    if isinstance(value, dict) and parameter.options:
        yield from mapping_findings(value, parameter.options, steps)
    elif parameter.choices and not isinstance(value, dict) and as_choice(value) not in parameter.choices:
        text = _("one of {names}").format(names=", ".join(parameter.choices))
        near = nearest(value, parameter.choices) if isinstance(value, str) else ""  # no digit is a typo of another
        yield Finding(steps, text, describe(value), near)


def as_choice(value: JsonValue) -> str:
    """Return a value as role metadata writes its choices."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def fits(value: JsonValue, kind: str) -> bool:
    """Tell whether a value has one of Ansible's types; a number is not taken for a text, nor "yes" for true."""
    match kind:
        case "str" | "path":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case "list":
            return isinstance(value, list)
        case "dict":
            return isinstance(value, dict)
        case _:
            return True


def type_name(kind: str) -> str:
    """Return one of Ansible's types in the reader's words."""
    match kind:
        case "bool":
            return _("true or false")
        case "int":
            return _("a whole number")
        case "float":
            return _("a number")
        case "list":
            return _("a list")
        case "dict":
            return _("a mapping")
        case "path":
            return _("a path")
        case _:
            return _("a text")


def near_boolean(value: JsonValue, kind: str) -> str:
    """Return the YAML 1.2 boolean for a word that older YAML took for one."""
    return BOOLEAN_WORDS.get(value.lower(), "") if kind == "bool" and isinstance(value, str) else ""
