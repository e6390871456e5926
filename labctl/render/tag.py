"""Our metadata as XML: the tag of a libvirt object to its element, and back."""

from dataclasses import asdict, replace
from xml.etree import ElementTree

from labctl.plan.observed import Tag

NAMESPACE = "urn:labctl:object:1"
PREFIX = "labctl"


def render_tag(tag: Tag) -> str:
    """Return the element that stands inside <metadata>."""
    from xml.sax.saxutils import quoteattr  # imports urllib.request, which those who only look do not need

    attributes = " ".join(f"{key}={quoteattr(value)}" for key, value in tag_attributes(tag).items())
    return f'<{PREFIX}:object xmlns:{PREFIX}="{NAMESPACE}" {attributes}/>'


def tag_attributes(tag: Tag) -> dict[str, str]:
    """Return the attributes of the element; that of a lab in its own seat is as it was before seats were lent."""
    return {key: value for key, value in asdict(tag).items() if value or key != "seat"}


def parse_tag(document: str) -> Tag | None:
    """Return the tag in a domain's or network's XML, None where there is none of ours or it is incomplete.

    The XML comes from libvirt, which has parsed it already.
    """
    found = ElementTree.fromstring(document).find(f".//{{{NAMESPACE}}}object")
    if found is None:
        return None
    try:
        return Tag(**found.attrib)
    except TypeError:
        return None


def unconfigured(tag: Tag) -> Tag:
    """Return the tag of a machine that Ansible has not finished yet."""
    return replace(tag, configured="")
