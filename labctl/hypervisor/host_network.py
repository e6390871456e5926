"""The kernel's tables to the host's network links and the IPv4 destinations that it routes."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

LINKS = Path("/sys/class/net")
ROUTES = Path("/proc/net/route")


def read_links(folder: Path = LINKS) -> frozenset[str]:
    """Return the names of all network interfaces, empty where the kernel does not tell."""
    try:
        return frozenset(entry.name for entry in folder.iterdir())
    except OSError:
        return frozenset()


def read_routes(table: Path = ROUTES) -> tuple[IPv4Network, ...]:
    """Return the IPv4 destinations of the main table, sorted, without the default route.

    The default route would overlap every subnet and says nothing about what is in use.
    """
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return ()
    return tuple(sorted({route for line in lines if (route := _parse_route(line)) is not None}))


def _parse_route(line: str) -> IPv4Network | None:
    """Parse one line: interface, destination, gateway, flags, …, mask at 7, addresses in hexadecimal, little-endian."""
    fields = line.split()
    if len(fields) < 8:  # noqa: PLR2004  the mask is the eighth field
        return None
    destination, mask = (IPv4Address(int(fields[n], 16).to_bytes(4, "little")) for n in (1, 7))
    network = IPv4Network(f"{destination}/{mask}", strict=False)
    return network if network.prefixlen else None
