"""A topology to a draft of the attestation of annex II.E: what serves each element, and what nothing serves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from labctl.language import translations
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Node, Segment, Topology

DATA = Path(__file__).with_suffix(".yml")
FIREWALL = "router_firewall"
TWO = 2  # servers, systems, perimeters: what the annex asks for


class Closed(BaseModel):
    """Data whose keys are ours: a typo must not pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(StrEnum):
    """What more than one fact decides."""

    SYSTEMS = "systems"
    TERMINALS = "terminals"
    PERIMETERS = "perimeters"


class ServedBy(Closed):
    """What serves an element: a service (on a node with a card on a `network` of a kind), a package, a port, a rule."""

    service: str = ""
    network: str = ""
    package: str = ""
    port: int = 0
    rule: Rule | None = None


class Element(Closed):
    """One line of the annex, in its own words."""

    text: str
    served_by: tuple[ServedBy, ...]


class Part(Closed):
    """Some elements under one introduction; `status` says how well the wording is attested."""

    id: str
    status: str
    intro: str
    elements: tuple[Element, ...] = Field(min_length=1)

    @property
    def verified(self) -> bool:
        """Return whether the wording may be taken for the official one."""
        return self.status != "unverified"


class System(Closed):
    """An operating system; `free` is whether it is free software."""

    name: str
    free: bool


class Text(Closed):
    """The annex: its words, and what can serve each element."""

    title: str
    source: str
    columns: tuple[str, str, str]
    remark: str
    systems: Mapping[str, System]
    terminals: tuple[str, ...]
    parts: tuple[Part, ...]


class Cover(StrEnum):
    """How much of an element the lab serves."""

    SERVED = "served"
    PARTLY = "partly"
    NOT = "not"


@dataclass(frozen=True)
class Draft:
    """One element with the draft of its description, a line for each fact; empty where nothing serves it.

    `lacks` says what is missing where the lab serves only a part.
    """

    text: str
    cover: Cover
    facts: tuple[str, ...]
    lacks: str = ""


@dataclass(frozen=True)
class DraftPart:
    """The drafts of one part."""

    intro: str
    verified: bool
    drafts: tuple[Draft, ...]


@dataclass(frozen=True)
class Annex:
    """The whole draft for one topology. What comes from the annex is French; the facts are in `language`."""

    language: str
    topology: str
    version: str
    title: str
    text: Text
    parts: tuple[DraftPart, ...]


@cache
def load_annex() -> Text:
    """Return the annex as it is shipped."""
    return Text.model_validate(YAML(typ="safe", pure=True).load(DATA))


def make_annex(topology: Topology, catalogue: Catalogue, language: str) -> Annex:
    """Return the draft for a topology; nothing is said but what the topology holds."""
    text, drafter = load_annex(), Drafter(topology, catalogue, language)
    parts = tuple(
        DraftPart(part.intro, part.verified, tuple(drafter.draft(element) for element in part.elements))
        for part in text.parts
    )
    return Annex(language, topology.name, topology.version, topology.title.pick(language), text, parts)


@dataclass(frozen=True)
class Drafter:
    """Finds in one topology what serves an element."""

    topology: Topology
    catalogue: Catalogue
    language: str

    def draft(self, element: Element) -> Draft:
        """Return the draft of one element."""
        found = [self.serve(way) for way in element.served_by]
        facts = tuple(dict.fromkeys(fact for part in found for fact in part.facts))
        lacks = " ".join(part.lacks for part in found if part.facts and part.lacks)
        if not facts:
            return Draft(element.text, Cover.NOT, ())
        return Draft(element.text, Cover.PARTLY if lacks else Cover.SERVED, facts, lacks)

    def serve(self, way: ServedBy) -> Draft:
        """Return what one way finds, without the words of the element."""
        match way.rule:
            case Rule.SYSTEMS:
                return self.find_systems()
            case Rule.TERMINALS:
                return self.find_terminals()
            case Rule.PERIMETERS:
                facts = tuple(self.find_perimeters())
            case None:
                facts = tuple(self.find_facts(way))
        return Draft("", Cover.SERVED, facts)

    def find_facts(self, way: ServedBy) -> Iterator[str]:
        """Yield the nodes with a service or a package, and the checks that a port opens."""
        gettext = translations(self.language).gettext
        for name, node in self.topology.nodes.items():
            for service in node.services:
                known = self.catalogue.services[service]
                if service == way.service and (not way.network or self.is_on(node, way.network)):
                    yield f"{self.place(name, node)} – {known.title.pick(self.language)}"
                elif way.package and way.package in known.packages_for(node.image):
                    yield f"{self.place(name, node)} – {way.package}"
        for check in self.topology.checks:
            if check.probe.type == "tcp" and check.probe.port == way.port and not check.negative:
                text = gettext("{title} (check {id}, port {port})")
                yield text.format(title=check.title.pick(self.language), id=check.id, port=way.port)

    def find_systems(self) -> Draft:
        """Return the servers by system; two systems are asked for, one of them free."""
        gettext = translations(self.language).gettext
        text = load_annex()
        servers = {
            name: node.image for name, node in self.topology.nodes.items() if {*node.services} - {*text.terminals}
        }
        families = dict.fromkeys(image.partition("-")[0] for image in servers.values())
        known = {family: text.systems.get(family, System(name=family, free=False)) for family in families}
        free = gettext("{system}, free software")
        facts = tuple(
            f"{', '.join(name for name, image in servers.items() if image.partition('-')[0] == family)} – "
            + (free.format(system=system.name) if system.free else system.name)
            for family, system in known.items()
        )
        missing = []
        if len(servers) < TWO:
            missing.append(gettext("There is only one server in this lab."))
        if len(families) < TWO:
            missing.append(gettext("No server of this lab runs another operating system."))
        if not any(system.free for system in known.values()):
            missing.append(gettext("No system of this lab is known as free software."))
        return Draft("", Cover.SERVED, facts, " ".join(missing))

    def find_terminals(self) -> Draft:
        """Return the client machines. A mobile terminal is real equipment, which a topology cannot hold."""
        gettext = translations(self.language).gettext
        terminals = load_annex().terminals
        facts = tuple(
            f"{self.place(name, node)} – {self.catalogue.services[service].title.pick(self.language)}"
            for name, node in self.topology.nodes.items()
            for service in node.services
            if service in terminals
        )
        return Draft("", Cover.SERVED, facts, gettext("There is no mobile terminal in this lab: it is real equipment."))

    def find_perimeters(self) -> Iterator[str]:
        """Yield the firewalls that stand between two networks or more."""
        gettext = translations(self.language).gettext
        for name, node in self.topology.nodes.items():
            networks = dict.fromkeys(card.network for card in node.interfaces.values())
            inside = [network for network in networks if isinstance(self.topology.networks[network], Segment)]
            if FIREWALL in node.services and len(inside) >= TWO:
                text = gettext("{node} separates {networks}")
                yield text.format(node=self.place(name, node), networks=", ".join(networks))

    def is_on(self, node: Node, kind: str) -> bool:
        """Return whether a node has a card on a network of a kind."""
        return any(self.topology.networks[card.network].kind == kind for card in node.interfaces.values())

    def place(self, name: str, node: Node) -> str:
        """Return which node something is on, with its system and its fixed addresses."""
        addresses = [str(card.address) for card in node.interfaces.values() if card.address not in {"dhcp", "none"}]
        return f"{name} ({', '.join([node.image, *addresses])})"
