"""The model and the catalogue to a JSON Schema, by which editors complete and underline topologies."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue, TypeAdapter

from labctl.topology.catalogue import Catalogue, Parameter, Service
from labctl.topology.model import Topology
from labctl.topology.probes import Probe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {"str": "string", "path": "string", "int": "integer", "float": "number", "bool": "boolean"}

# Where a value may vary, `${variant.NAME}` stands in its place or in the middle of it.
REFERENCE: Mapping[str, JsonValue] = {"type": "string", "pattern": r"\$\{variant\."}
KEPT = ("title", "description", "default")

Schema = dict[str, JsonValue]


def topology_schema(catalogue: Catalogue) -> Schema:
    """Return the JSON Schema (draft 2020-12) of a topology, with the parameters of the catalogue's services.

    It cannot say what the parts mean together, so that a file may fit it and still have problems.
    """
    schema: Schema = {"$schema": DIALECT, **Topology.model_json_schema(by_alias=True)}
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)  # pydantic always gives the models below a model
    node = definitions["Node"]
    assert isinstance(node, dict)
    properties = node["properties"]
    assert isinstance(properties, dict)
    services = properties["services"]
    assert isinstance(services, dict)
    properties["services"] = {
        "type": "object",
        "title": services["title"],
        "description": services["description"],
        "properties": {
            name: admit_references(service_schema(service)) for name, service in sorted(catalogue.services.items())
        },
        "additionalProperties": False,
    }
    image = properties["image"]
    assert isinstance(image, dict)
    image["examples"] = [*sorted(catalogue.images)]
    for name in probe_names():
        definitions[name] = admit_references(definitions[name])
    close_names(schema)
    return schema


def probe_names() -> Iterator[str]:
    """Yield the names of the models of probes, with those of their parts."""
    known = TypeAdapter(Probe).json_schema().get("$defs", {})
    yield from (name for name, one in known.items() if one.get("type") == "object")


def admit_references(schema: JsonValue) -> JsonValue:
    """Return the schema of a mapping, or of what is inside one, in which a reference may stand for each value."""
    if not isinstance(schema, dict):
        return schema
    found: Schema = dict(schema)
    properties, items, alternatives = found.get("properties"), found.get("items"), found.get("anyOf")
    if isinstance(properties, dict):
        found["properties"] = {name: admit_references(one) for name, one in properties.items()}
    elif items is not None:
        found["items"] = admit_references(items)
    elif isinstance(alternatives, list):
        found["anyOf"] = [*alternatives, dict(REFERENCE)]
    elif found.get("type") in {"integer", "number"} or (
        found.get("type") == "string" and {*found} & {"pattern", "enum"}
    ):
        kept = {key: found.pop(key) for key in KEPT if key in found}
        return {**kept, "anyOf": [found, dict(REFERENCE)]}
    return found


def close_names(schema: JsonValue) -> None:
    """Refuse, in a schema and all inside it, the names of networks, nodes and cards that no pattern takes."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for inner in schema.values():
            close_names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            close_names(inner)


def service_schema(service: Service) -> Schema:
    """Return the schema of the parameters of one service."""
    return {"description": service.title.en, **options_schema(service.parameters)}


def options_schema(options: Mapping[str, Parameter]) -> Schema:
    """Return the schema of a mapping with known keys."""
    schema: Schema = {
        "type": "object",
        "properties": {name: parameter_schema(one) for name, one in options.items()},
        "additionalProperties": False,
    }
    required: list[JsonValue] = [name for name, one in options.items() if one.required]
    return {**schema, "required": required} if required else schema


def parameter_schema(parameter: Parameter) -> Schema:
    """Return the schema of one parameter."""
    schema: Schema = {"description": parameter.description} if parameter.description else {}
    if parameter.default is not None:
        schema["default"] = parameter.default
    if parameter.type == "list":
        return {**schema, "type": "array", "items": value_schema(parameter, parameter.elements)}
    return {**schema, **value_schema(parameter, parameter.type)}


def value_schema(parameter: Parameter, kind: str) -> Schema:
    """Return the schema of a value, or of one item of a list, of one of Ansible's types."""
    if kind == "dict":
        return options_schema(parameter.options) if parameter.options else {"type": "object"}
    schema: Schema = {"type": TYPES[kind]} if kind in TYPES else {}
    return {**schema, "enum": [*parameter.choices]} if parameter.choices and kind in ("str", "path") else schema
