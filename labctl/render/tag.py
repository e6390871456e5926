"""Our metadata as XML: the tag of a libvirt object to its element, and back."""

from collections.abc import Mapping
from dataclasses import fields, replace
from xml.etree import ElementTree

from labctl.plan.observed import Tag

NAMESPACE = "urn:labctl:object:1"
PREFIX = "labctl"
KNOWN = frozenset(field.name for field in fields(Tag))
LATER = frozenset({"seat", "answers"})  # words that tags did not have at first


def render_tag(tag: Tag) -> str:
    """Return the element that stands inside <metadata>."""
    from xml.sax.saxutils import quoteattr  # imports urllib.request, which those who only look do not need

    attributes = " ".join(f"{key}={quoteattr(value)}" for key, value in tag_attributes(tag).items())
    return f'<{PREFIX}:object xmlns:{PREFIX}="{NAMESPACE}" {attributes}/>'


def tag_attributes(tag: Tag) -> dict[str, str]:
    """Return the attributes of the element; where they say nothing new, it is as it was before there were these words.

    A label that was written without a word is read as if it were empty, and a word of a later version is passed over.
    """
    return {key: value for key, value in vars(tag).items() if value or key not in LATER}


def parse_tag(document: str) -> Tag | None:
    """Return the tag in a domain's or network's XML, None where there is none of ours or it is incomplete.

    The XML comes from libvirt, which has parsed it already.
    """
    return find_tag(ElementTree.fromstring(document))


def find_tag(root: ElementTree.Element) -> Tag | None:
    """Return the tag in a domain's or network's description, None where there is none of ours or it is incomplete."""
    found = root.find(f"metadata/{{{NAMESPACE}}}object")
    return None if found is None else read_tag(found.attrib)


def read_tag(attributes: Mapping[str, str]) -> Tag | None:
    """Return the tag that an element's attributes say, None where one is missing."""
    try:
        return Tag(**{key: value for key, value in attributes.items() if key in KNOWN})
    except TypeError:
        return None


def unconfigured(tag: Tag) -> Tag:
    """Return the tag of a machine that Ansible has not finished yet."""
    return replace(tag, configured="")
