"""Turns the domain XML inside a golden node's saved state into that of a clone: the same machine under another name.

What the memory knows stays (MAC addresses, PCI addresses, aliases, machine type, processor); what
names a thing of the host becomes the clone's own. Format: https://libvirt.org/formatdomain.html
"""

import re
from collections.abc import Iterator, Mapping
from uuid import UUID, uuid5
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from labctl.errors import LabctlError
from labctl.language import _
from labctl.plan.model import Folders, PlannedInterface, PlannedNetwork, PlannedNode
from labctl.plan.names import disk_file
from labctl.render.tag import NAMESPACE, PREFIX, render_tag
from labctl.render.xml import TRANSLATED_OF_CLONE

TAG = f"{{{NAMESPACE}}}object"
DISKS = "./devices/disk[@device='disk']"
ALIAS = "ua-"  # starts the aliases that a description may choose; domain.xml.j2 puts the interface's name behind it

ElementTree.register_namespace(PREFIX, NAMESPACE)


class OtherDisks(LabctlError):
    """A machine was saved with other disks than it is to have: it can be made on its disk, not from its memory."""


def clone_domain(saved_xml: str, node: PlannedNode, networks: Mapping[str, PlannedNetwork], folders: Folders) -> str:
    """Return the domain XML of a clone. `networks` is by member name, `folders` are the clone's lab's.

    Raises LabctlError where the saved machine is not the one that `node` describes, or where something
    of the golden lab would be left in the result.
    """
    root = ElementTree.fromstring(saved_xml)
    golden = foreign_words(root)
    rename(root, node)
    for cache in root.iterfind("./features/tcg/tb-cache"):
        cache.text, cache.attrib["unit"] = str(TRANSLATED_OF_CLONE), "MiB"
    for interface in root.iterfind("./devices/interface"):
        connect(interface, node, networks)
    give_files(root, node, folders)
    drop_traces(root)
    for word, place in remains(root, golden - own_words(node, networks, folders)):
        raise unlike(node, _('"{word}" of the golden lab is left in its <{place}>').format(word=word, place=place))
    return ElementTree.tostring(root, encoding="unicode")


def foreign_words(root: Element) -> frozenset[str]:
    """Return what must not stand anywhere in a clone: name, UUID, genid, networks and files of the saved machine."""
    words = {root.findtext("name", ""), root.findtext("uuid", ""), root.findtext("genid", "")}
    words |= {source.get("network", "") for source in root.iterfind("./devices/interface/source")}
    words |= {source.get("file", "") for source in root.iterfind("./devices/disk//source")}
    words |= {log.get("file", "") for log in root.iterfind("./devices/*/log")}
    words |= {entry.get("file", "") for entry in root.iterfind("./sysinfo/entry")}
    words.add(root.findtext("os/nvram", ""))
    return frozenset(words - {""})


def own_words(node: PlannedNode, networks: Mapping[str, PlannedNetwork], folders: Folders) -> frozenset[str]:
    """Return the same of the clone: a lab's checkpoint becomes that very lab again."""
    files = (
        *folders.disks(node), folders.identity(node.member), folders.serial_log(node.member),
        folders.nvram(node.member),
    )  # fmt: skip
    names = (network.name for network in networks.values())
    return frozenset({node.name, node.uuid, derive_genid(node), *names, *map(str, files)})


def derive_genid(node: PlannedNode) -> str:
    """Return a generation id. libvirt draws a fresh one at each restore, and the guest's kernel then reseeds."""
    return str(uuid5(UUID(node.uuid), "genid"))


def rename(root: Element, node: PlannedNode) -> None:
    """Give the machine its name, identities and tag."""
    only(root, node, "name").text = node.name
    only(root, node, "uuid").text = node.uuid
    genid = root.find("genid")
    if genid is not None:
        genid.text = derive_genid(node)
    metadata = only(root, node, "metadata")
    old = only(root, node, f"metadata/{TAG}")
    new = ElementTree.fromstring(render_tag(node.tag))
    new.tail = old.tail
    metadata[list(metadata).index(old)] = new


def connect(element: Element, node: PlannedNode, networks: Mapping[str, PlannedNetwork]) -> None:
    """Plug a saved network card into the clone's network; the MAC is in the guest's memory and must be the planned."""
    interface = planned_interface(element, node)
    source = element.find("source")
    if source is None or "network" not in source.attrib:
        raise unlike(node, _('its interface "{name}" is on no network of libvirt').format(name=interface.name))
    source.attrib.clear()  # port ids and bridges of the golden run
    source.set("network", networks[interface.network].name)
    for target in element.findall("target"):  # the host's end of the cable
        element.remove(target)


def planned_interface(element: Element, node: PlannedNode) -> PlannedInterface:
    """Return the planned interface of a saved network card, by its alias, else by its MAC; both must agree."""
    mac = attribute(element, "mac", "address").lower()
    alias = attribute(element, "alias", "name")
    for interface in (node.management, *node.interfaces):
        named = alias == f"{ALIAS}{interface.name}" or not alias.startswith(ALIAS)
        if interface.mac.lower() == mac and named:
            return interface
    raise unlike(node, _("it has a network card {mac} that is not planned").format(mac=mac or alias))


def give_files(root: Element, node: PlannedNode, folders: Folders) -> None:
    """Give the machine its own disks, identity and console log, and let libvirt choose the agent's socket."""
    give_disks(root, node, folders)
    for medium in root.iterfind("./devices/disk[@device='cdrom']/source[@file]"):
        medium.set("file", str(folders.identity(node.member)))
    for element in root.iterfind("./devices/disk"):
        drop(element, "backingStore")  # the overlay's chain is another: libvirt probes it
        drop(element, "mirror")
    for entry in root.iterfind("./sysinfo/entry[@file]"):
        entry.set("file", str(folders.identity(node.member)))
    for nvram in root.iterfind("./os/nvram"):
        nvram.text = str(folders.nvram(node.member))
    for log in root.iterfind("./devices/*/log[@file]"):  # serial and console share one; virtlogd wants it for itself
        log.set("file", str(folders.serial_log(node.member)))
    for channel in root.iterfind("./devices/channel[@type='unix']"):
        drop(channel, "source")


def give_disks(root: Element, node: PlannedNode, folders: Folders) -> None:
    """Give the machine its own disks, each in the place of the one with its serial number; the system's has none.

    Raises OtherDisks where they are not the planned ones.
    """
    saved = {disk: disk_file(node.member, disk.findtext("serial", "")) for disk in root.iterfind(DISKS)}
    if sorted(saved.values()) != sorted(node.disk_files):
        text = _("its disks are {saved}; planned are {planned}")
        said = text.format(saved=", ".join(saved.values()), planned=", ".join(node.disk_files))
        raise unlike(node, said, OtherDisks)
    own = {file.name: file for file in folders.disks(node)}
    for disk, name in saved.items():
        only(disk, node, "source[@file]").set("file", str(own[name]))


def drop_traces(root: Element) -> None:
    """Remove what libvirt wrote about one run: the number, labels and terminals that it gave."""
    root.attrib.pop("id", None)
    for label in root.findall("seclabel"):
        if label.get("type") == "dynamic":
            root.remove(label)
    for kind in ("serial", "console"):
        for element in root.iterfind(f"./devices/{kind}[@type='pty']"):
            element.attrib.pop("tty", None)
            drop(element, "source")


def remains(root: Element, words: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield each foreign word that is left, with the name of its element."""
    if not words:
        return
    any_of = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{any_of})(?![\w-])")
    for element in root.iter():
        for text in (element.text or "", *element.attrib.values()):
            for found in pattern.finditer(text):
                yield found[0], element.tag.rpartition("}")[2]


def only(root: Element, node: PlannedNode, path: str) -> Element:
    """Return the one element at a path."""
    found = root.findall(path)
    if len(found) != 1:
        raise unlike(node, _("it has {count} of <{path}>").format(count=len(found), path=path))
    return found[0]


def drop(element: Element, name: str) -> None:
    """Remove the children of that name."""
    for child in element.findall(name):
        element.remove(child)


def attribute(element: Element, child: str, name: str) -> str:
    """Return an attribute of a child, empty without one."""
    found = element.find(child)
    return "" if found is None else found.get(name, "")


def unlike(node: PlannedNode, reason: str, kind: type[LabctlError] = LabctlError) -> LabctlError:
    """Return the error for a saved machine that cannot become this node."""
    text = _('the golden machine cannot become "{name}": {reason}')
    return kind(text.format(name=node.name, reason=reason), hint="labctl golden list")
