"""A lab's way to the Internet, limited to some names: pinned to addresses, and nothing else asked or reached.

The lab's own resolver (libvirt's dnsmasq) is given the addresses of the names, so that what a machine is told is what
it may reach. Rules of nftables (nft(8)) before all others of the host, in one table for each bridge, let through
questions about these names, DHCP, and what goes to these addresses; the host itself is not among what may be reached.
They are the kernel's: they stay when labctl or libvirt ends, and are gone after a restart of the host.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import libvirt

from labctl.errors import HostNotReady, LabctlError
from labctl.hypervisor.binding import Connection, Network
from labctl.hypervisor.ownership import check_network_owner
from labctl.language import _
from labctl.program import run

Pinned = Mapping[str, Sequence[str]]  # IPv4 addresses by name; none where it has none now

PRIORITY = -10  # iptables and libvirt filter at 0: what is refused here is refused, what passes they judge
QUESTION = (8 + 12) * 8  # bits before the question of a DNS query: UDP's header (RFC 768), DNS's (RFC 1035 §4.1.1)
WORD = 16  # bytes that nftables compares at once
SECONDS = 20.0


def find_program() -> Path | None:
    """Return nft; the folders of the system's programs are looked in too."""
    found = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    return Path(found) if found else None


def limit(connection: Connection, name: str, lab: str, pinned: Pinned) -> None:
    """Let a network of the lab reach some names and nothing else; may be repeated, with other names too.

    Raises HostNotReady where nftables is not installed, LabctlError where a rule is not taken: all is as before then.
    """
    network = connection.networkLookupByName(name)
    check_network_owner(network, lab)
    apply_rules(render_rules(network.bridgeName(), pinned))
    pin(network, pinned)


def forget_rules(bridge: str) -> None:
    """Remove the rules of a bridge that is gone; it may have had none, and they bind nobody now."""
    if find_program() is not None and os.geteuid() == 0:
        with suppress(LabctlError):
            apply_rules(empty_table(bridge, keep=False))


def require_program() -> Path:
    """Return nft. Raises HostNotReady where nftables is not installed."""
    if found := find_program():
        return found
    text = _("the Internet cannot be held to some names: nftables is not installed")
    raise HostNotReady(text, hint="apt install nftables")


def apply_rules(rules: str) -> None:
    """Give nftables rules; it takes them all or none. Raises HostNotReady, ProgramFailed."""
    run([require_program(), "-f", "-"], stdin=rules, timeout=SECONDS)


def empty_table(bridge: str, *, keep: bool = True) -> str:
    """Return what leaves no rule of a bridge, whether there was one or not."""
    table = f"inet labctl-{bridge}"
    return f"add table {table}\ndelete table {table}\n" + (f"add table {table}\n" if keep else "")


def render_rules(bridge: str, pinned: Pinned) -> str:
    """Return the rules of a bridge as nft(8) reads them, instead of those that it had."""
    table = f"inet labctl-{bridge}"
    addresses = sorted({address for known in pinned.values() for address in known})
    questions = [f"add rule {table} questions {match_question(name)} accept" for name in pinned]
    hook = "type filter hook {hook} priority {priority}; policy accept;"
    refuse = "reject with icmpx admin-prohibited"
    lines = [
        f"add set {table} allowed {{ type ipv4_addr; }}",
        *([f"add element {table} allowed {{ {', '.join(addresses)} }}"] if addresses else []),
        f"add chain {table} questions",
        *questions,
        *(
            f"add chain {table} {chain} {{ {hook.format(hook=chain, priority=PRIORITY)} }}"
            for chain in ("input", "forward")
        ),
        f'add rule {table} input iifname != "{bridge}" return',
        f"add rule {table} input udp sport 68 udp dport 67 accept",
        f"add rule {table} input udp dport 53 jump questions",
        f"add rule {table} input {refuse}",
        f'add rule {table} forward iifname != "{bridge}" return',
        f"add rule {table} forward ip daddr @allowed accept",
        f"add rule {table} forward {refuse}",
    ]
    return empty_table(bridge) + "\n".join(lines) + "\n"


def match_question(name: str) -> str:
    """Return nftables' expression for a DNS query about exactly this name (RFC 1035 §3.1 and §4.1.2)."""
    labels = name.lower().encode("ascii").split(b".")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    parts = [(at, encoded[at : at + WORD]) for at in range(0, len(encoded), WORD)]
    return " ".join(f"@th,{QUESTION + at * 8},{len(part) * 8} 0x{part.hex()}" for at, part in parts)


def pin(network: Network, pinned: Pinned) -> None:
    """Have a running network's resolver answer with these addresses, and no longer with earlier ones."""
    wanted = dict(render_hosts(pinned))
    known = {host.get("ip", ""): host for host in ElementTree.fromstring(network.XMLDesc()).iterfind("./dns/host")}
    for address, host in known.items():
        if names_of(host) != names_of(wanted.get(address)):
            # By its address alone: libvirt would look for the names too, and find other entries that have them.
            change_host(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, Element("host", ip=address))
    for address, host in wanted.items():
        if names_of(host) != names_of(known.get(address)):
            change_host(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, host)


def render_hosts(pinned: Pinned) -> Iterator[tuple[str, Element]]:
    """Yield libvirt's entries, one for each address: several names may share one."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, addresses in pinned.items():
        for address in addresses:
            names[address].append(name)
    for address, known in names.items():
        host = Element("host", ip=address)
        for name in known:
            SubElement(host, "hostname").text = name
        yield address, host


def names_of(host: Element | None) -> set[str]:
    """Return the names of an entry, none of none."""
    return set() if host is None else {one.text or "" for one in host.iterfind("hostname")}


def change_host(network: Network, command: int, host: Element) -> None:
    """Change one entry of a running network; its description stays: a restart of the network forgets the pins."""
    document = ElementTree.tostring(host, encoding="unicode")
    flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
    network.update(command, libvirt.VIR_NETWORK_SECTION_DNS_HOST, -1, document, flags)
