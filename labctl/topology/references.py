"""References to variants in a topology's plain data to their values, in the few places where a value may differ.

`${variant.NAME}` stands for the value of a variant. It is no template: a name and at most one fixed form of its
value, replaced once, in data that the author of the topology wrote; nothing that a guest says comes by here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from pydantic import JsonValue

from labctl.language import _
from labctl.topology.problems import Finding, Step, Steps, listing, nearest, quoted
from labctl.topology.variants import AnyVariant, FaultVariant, Value

# Whatever looks as if it were meant: `${variants.x}` and `${variant.x` too. Shell variables have no dot.
MEANT = re.compile(r"\$\{\s*variants?\b[^}\n]{0,80}\}?")
REFERENCE = re.compile(r"\$\{variant\.([a-z][a-z0-9_]{0,30})(?:\.([a-z]{1,20}))?\}")
ANY = "*"  # a step that may be any key or position
# Where clones of one golden lab may differ: what Ansible writes on a running machine, what checks ask, what people
# read. Cards, addresses, names and sizes of machines are in the memory that all clones share.
Places = tuple[tuple[str, ...], ...]
PLACES: Places = (
    ("title",), ("description",), ("nodes", ANY, "services"), ("nodes", ANY, "description"),
    ("networks", ANY, "description"), ("checks", ANY, "title"), ("checks", ANY, "probe"), ("checks", ANY, "pass"),
    ("checks", ANY, "fail"), ("checks", ANY, "hints"), ("faults", ANY, "title"), ("faults", ANY, "ticket"),
    ("faults", ANY, "inject"), ("faults", ANY, "detect"), ("faults", ANY, "cure"),
)  # fmt: skip
# The forms that a value may be written in, by the type of the variant.
FORMS: Mapping[str, tuple[str, ...]] = {"address": ("reverse",), "network": ("address", "netmask"), "port": ("text",)}


@dataclass
class Resolution:
    """The data with values for references, what is wrong with some, and the ways to texts that have no value."""

    data: JsonValue = None
    findings: list[Finding] = field(default_factory=list)
    unread: set[Steps] = field(default_factory=set)
    used: set[str] = field(default_factory=set)


def resolve(
    data: JsonValue, declared: Mapping[str, AnyVariant | None], values: Mapping[str, Value], places: Places = PLACES
) -> Resolution:
    """Return a file's data with the values given in the place of references, which may stand in some places only.

    `declared` are the variants by name, None for one that is not well formed: what refers to it is left unread.
    """
    found = Resolution()
    found.data = Resolver(declared, values, found, places).walk(data, ())
    return found


@dataclass(frozen=True)
class Resolver:
    """Goes through plain data once."""

    declared: Mapping[str, AnyVariant | None]
    values: Mapping[str, Value]
    found: Resolution
    places: Places

    def walk(self, data: JsonValue, steps: Steps) -> JsonValue:
        """Return the data below a way with values for references."""
        if isinstance(data, dict):
            for key in data:
                if MEANT.search(key):
                    text = _("a key that is the same for everybody")
                    self.found.findings.append(Finding((*steps, key), text, quoted(key), at_key=True))
            return {key: self.walk(value, (*steps, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self.walk(value, (*steps, place)) for place, value in enumerate(data)]
        return self.text(data, steps) if isinstance(data, str) and "${" in data else data

    def text(self, text: str, steps: Steps) -> JsonValue:
        """Return one text with values; a text that is nothing but a reference becomes the value, of its type."""
        meant = list(MEANT.finditer(text))
        problems = [problem for match in meant for problem in self.problems(match[0], steps)]
        if problems or any(self.is_unknown(match[0]) for match in meant):
            self.found.findings.extend(problems[:1])  # one for a text: all stand at its start
            self.found.unread.add(steps)
            return text
        whole = REFERENCE.fullmatch(text)
        if whole:
            return self.value(whole)
        return REFERENCE.sub(lambda match: str(self.value(match)), text)

    def value(self, match: re.Match[str]) -> Value:
        """Return the value that a reference stands for, in its form."""
        self.found.used.add(match[1])
        return formed(self.values[match[1]], match[2] or "")

    def is_unknown(self, word: str) -> bool:
        """Return whether a reference is to a variant that is declared wrongly: that is said there."""
        match = REFERENCE.fullmatch(word)
        if match is None or self.declared.get(match[1]) is not None:
            return False
        self.found.used.add(match[1])
        return True

    def problems(self, word: str, steps: Steps) -> Iterator[Finding]:
        """Yield what is wrong with one reference."""
        match = REFERENCE.fullmatch(word)
        if match is None:
            yield Finding(steps, _("a reference such as {example}").format(example="${variant.name}"), quoted(word))
        elif not any(starts(steps, place) for place in self.places):
            text = _("a value that is the same for everybody: only services, checks, faults and texts may vary")
            self.found.used.add(match[1])
            yield Finding(steps, text, quoted(word))
        elif match[1] not in self.declared:
            text = _("a variant of this file ({names})").format(names=listing(self.declared) or _("none"))
            yield Finding(steps, text, quoted(match[1]), nearest(match[1], self.declared))
        else:
            yield from self.form_problems(match, steps)

    def form_problems(self, match: re.Match[str], steps: Steps) -> Iterator[Finding]:
        """Yield a form that the variant has not, and a reference to what is to be found out."""
        variant = self.declared[match[1]]
        if isinstance(variant, FaultVariant):
            yield Finding(steps, _("no reference to a drawn fault: it would tell the answer"), quoted(match[0]))
        elif variant is not None and match[2]:
            forms = FORMS.get(variant.type, ())
            if match[2] not in forms:
                text = _("a form of the {type} ({names})").format(type=variant.type, names=listing(forms) or _("none"))
                yield Finding(steps, text, quoted(match[2]), nearest(match[2], forms))


def formed(value: Value, form: str) -> Value:
    """Return a value in a form: `reverse` is the name of its PTR record, `text` a number as a text."""
    if form == "reverse":
        return IPv4Address(value).reverse_pointer
    if form == "netmask":
        return str(IPv4Network(value).netmask)
    if form == "address":
        return str(IPv4Network(value).network_address)
    return str(value) if form == "text" else value


def starts(steps: Steps, place: tuple[str, ...]) -> bool:
    """Return whether a way begins like a place."""
    return len(steps) >= len(place) and all(fits(step, one) for step, one in zip(steps, place, strict=False))


def fits(step: Step, pattern: str) -> bool:
    """Return whether a step is what a place has there."""
    return pattern in {ANY, step}
