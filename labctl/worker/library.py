"""The topologies of labs, each read once for all labs that have the same, with their texts and drawings."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from labctl.lab.own_values import FILE as OWN_VALUES
from labctl.lab.source import load_source
from labctl.lab.workplace import Workplace
from labctl.language import _, current_language
from labctl.program import run
from labctl.render.drawing import draw_dot, draw_text
from labctl.shipped import shipped_folder
from labctl.topology.load import shipped_topologies
from labctl.topology.model import Interface, Internet, Topology
from labctl.worker.answers import Drawing, Statement

KEPT = 400  # topologies and drawings; a class of own values has one of each per student
DRAWING_SECONDS = 20.0
MARKS = re.compile(r"([\\`*_\[\]<>|#])")
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
T = TypeVar("T")


@dataclass(frozen=True)
class Library:
    """Reads topologies of one installation for many threads."""

    place: Workplace
    kept: dict[tuple[str, ...], object] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """Return what was made for a key before, else make it; the oldest goes where there are very many."""
        with self.lock:
            if key in self.kept:
                found: T = self.kept[key]  # type: ignore[assignment]  # a key's first word tells its type
                return found
        made = make()
        with self.lock:
            self.kept[key] = made
            while len(self.kept) > KEPT:
                del self.kept[next(iter(self.kept))]
        return made

    def mark(self, lab: str) -> str:
        """Return what tells the topology of a lab, with its owner's values, from another one. Raises LabctlError."""
        folders = self.place.folders(lab)
        try:
            content = folders.topology.read_bytes()
        except OSError:
            self.place.load_template(lab)  # raises, and says why
            raise
        own = folders.top / OWN_VALUES
        return sha256(content + (own.read_bytes() if own.exists() else b"")).hexdigest()

    def topology(self, lab: str) -> Topology:
        """Return the topology of a lab with its owner's values. Raises LabctlError."""
        return self.keep(("topology", self.mark(lab)), lambda: self.place.load_lab(lab))

    def titles(self) -> dict[str, str]:
        """Return the titles of the shipped topologies by name, in the reader's language."""
        language = current_language()
        names = shipped_topologies(shipped_folder("topologies"))
        return {
            name: self.keep(("title", name, language), lambda name=name: load_source(name)[2].title.pick(language))  # type: ignore[misc]
            for name in names
        }

    def drawing(self, lab: str) -> Drawing:
        """Return the drawing of a lab."""
        language = current_language()
        return self.keep(("drawing", self.mark(lab), language), lambda: draw(self.topology(lab), language))

    def statement(self, lab: str) -> Statement:
        """Return what students are asked to do in a lab."""
        language = current_language()
        return self.keep(("statement", self.mark(lab), language), lambda: write_statement(self.topology(lab), language))


def draw(topology: Topology, language: str) -> Drawing:
    """Return the drawing of a topology."""
    picture = run(["dot", "-Tsvg"], stdin=draw_dot(topology, language), timeout=DRAWING_SECONDS).stdout
    svg = picture[max(0, picture.find("<svg")) :]  # without the prolog, which has no place inside a page
    svg = COMMENT.sub("", svg).replace("&#45;", "-")  # Graphviz escapes dashes for the sake of its comments
    return Drawing(svg=svg, text=draw_text(topology, language), nodes=tuple(topology.nodes))


def write_statement(topology: Topology, language: str) -> Statement:
    """Return the text of a topology for students: what it is about, its machines and networks, what must work."""
    title = topology.title.pick(language)
    lines = [f"# {plain(title)}", "", topology.description.pick(language).strip(), "", f"## {_('Machines')}", ""]
    headings = (_("Machine"), _("What it is for"), _("Services"), _("Addresses"))
    lines += [f"| {' | '.join(headings)} |", "| --- | --- | --- | --- |"]
    for name, node in topology.nodes.items():
        about = plain(node.description.pick(language)) if node.description else ""
        addresses = ", ".join(describe_interface(key, one) for key, one in node.interfaces.items())
        lines.append(f"| `{name}` | {about} | {', '.join(f'`{one}`' for one in node.services)} | {addresses} |")
    lines += ["", f"## {_('Networks')}", ""]
    for name, network in topology.networks.items():
        detail = _("way out by NAT") if isinstance(network, Internet) else f"`{network.cidr}`"
        about = f" — {plain(network.description.pick(language))}" if network.description else ""
        lines.append(f"- `{name}`: {detail}{about}")
    if topology.checks:
        lines += ["", f"## {_('What must work in the end')}", ""]
        lines += [f"- {plain(check.title.pick(language))}" for check in topology.checks]
    return Statement(title=title, markdown="\n".join(lines) + "\n")


def plain(text: str) -> str:
    """Return a text of one line that Markdown leaves as it is."""
    return MARKS.sub(r"\\\1", " ".join(text.split()))


def describe_interface(name: str, interface: Interface) -> str:
    """Return a network card with its address."""
    return f"{name} ({interface.network}): {interface.address}"
