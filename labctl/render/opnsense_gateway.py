"""Renders the tunnel of a firewall for OPNsense: WireGuard, which is a part of it."""

import hashlib
import uuid
from xml.etree.ElementTree import Element, SubElement

from labctl.render.firewall import GatewaySecrets, Parameters, put, section


def add_wireguard(root: Element, name: str, vpn: Parameters, secrets: GatewaySecrets) -> None:
    """Add the instance of a tunnel and its peers; routes to their networks are OPNsense's own doing."""
    parent = SubElement(section(root, "OPNsense"), "wireguard")
    put(SubElement(parent, "general"), enabled="1")
    link = vpn.get("interface", "wg0")
    servers = SubElement(SubElement(parent, "server"), "servers")
    server = SubElement(servers, "server", uuid=item_uuid(name, link))
    put(
        server, enabled="1", name=link, instance=link.removeprefix("wg"), pubkey=secrets.public_keys[name],
        privkey=secrets.private_key, port=vpn.get("port", 51820), tunneladdress=vpn["address"], disableroutes="0",
        peers=",".join(item_uuid(name, link, peer["node"]) for peer in vpn["peers"]), debug="0",
    )  # fmt: skip
    clients = SubElement(SubElement(parent, "client"), "clients")
    for peer in vpn["peers"]:
        called = peer.get("endpoint") or None
        carried = [f"{peer['address']}/32", *peer["networks"]]
        put(
            SubElement(clients, "client", uuid=item_uuid(name, link, peer["node"])), enabled="1", name=peer["node"],
            pubkey=secrets.public_keys[peer["node"]], tunneladdress=",".join(carried), serveraddress=called,
            serverport=peer.get("port", 51820) if called else None, keepalive=peer.get("keepalive", 25) or None,
        )  # fmt: skip


def item_uuid(*words: str) -> str:
    """Return a UUID that looks drawn (RFC 9562, version 4), as OPNsense wants it, and is the same each time."""
    return str(uuid.UUID(bytes=hashlib.sha256("\0".join(words).encode()).digest()[:16], version=4))
