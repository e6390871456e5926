"""YAML text to plain data and the place of each key and value in it, without anything that YAML can hide.

The parser's events are taken one by one, not its finished data, so that anchors, tags and duplicate
keys are all found in one run and an alias is never followed.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)  # fmt: skip

from labctl.language import _
from labctl.topology.problems import Finding, Mark, Problem, ProblemsFound, Steps, quoted
from labctl.topology.syntax import explain_syntax
from labctl.topology.text import FORBIDDEN_IN_VALUE, Source, hidden_character, read_source, refuse

DEEPEST = 20  # levels of mappings and lists
INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)


@dataclass(frozen=True)
class Place:
    """Where a value starts, and its key if it has one."""

    value: Mark
    key: Mark | None = None


@dataclass
class Tree:
    """The plain data of a file and the place of each value.

    `unread` are the ways to values that could not be taken over: later findings about them would mislead.
    """

    source: Source
    data: JsonValue = None
    places: dict[Steps, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Steps] = field(default_factory=set)
    found: set[tuple[Steps, bool]] = field(default_factory=set)
    settled: frozenset[tuple[Steps, bool]] = frozenset()

    def copy(self) -> "Tree":
        """Return the same tree, to find other problems of the same data."""
        return replace(self, problems=list(self.problems), unread=set(self.unread), found=set(self.found))

    def find(self, finding: Finding) -> None:
        """Add a finding as a problem, unless it is about something that could not be read anyway."""
        if any(finding.steps[:length] in self.unread for length in range(len(finding.steps) + 1)):
            return
        if (finding.steps, finding.at_key) in self.settled:
            return
        self.found.add((finding.steps, finding.at_key))
        self.problems.append(self.source.problem(self.mark(finding), finding))

    def settle(self) -> None:
        """Let later findings be silent about the values that have a problem already."""
        self.settled = frozenset(self.found)

    def mark(self, finding: Finding) -> Mark:
        """Return where a finding points: its value or key, or what surrounds it if that is missing."""
        for length in range(len(finding.steps), -1, -1):
            place = self.places.get(finding.steps[:length])
            if place:
                outside = length < len(finding.steps)
                return place.key if place.key and (finding.at_key or outside) else place.value
        return Mark(1, 1)


def read_tree(path: Path) -> Tree:
    """Read a YAML file; `problems` of the tree are those of the YAML, not of its meaning.

    Raises ProblemsFound where nothing can be said about the meaning: unreadable, empty, or broken syntax.
    """
    tree = Tree(read_source(path))
    reader = _Reader(tree)
    try:
        reader.read()
    except YAMLError as exc:
        mark, finding = reader.unclosed or explain_syntax(exc, tree.source.lines)
        tree.problems.append(tree.source.problem(mark, finding))
        raise ProblemsFound(tree.problems) from exc
    return tree


class _Reader:
    """Takes the parser's events of one document into a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.unclosed: tuple[Mark, Finding] | None = None
        self.events: Iterator[Event] = YAML(typ="safe", pure=True).parse(tree.source.text)

    def read(self) -> None:
        """Read the first document; a second one is a problem."""
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                if event.version and tuple(event.version) != (1, 2):
                    self.add(mark_of(event), Finding((), _("YAML 1.2"), _("another version")))
                break
            if isinstance(event, StreamEndEvent):
                raise refuse(self.tree.source.path, _("a mapping"), _("an empty file"))
        self.tree.data = self.value(next(self.events), (), None, self.tree.places)
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                self.add(mark_of(event), Finding((), _("one document in the file"), _("a second one")))
                return

    def value(self, event: Event, steps: Steps, key: Mark | None, places: dict[Steps, Place]) -> JsonValue:
        """Return the value that starts with this event, and note in `places` where it stands."""
        mark = mark_of(event)
        empty = isinstance(event, ScalarEvent) and event.style is None and not event.value
        places[steps] = Place(key if empty and key else mark, key)
        self.refuse_extras(event, steps)
        if isinstance(event, AliasEvent):
            self.tree.unread.add(steps)
            return None
        if isinstance(event, CollectionStartEvent) and len(steps) >= DEEPEST:
            text = _("at most {depth} levels of nesting").format(depth=DEEPEST)
            raise ProblemsFound([*self.tree.problems, self.tree.source.problem(mark, Finding((), text))])
        if isinstance(event, MappingStartEvent):
            return self.mapping(steps, places)
        if isinstance(event, CollectionStartEvent):
            return self.sequence(steps, places)
        return self.scalar(event, steps) if isinstance(event, ScalarEvent) else None

    def mapping(self, steps: Steps, places: dict[Steps, Place]) -> JsonValue:
        """Return the mapping whose start was just read."""
        found: dict[str, JsonValue] = {}
        for event in self.events:
            if isinstance(event, MappingEndEvent):
                break
            key = self.key(event, steps, found, places)
            if key is None:
                self.value(next(self.events), (*steps, "?"), mark_of(event), {})
            else:
                found[key] = self.value(next(self.events), (*steps, key), mark_of(event), places)
        return found

    def key(self, event: Event, steps: Steps, found: dict[str, JsonValue], places: dict[Steps, Place]) -> str | None:
        """Return the key of a mapping, None where it must not be taken over."""
        mark = mark_of(event)
        if not isinstance(event, ScalarEvent):
            kind = _("an alias") if isinstance(event, AliasEvent) else _("a mapping or list")
            self.add(mark, Finding(steps, _("a name as the key"), kind))
            self.value(event, (*steps, "?"), None, {})
            return None
        self.refuse_extras(event, steps)
        key = str(event.value)
        hidden = FORBIDDEN_IN_VALUE.search(key)
        if hidden:
            self.add(mark, hidden_character(steps, hidden.group()))
            return None
        if key in found:
            first = places[*steps, key].key or mark
            text = _("{key} again, first in line {line}").format(key=quoted(key), line=first.line)
            self.add(mark, Finding((*steps, key), _("each key once"), text))
            return None
        return key

    def sequence(self, steps: Steps, places: dict[Steps, Place]) -> JsonValue:
        """Return the list whose start was just read."""
        found: list[JsonValue] = []
        for event in self.events:
            if isinstance(event, SequenceEndEvent):
                break
            found.append(self.value(event, (*steps, len(found)), None, places))
        return found

    def scalar(self, event: ScalarEvent, steps: Steps) -> JsonValue:
        """Return a text, or what a plain one means by the core schema of YAML 1.2."""
        text = str(event.value)
        if event.style in ("'", '"') and event.end_mark.line > event.start_mark.line:
            # Legal, but if the syntax breaks soon after, a quote was forgotten here.
            self.unclosed = mark_of(event), Finding((), _("a closing quote"), _("a quoted text of several lines"))
        hidden = FORBIDDEN_IN_VALUE.search(text)
        if hidden:
            self.add(mark_of(event), hidden_character(steps, hidden.group()))
            self.tree.unread.add(steps)
            return None
        return plain_value(text) if event.style is None else text

    def refuse_extras(self, event: Event, steps: Steps) -> None:
        """Add a problem for an alias, an anchor or a tag: a topology says everything where it stands."""
        if not isinstance(event, NodeEvent):
            return
        if isinstance(event, AliasEvent):
            found = _("the alias {name}").format(name=quoted(f"*{event.anchor}"))
            self.add(mark_of(event), Finding(steps, _("the value written out"), found))
        elif event.anchor is not None:
            found = _("the anchor {name}").format(name=quoted(f"&{event.anchor}"))
            self.add(mark_of(event), Finding(steps, _("a value without an anchor"), found))
        tag = getattr(event, "ctag", None)
        if tag is not None:
            name = str(tag).replace("tag:yaml.org,2002:", "!!", 1)
            found = _("the tag {name}").format(name=quoted(name))
            self.add(mark_of(event), Finding(steps, _("a value without a tag"), found))

    def add(self, mark: Mark, finding: Finding) -> None:
        """Add a problem of the YAML itself at a place of its own."""
        self.tree.problems.append(self.tree.source.problem(mark, finding))


def mark_of(event: Event) -> Mark:
    """Return where an event starts."""
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def plain_value(text: str) -> JsonValue:
    """Return what an unquoted text means by the core schema of YAML 1.2: no dates, no base 60, no yes and no."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
