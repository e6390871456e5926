"""A secret, a session and an owner to the values of a topology's variants: the same each time, different for others.

Every value is drawn by HMAC-SHA-256 under a secret of the installation: an owner who knows their own values, the
topology and this code cannot tell those of anybody else. A draw gives positions, not values: the place of each value
in an order that the HMAC makes for this owner. Positions are kept, values are derived from them again.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import prod

from labctl.errors import Refused
from labctl.faults import find_faults, hides
from labctl.language import _, ngettext
from labctl.topology.model import Topology
from labctl.topology.parts import whole_parts
from labctl.topology.spaces import Space, held_addresses, space_of
from labctl.topology.variants import FaultVariant, Value

SORTED = 512  # values of a space whose whole order is made; of a larger one, the first are drawn one by one
DRAWN = 64  # of a larger one: with so many, even a class that takes half of it finds a free one
MOST_STEPS = 20_000  # of the search for values that nobody has

Positions = Mapping[str, int]


@dataclass(frozen=True)
class Draw:
    """What one owner has: the place of each value in their own order of it, and the values."""

    owner: str
    positions: Positions
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Lot:
    """What values are drawn from: a topology, a session and the secret of the installation.

    Nothing of it is printed: the secret is left out of its text.
    """

    topology: Topology
    session: str
    secret: bytes = field(repr=False)

    @cached_property
    def spaces(self) -> Mapping[str, Space]:
        """Return the space of each variant."""
        parts = whole_parts(self.topology)
        return {name: space_of(one, parts) for name, one in self.topology.variants.items()}

    @cached_property
    def edition(self) -> str:
        """Return what positions belong to: the topology's version, and a hash of all that its spaces follow from."""
        held = sorted(map(str, held_addresses(whole_parts(self.topology))))
        declared = self.topology.model_dump(mode="json", include={"variants"})
        networks = {name: one.model_dump(mode="json") for name, one in self.topology.networks.items()}
        said = json.dumps([declared, held, sorted(self.topology.nodes), networks], sort_keys=True)
        return f"{self.topology.version}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"

    def orders(self, owner: str) -> Mapping[str, Sequence[Value]]:
        """Return an owner's order of the values of each variant; of a large space, its beginning."""
        return {
            name: tuple(islice(space_order(space, self.counter(owner, name)), max(SORTED, DRAWN)))
            for name, space in self.spaces.items()
        }

    def counter(self, owner: str, variant: str) -> Callable[[int], int]:
        """Return what makes a number of 256 bits of each number, for one owner and variant."""
        # JSON keeps the parts apart: no owner's name can run into that of a variant.
        named = json.dumps([self.session, owner, self.topology.name, self.topology.version, variant]).encode()
        key = hmac.digest(self.secret, named, hashlib.sha256)
        return lambda number: int.from_bytes(hmac.digest(key, number.to_bytes(8), hashlib.sha256))

    def values_at(self, owner: str, positions: Positions) -> Mapping[str, Value]:
        """Return the values that an owner has drawn. Raises Refused where the topology has other variants by now."""
        orders = self.orders(owner)
        wrong = [name for name, order in orders.items() if not 0 <= positions.get(name, -1) < len(order)]
        if wrong or positions.keys() - orders.keys():
            text = _('the variants of "{topology}" have changed since the values of "{owner}" were drawn')
            message = text.format(topology=self.topology.name, owner=owner)
            raise Refused(message, hint=f"labctl variant list {self.topology.name}")
        return {name: order[positions[name]] for name, order in orders.items()}

    def draw(self, owners: Sequence[str], kept: Mapping[str, Positions]) -> Mapping[str, Draw]:
        """Return the draw of each owner, in order: those that are `kept` stay, no other gets what somebody has.

        `kept` may have owners beside these. Raises Refused, with the numbers, where there are too few values.
        """
        everybody = dict.fromkeys([*kept, *owners])
        self.refuse_crowd(len(everybody))
        taken = Taken(self.topology)
        drawn: dict[str, Draw] = {}
        for owner, positions in kept.items():
            drawn[owner] = Draw(owner, positions, self.values_at(owner, positions))
            taken.add(drawn[owner].values)
        for owner in owners:
            if owner not in drawn:
                drawn[owner] = self.draw_one(owner, taken)
                taken.add(drawn[owner].values)
        return {owner: drawn[owner] for owner in owners}

    def draw_one(self, owner: str, taken: "Taken") -> Draw:
        """Return the first combination of an owner's orders that nobody has."""
        orders = self.orders(owner)
        for positions in islice(taken.combinations(orders), 1):
            return Draw(owner, positions, {name: orders[name][place] for name, place in positions.items()})
        text = _('no values are left for "{owner}" that differ from those of the {count} others of the session')
        raise Refused(
            text.format(owner=owner, count=len(taken.whole)), hint=f"labctl variant list {self.topology.name}"
        )

    def refuse_crowd(self, count: int) -> None:
        """Raise Refused where so many owners cannot have different values."""
        hint = f"labctl variant list {self.topology.name}"
        for name, space in self.spaces.items():
            if self.topology.variants[name].unique and space.size < count:
                text = ngettext(
                    "the variant {name} has {size} values, {count} owner needs one of their own",
                    "the variant {name} has {size} values, {count} owners need one of their own each",
                    count,
                )
                raise Refused(text.format(name=name, size=space.size, count=count), hint=hint)
        size = prod(space.size for space in self.spaces.values())
        if size < count:
            text = ngettext(
                "the variants of {topology} have {size} combinations, {count} owner needs one of their own",
                "the variants of {topology} have {size} combinations, {count} owners need one of their own each",
                count,
            )
            raise Refused(text.format(topology=self.topology.name, size=size, count=count), hint=hint)


@dataclass
class Taken:
    """What others have: whole combinations, and the values of variants that are unique."""

    topology: Topology
    whole: set[tuple[Value, ...]] = field(default_factory=set)
    single: dict[str, set[Value]] = field(default_factory=dict)

    def add(self, values: Mapping[str, Value]) -> None:
        """Note the values of one owner."""
        self.whole.add(tuple(values[name] for name in self.topology.variants if name in values))
        for name, value in values.items():
            self.single.setdefault(name, set()).add(value)

    def combinations(self, orders: Mapping[str, Sequence[Value]]) -> Iterator[Positions]:
        """Yield the positions that may be taken, the first of each order first, for a bounded number of steps."""
        names, steps = list(orders), iter(range(MOST_STEPS))

        def search(chosen: dict[str, int]) -> Iterator[dict[str, int]]:
            if len(chosen) == len(names):
                if tuple(orders[name][chosen[name]] for name in names) not in self.whole:
                    yield dict(chosen)
                return
            name = names[len(chosen)]
            for place, value in enumerate(orders[name]):
                if next(steps, None) is None:
                    return
                others = {other: orders[other][at] for other, at in chosen.items()}
                if self.is_free(name, value) and not self.clashes(name, value, others):
                    yield from search({**chosen, name: place})

        return search({})

    def is_free(self, name: str, value: Value) -> bool:
        """Return whether a value may be given to another owner."""
        return not (self.topology.variants[name].unique and value in self.single.get(name, ()))

    def clashes(self, name: str, value: Value, others: Mapping[str, Value]) -> bool:
        """Return whether a value cannot be beside the others of its owner: twice the same, or faults that hide."""
        kind = self.topology.variants[name].type
        same = [other for other in others if self.topology.variants[other].type == kind]
        if any(others[other] == value for other in same):
            return True
        if not isinstance(self.topology.variants[name], FaultVariant):
            return False
        found = find_faults(self.topology, [str(value), *(str(others[other]) for other in same)])
        return any(hides(self.topology, found[0], other) for other in found[1:])


def space_order(space: Space, counter: Callable[[int], int]) -> Iterator[Value]:
    """Yield values of a space, each once, in the order that a counter of 256 bits makes."""
    if space.raw <= SORTED:
        numbers = sorted(range(space.raw), key=counter)
        yield from (space.pick(number) for number in numbers if space.holds(number))
        return
    seen: set[int] = set()
    for step in range(DRAWN * 4):
        # 256 bits modulo less than 2^64: the bias is below 2^-192.
        number = counter(step) % space.raw
        if space.holds(number) and number not in seen and len(seen) < DRAWN:
            seen.add(number)
            yield space.pick(number)


def fingerprint(secret: bytes) -> str:
    """Return what tells one secret from another and tells nothing of it."""
    return hmac.digest(secret, b"labctl variants", hashlib.sha256).hex()[:16]


def drawn_faults(topology: Topology, values: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the ids of the faults among drawn values."""
    return tuple(
        str(values[name])
        for name, variant in topology.variants.items()
        if isinstance(variant, FaultVariant) and name in values
    )


def largest_class(topology: Topology, spaces: Mapping[str, Space]) -> int:
    """Return how many owners of one session can have values of their own."""
    unique: Collection[int] = [space.size for name, space in spaces.items() if topology.variants[name].unique]
    return min([prod(space.size for space in spaces.values()), *unique]) if spaces else 0
