"""The model and the catalogue to a JSON Schema, by which editors complete and underline topologies."""

from collections.abc import Mapping

from pydantic import JsonValue

from labctl.topology.catalogue import Catalogue, Parameter, Service
from labctl.topology.model import Topology

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {"str": "string", "path": "string", "int": "integer", "float": "number", "bool": "boolean"}

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
        "properties": {name: service_schema(service) for name, service in sorted(catalogue.services.items())},
        "additionalProperties": False,
    }
    image = properties["image"]
    assert isinstance(image, dict)
    image["examples"] = [*sorted(catalogue.images)]
    close_names(schema)
    return schema


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
