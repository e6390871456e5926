"""A topology's plain data to those of its parts that are well formed, so that their meaning can be checked too."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from labctl.topology.faults import Fault
from labctl.topology.model import Check, Network, Node, Topology
from labctl.topology.shapes import as_json
from labctl.topology.values import NAME_PATTERN

NETWORK: TypeAdapter[Any] = TypeAdapter(Network)
NODE: TypeAdapter[Node] = TypeAdapter(Node)
CHECK: TypeAdapter[Check] = TypeAdapter(Check)
FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


@dataclass(frozen=True)
class Parts:
    """What can be read of a topology.

    The names are all proper ones that the author wrote, those of unreadable nodes and networks too, so that a
    reference to one of these is not called unknown. `whole` is False where something is missing.
    """

    networks: Mapping[str, Any]
    nodes: Mapping[str, Node]
    checks: Mapping[int, Check]
    faults: Mapping[int, Fault]
    network_names: frozenset[str]
    node_names: frozenset[str]
    whole: bool


def whole_parts(topology: Topology) -> Parts:
    """Return the parts of a topology that is well formed."""
    return Parts(
        networks=topology.networks,
        nodes=topology.nodes,
        checks=dict(enumerate(topology.checks)),
        faults=dict(enumerate(topology.faults)),
        network_names=frozenset(topology.networks),
        node_names=frozenset(topology.nodes),
        whole=True,
    )


def readable_parts(data: JsonValue) -> Parts:
    """Return the well-formed parts of a topology that is not."""
    networks, nodes = mapping(data, "networks"), mapping(data, "nodes")
    return Parts(
        networks=readable(NETWORK, networks),
        nodes=readable(NODE, nodes),
        checks=readable(CHECK, listed(data, "checks")),
        faults=readable(FAULT, listed(data, "faults")),
        network_names=proper(networks),
        node_names=proper(nodes),
        whole=False,
    )


def proper(names: Iterable[str]) -> frozenset[str]:
    """Return the names that may be used; no other one is worth suggesting."""
    return frozenset(name for name in names if re.fullmatch(NAME_PATTERN, name))


def mapping(data: JsonValue, key: str) -> Mapping[str, JsonValue]:
    """Return the mapping below a key, an empty one where there is none."""
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def listed(data: JsonValue, key: str) -> Mapping[int, JsonValue]:
    """Return the items of the list below a key by position, none where there is no list."""
    found = data.get(key) if isinstance(data, dict) else None
    return dict(enumerate(found)) if isinstance(found, list) else {}


def readable(adapter: TypeAdapter[Any], items: Mapping[Any, JsonValue]) -> dict[Any, Any]:
    """Return the items that are well formed, without those of their optional keys that are not."""
    found = {}
    for name, item in items.items():
        value = read_item(adapter, item)
        if value is not None:
            found[name] = value
    return found


def read_item(adapter: TypeAdapter[Any], item: JsonValue) -> object:
    """Return one item as a model, after leaving out what is wrong in it; None if that cannot be left out."""
    try:
        return adapter.validate_json(as_json(item), strict=True, by_alias=True, by_name=False)
    except ValidationError as exc:
        pruned = prune(item, [detail["loc"] for detail in exc.errors(include_url=False, include_input=False)])
    try:
        return adapter.validate_json(as_json(pruned), strict=True, by_alias=True, by_name=False)
    except ValidationError:
        return None


def prune(item: JsonValue, ways: list[tuple[str | int, ...]]) -> JsonValue:
    """Return an item without the keys that have errors; of interfaces and services, only the one concerned."""
    if not isinstance(item, dict):
        return item
    kept: dict[str, JsonValue] = dict(item)
    for way in ways:
        steps = [str(step) for step in way if str(step) in item or str(step) in mapping(item, str(way[0]))]
        inner = kept.get(steps[0]) if steps else None
        if len(steps) > 1 and isinstance(inner, dict):
            kept[steps[0]] = {key: value for key, value in inner.items() if key != steps[1]}
        elif steps:
            kept.pop(steps[0], None)
    return kept
