"""The drawing of a lab to an SVG for a page: no script, no colour of its own, each machine a link to its row."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from markupsafe import Markup

from labctl.language import _
from labctl.portal.signs import node_sign
from labctl.worker.answers import Drawing, NodeLine

SVG = "{http://www.w3.org/2000/svg}"
LARGEST = 512 << 10  # characters
# What Graphviz draws with. Everything else is left out, and so are colours and fonts: those of the page count.
KEPT = {
    "g": {"transform"}, "path": {"d"}, "polygon": {"points"}, "polyline": {"points"},
    "ellipse": {"cx", "cy", "rx", "ry"}, "text": {"x", "y", "text-anchor", "font-size"},
}  # fmt: skip


def show_drawing(drawing: Drawing, nodes: Mapping[str, NodeLine]) -> Markup | None:
    """Return the drawing as markup, None for one that cannot be read; the table beside it says the same."""
    if len(drawing.svg) > LARGEST or "<!ENTITY" in drawing.svg:
        return None
    try:
        found = ET.fromstring(drawing.svg)
    except ET.ParseError:
        return None
    if found.tag != f"{SVG}svg" or not is_box(found.get("viewBox", "")):
        return None
    made = ET.Element("svg", {
        "viewBox": found.get("viewBox", ""), "width": width_of(found), "role": "group",
        "aria-label": _("Drawing of the lab; the table says the same"),
    })  # fmt: skip
    names = {f"node-{name}": name for name in drawing.nodes}
    for child in found:
        copy_into(made, child, names, nodes)
    return Markup(ET.tostring(made, encoding="unicode"))  # noqa: S704  built from the elements above alone


def is_box(text: str) -> bool:
    """Return whether a text is four numbers."""
    parts = text.split()
    return len(parts) == 4 and all(part.lstrip("-").replace(".", "", 1).isdecimal() for part in parts)  # noqa: PLR2004


def width_of(svg: ET.Element) -> str:
    """Return how wide the drawing is at most, in pixels: points of Graphviz are a third larger."""
    width = float(svg.get("viewBox", "0 0 0 0").split()[2])
    return f"{width * 4 / 3:.0f}"


def copy_into(parent: ET.Element, source: ET.Element, names: Mapping[str, str], nodes: Mapping[str, NodeLine]) -> None:
    """Copy an element that is known, with what is in it."""
    tag = source.tag.removeprefix(SVG) if isinstance(source.tag, str) else ""
    if tag not in KEPT:
        return
    if is_background(source, parent):
        return
    kept = {name: value for name, value in source.attrib.items() if name in KEPT[tag]}
    name = names.get(source.get("id", ""))
    if name is not None:
        made = ET.SubElement(parent, "a", {"href": f"#machine-{name}", **describe(name, source, nodes.get(name))})
    else:
        made = ET.SubElement(parent, tag, kept)
        if tag == "g" and (kind := kind_of(source)):
            made.set("class", kind)
    if tag == "text":
        made.text, made.tail = source.text, " "  # else the lines of a machine would be read as one word
    for child in source:
        copy_into(made, child, names, nodes)


def describe(name: str, source: ET.Element, node: NodeLine | None) -> dict[str, str]:
    """Return the name and the class of a machine's link; the name has all that is read in it (WCAG 2.1, 2.5.3)."""
    shown = " ".join(text.text for text in source.iter(f"{SVG}text") if text.text) or name
    if node is None:
        return {"class": "node", "aria-label": shown}
    return {"class": f"node {node_sign(node.state).tone}", "aria-label": f"{shown}, {node.words}"}


def is_background(source: ET.Element, parent: ET.Element) -> bool:
    """Return whether this is the sheet that Graphviz draws on: the first polygon of the whole graph."""
    return source.tag == f"{SVG}polygon" and parent.get("class") == "graph"


def kind_of(source: ET.Element) -> str:
    """Return what a group draws."""
    return {"node": "net", "edge": "edge", "graph": "graph"}.get(source.get("class", ""), "")
