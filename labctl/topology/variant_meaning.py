"""What variants mean in their topology: bounds, prohibited values, and that whatever is drawn is equally difficult."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from labctl.language import _
from labctl.topology.parts import Parts
from labctl.topology.problems import Finding, Steps, listing, nearest, quoted
from labctl.topology.spaces import Space, space_of
from labctl.topology.values import DOMAIN_PATTERN, LOGIN_PATTERN, NAME_PATTERN, PATTERNS
from labctl.topology.variants import (
    AddressVariant,
    AnyVariant,
    DomainVariant,
    FaultVariant,
    NamedVariant,
    NetworkVariant,
    PortVariant,
)

PRIVILEGED = 1024  # ports below are for services that root starts
WIDEST, NARROWEST = 8, 28  # prefix lengths of the network that an address is drawn from
MOST_PARTS = 16  # bits: networks of a larger space could not be counted at once
LEAST_VALUES = 2
FITTING = {"host_name": NAME_PATTERN, "domain": DOMAIN_PATTERN, "account": LOGIN_PATTERN}


def variant_findings(variants: Mapping[str, AnyVariant], used: set[str], parts: Parts) -> Iterator[Finding]:
    """Yield every problem of the variants; `used` are the names of those that something refers to."""
    for name, variant in variants.items():
        steps: Steps = ("variants", name)
        bounds = list(bound_findings(variant, steps, parts))
        yield from bounds
        if not bounds:
            yield from space_findings(variant, steps, space_of(variant, parts))
        if name not in used and not isinstance(variant, FaultVariant):
            example = f"${{variant.{name}}}"
            text = _("a variant that something refers to by {example}").format(example=example)
            yield Finding(steps, text, _("no reference"), at_key=True)


def bound_findings(variant: AnyVariant, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield bounds that contradict one another, or between which values would not be equally difficult."""
    if isinstance(variant, AddressVariant):
        yield from length_findings(variant.within, WIDEST, NARROWEST, (*steps, "within"))
    elif isinstance(variant, NetworkVariant):
        yield from network_findings(variant, steps)
    elif isinstance(variant, PortVariant):
        yield from port_findings(variant, steps)
    elif isinstance(variant, FaultVariant):
        yield from fault_findings(variant, steps, parts)
    else:
        yield from name_findings(variant, steps)


def length_findings(network: IPv4Network, least: int, most: int, steps: Steps) -> Iterator[Finding]:
    """Yield a network that is too large or too small."""
    if not least <= network.prefixlen <= most:
        text = _("a prefix length from {least} to {most}").format(least=least, most=most)
        yield Finding(steps, text, f"/{network.prefixlen}")


def network_findings(variant: NetworkVariant, steps: Steps) -> Iterator[Finding]:
    """Yield a mask that does not lead into the network around it, and a default with another one."""
    around = variant.within.prefixlen
    least, most = max(9, around + 1), min(30, around + MOST_PARTS)
    if not least <= variant.length <= most:
        text = _("a prefix length from {least} to {most}").format(least=least, most=most)
        yield Finding((*steps, "length"), text, f"/{variant.length}")
    elif variant.default.prefixlen != variant.length:
        text = _("a prefix length of {length}, as all that are drawn").format(length=variant.length)
        yield Finding((*steps, "default"), text, f"/{variant.default.prefixlen}")


def port_findings(variant: PortVariant, steps: Steps) -> Iterator[Finding]:
    """Yield a range that is upside down, or that mixes privileged ports with others."""
    if variant.least > variant.most:
        text = _("a port from {least} on").format(least=variant.least)
        yield Finding((*steps, "most"), text, str(variant.most))
    elif variant.least < PRIVILEGED <= variant.most:
        text = _("a range below {port} or from {port} on: the others need other rights").format(port=PRIVILEGED)
        yield Finding((*steps, "most"), text, f"{variant.least}–{variant.most}")


def fault_findings(variant: FaultVariant, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield faults that the file has not, twice, or of another difficulty than the first."""
    known = {fault.id: fault.difficulty for fault in parts.faults.values()}
    for place, name in enumerate(variant.values):
        way = (*steps, "values", place)
        if name not in known and parts.whole:  # else it may be one that is not well formed
            text = _("a fault of this file ({names})").format(names=listing(known) or _("none"))
            yield Finding(way, text, quoted(name), nearest(name, known))
        elif name in variant.values[:place]:
            yield Finding(way, _("each fault once"), quoted(name))
        elif name in known and known[name] != known.get(variant.values[0], known[name]):
            text = _("a fault of difficulty {level}, as the first").format(level=known[variant.values[0]])
            yield Finding(way, text, _("{name} of difficulty {level}").format(name=quoted(name), level=known[name]))


def name_findings(variant: NamedVariant, steps: Steps) -> Iterator[Finding]:
    """Yield names to draw from that are given in two ways or in none, twice, or in another shape than the default."""
    if bool(variant.values) == (variant.pattern is not None):
        found = _("both") if variant.values else _("neither")
        yield Finding(steps, _("either the key values or the key pattern"), found, at_key=True)
    for place, value in enumerate(variant.values):
        if value in variant.values[:place]:
            yield Finding((*steps, "values", place), _("each value once"), quoted(value))
    if isinstance(variant, DomainVariant):
        ways: list[tuple[Steps, str]] = [(("values", place), value) for place, value in enumerate(variant.values)]
        ways += [(("pattern",), variant.pattern)] if variant.pattern else []
        parts = variant.default.count(".") + 1
        for way, value in ways:
            if value.count(".") + 1 != parts:
                text = _("a domain of {count} parts, as the default").format(count=parts)
                yield Finding((*steps, *way), text, quoted(value))


def space_findings(variant: AnyVariant, steps: Steps, space: Space) -> Iterator[Finding]:
    """Yield a space in which nothing can vary, a default that may not be drawn, and patterns of wrong names."""
    if space.size < LEAST_VALUES:
        text = _("at least two values that may be drawn")
        yield Finding(steps, text, str(space.size), at_key=True)
        return
    pattern = getattr(variant, "pattern", None)
    fitting = FITTING.get(variant.type, "")
    if pattern and not all(re.fullmatch(fitting, str(value)) for value in (space.pick(0), space.pick(space.raw - 1))):
        yield Finding((*steps, "pattern"), _(PATTERNS[fitting]), quoted(str(space.pick(0))))
    if not isinstance(variant, FaultVariant) and variant.default in variant.prohibited:
        yield Finding((*steps, "default"), _("a value that is not prohibited"), quoted(str(variant.default)))
