"""A declared variant to the space of its values: numbered, without what must never be drawn."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from math import prod

from labctl.topology.model import Node, Segment
from labctl.topology.parts import Parts
from labctl.topology.variants import (
    AccountVariant,
    AddressVariant,
    AnyVariant,
    FaultVariant,
    HostNameVariant,
    NetworkVariant,
    PortVariant,
    Value,
)

DIGITS = "0123456789"
# No vowel, so that no word comes about by chance; no l, which looks like a one.
CONSONANTS = "bcdfghjkmnpqrstvwxz"
SIGNS = {"#": DIGITS, "?": CONSONANTS}
MANAGEMENT_PORTS = frozenset({22})  # labctl itself comes in by it
BYTE_PREFIX = 24
HOSTS = 254  # of a /24; addresses that end in 0 or 255 look like a mistake in any network
# Debian's own, and the roles that this project ships: a lab's account must be nobody else's.
SYSTEM_ACCOUNTS = frozenset([
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data", "backup",
    "list", "irc", "nobody", "sshd", "bind", "nginx", "postgres", "mysql", "messagebus", "polkitd", "admin", "adm",
    "sudo", "users", "staff", "systemd-network", "systemd-resolve", "systemd-timesync",
])  # fmt: skip
SYSTEM_HOSTS = frozenset({"localhost", "mgmt"})
MOST_LISTED = 2000  # values that are looked at one by one


@dataclass(frozen=True)
class Space:
    """The values of a variant. `pick` gives that of each number below `raw`; those in `barred` are never drawn."""

    raw: int
    pick: Callable[[int], Value]
    barred: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """Return how many values may be drawn."""
        return self.raw - len(self.barred)

    def holds(self, number: int) -> bool:
        """Return whether the value of a number may be drawn."""
        return 0 <= number < self.raw and number not in self.barred

    def values(self) -> Iterator[Value]:
        """Yield the values that may be drawn, in order."""
        return (self.pick(number) for number in range(self.raw) if number not in self.barred)

    def last(self) -> Value | None:
        """Return the last of them, None where there is none."""
        return next((self.pick(number) for number in range(self.raw - 1, -1, -1) if number not in self.barred), None)


def space_of(variant: AnyVariant, parts: Parts) -> Space:
    """Return the space of a variant in the topology that these are the parts of."""
    if isinstance(variant, AddressVariant):
        return address_space(variant, held_addresses(parts))
    if isinstance(variant, NetworkVariant):
        return network_space(variant, [one.cidr for one in parts.networks.values() if isinstance(one, Segment)])
    if isinstance(variant, PortVariant):
        return listed(range(variant.least, variant.most + 1), MANAGEMENT_PORTS.union(variant.prohibited))
    if isinstance(variant, FaultVariant):
        return listed(variant.values, ())
    taken: set[str] = set(variant.prohibited)
    if isinstance(variant, HostNameVariant):
        taken |= SYSTEM_HOSTS | parts.node_names
    elif isinstance(variant, AccountVariant):
        taken |= SYSTEM_ACCOUNTS
    return pictured(variant.pattern, taken) if variant.pattern else listed(variant.values, taken)


def listed(values: Iterable[Value], barred: Iterable[Value]) -> Space:
    """Return the space of a list."""
    never = set(barred)
    allowed = tuple(value for value in dict.fromkeys(values) if value not in never)
    return Space(len(allowed), allowed.__getitem__)


def pictured(picture: str, barred: Iterable[str]) -> Space:
    """Return the space of a name with letters that are drawn: its number counts them from the right."""
    wheels = [SIGNS.get(sign, sign) for sign in picture]

    def pick(number: int) -> str:
        letters = []
        for wheel in reversed(wheels):
            number, place = divmod(number, len(wheel))
            letters.append(wheel[place])
        return "".join(reversed(letters))

    def number_of(name: str) -> int:
        number = 0
        for wheel, letter in zip(wheels, name, strict=True):
            number = number * len(wheel) + wheel.index(letter)
        return number

    shape = re.compile("".join(f"[{re.escape(wheel)}]" for wheel in wheels))
    return Space(prod(map(len, wheels)), pick, frozenset(number_of(name) for name in barred if shape.fullmatch(name)))


def address_space(variant: AddressVariant, held: Iterable[IPv4Address]) -> Space:
    """Return the space of an address. In networks of more than 256 the ends of each 256 are left out too."""
    wide = variant.within.prefixlen <= BYTE_PREFIX
    start, size = int(variant.within.network_address), variant.within.num_addresses

    def pick(number: int) -> str:
        block, host = divmod(number, HOSTS) if wide else (0, number)
        return str(IPv4Address(start + block * 256 + host + 1))

    def number_of(address: IPv4Address) -> int:
        block, host = divmod(int(address) - start, 256) if wide else (0, int(address) - start)
        return block * HOSTS + host - 1 if not wide or 0 < host <= HOSTS else -1

    raw = max(0, size // 256 * HOSTS if wide else size - 2)
    numbers = {number_of(one) for one in (*held, *variant.prohibited) if one in variant.within}
    return Space(raw, pick, frozenset(number for number in numbers if 0 <= number < raw))


def network_space(variant: NetworkVariant, taken: Sequence[IPv4Network]) -> Space:
    """Return the space of a part of a network."""
    first, size = int(variant.within.network_address), 1 << (32 - variant.length)
    raw = max(0, variant.within.num_addresses // size)
    barred: set[int] = set()
    for one in (*taken, *variant.prohibited):
        start, end = (int(one.network_address) - first) // size, (int(one.broadcast_address) - first) // size
        barred.update(range(max(0, start), min(raw, end + 1)))
    return Space(raw, lambda number: f"{IPv4Address(first + number * size)}/{variant.length}", frozenset(barred))


def held_addresses(parts: Parts) -> set[IPv4Address]:
    """Return the addresses that nodes have or look for something at."""
    found: set[IPv4Address] = set()
    for node in parts.nodes.values():
        found |= {one for one in node_addresses(node) if isinstance(one, IPv4Address)}
    return found


def node_addresses(node: Node) -> Iterator[object]:
    """Yield the addresses of one node and its routers and DNS servers."""
    yield from node.nameservers
    yield from (route.via for route in node.routes)
    for interface in node.interfaces.values():
        yield interface.address
        yield interface.gateway


def extreme(space: Space) -> Value | None:
    """Return the value that takes most room, None where there is none: where it fits, the others do."""
    if space.raw > MOST_LISTED:
        return space.last()
    return max(space.values(), key=lambda value: len(str(value)), default=None)
