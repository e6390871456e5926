"""Derives every name and number of a lab from its topology, owner, node and interface names: no clock, no chance.

UUIDs are RFC 9562 version 5; MAC addresses are in QEMU's 52:54:00 range; management addresses are the
modified EUI-64 ones of RFC 4291, appendix A.
"""

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import PurePath

OBJECTS = uuid.UUID("5a1c3a7e-0c4e-5b57-9d0e-6c61626374c1")  # chosen once; changing it renames every lab
MANAGEMENT = "mgmt"
MANAGEMENT_PORT = 61022  # of SSH; above the ports of a guest's own connections (ip_local_port_range)
SPARE = "spare-"  # starts the owners of labs that wait for somebody; no student has such a name
SEATS = ".seats"  # inside the folder of labs: the folders of spares, and of labs that were spares
BESIDE = "+"  # between the names of a node and of a disk that it has beside its system's; no name has this sign

# RFC 2544 sets this range aside for benchmarks: no school routes it, so NAT subnets never hide a real network.
INTERNET_POOL = IPv4Network("198.18.0.0/15")
INTERNET_PREFIX = 27
INTERNET_SUBNETS = 2 ** (INTERNET_PREFIX - INTERNET_POOL.prefixlen)


def is_spare(owner: str) -> bool:
    """Return whether an owner is nobody: the lab waits for somebody."""
    return owner.startswith(SPARE)


def digest(*words: str) -> str:
    """Return the SHA-256 of the words in hexadecimal; no two different lists run together."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def home_mark(home: str) -> str:
    """Return what tells the objects of one installation from those of another on the same libvirt."""
    return digest("home", home)[:12]


def object_uuid(name: str) -> str:
    """Return the UUID of a libvirt object from its full name."""
    return str(uuid.uuid5(OBJECTS, name))


def bridge_name(network: str) -> str:
    """Return a link name of 12 characters (Linux allows 15) for a libvirt network's full name."""
    return f"lc{digest('bridge', network)[:10]}"


def disk_file(node: str, disk: str = "") -> str:
    """Return the name of the file of a node's disk; the one of the system has no name of its own."""
    return f"{node}{BESIDE}{disk}.qcow2" if disk else f"{node}.qcow2"


def node_of_disk(path: PurePath) -> str:
    """Return the node whose disk a file is."""
    return path.stem.partition(BESIDE)[0]


def mac_addresses(topology: str, interfaces: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """Return a MAC for each (node, interface), the same in all labs of a topology, all different inside it.

    A memory image holds the MACs of its machines: clones can only share it because they share them.
    """
    taken: dict[str, tuple[str, str]] = {}
    for node, interface in sorted(interfaces):
        attempt = 0
        while (mac := derive_mac(topology, node, interface, attempt)) in taken:
            attempt += 1
        taken[mac] = (node, interface)
    return {key: mac for mac, key in taken.items()}


def derive_mac(topology: str, node: str, interface: str, attempt: int) -> str:
    """Return the attempt-th MAC of an interface."""
    tail = digest("mac", topology, node, interface, str(attempt))[:6]
    return f"52:54:00:{tail[0:2]}:{tail[2:4]}:{tail[4:6]}"


def link_local(mac: str) -> str:
    """Return the IPv6 link-local address that a guest gives itself from its MAC."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 0x02
    words = [*octets[:3], 0xFF, 0xFE, *octets[3:]]
    groups = [f"{words[index] << 8 | words[index + 1]:x}" for index in range(0, 8, 2)]
    return "fe80::" + ":".join(groups)


def internet_subnet(network: str, taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """Return the first free subnet of the pool, starting where the network's name falls; None if all are taken."""
    used = [subnet for subnet in taken if subnet.overlaps(INTERNET_POOL)]
    start = int(digest("subnet", network)[:8], 16) % INTERNET_SUBNETS
    size = 2 ** (32 - INTERNET_PREFIX)
    for step in range(INTERNET_SUBNETS):
        first = int(INTERNET_POOL.network_address) + (start + step) % INTERNET_SUBNETS * size
        subnet = IPv4Network((first, INTERNET_PREFIX))
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    return None
