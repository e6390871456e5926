"""Renders what makes a clone of an image this node: a tmpfiles.d document with its name, keys and network files.

The image's labctl-identity.service gives it to systemd-tmpfiles at each boot. Lines of type ``f`` create a
file once and never again, so that what a student changes survives a reboot. Formats: tmpfiles.d(5),
systemd.link(5), systemd.network(5).
"""

import base64
import shlex
from dataclasses import dataclass

from labctl.plan.model import PlannedInterface, PlannedNode


@dataclass(frozen=True)
class Keys:
    """The keys of a node in OpenSSH's text formats.

    Its host key pair is what the lab's networks see of it. `management` is the private host key of labctl's own server,
    which only the host can reach; `authorized` says who may log in there as root.
    """

    host_private: str
    host_public: str
    management: str
    authorized: str


def render_identity(node: PlannedNode, keys: Keys) -> str:
    """Return the tmpfiles.d document of a node. It holds a private key: its file is for QEMU's user only."""
    lines = [
        write("/etc/hostname", "0644", f"{node.member}\n"),
        write("/etc/hosts", "0644", render_hosts(node)),
        write("/etc/ssh/ssh_host_ed25519_key", "0600", keys.host_private),
        write("/etc/ssh/ssh_host_ed25519_key.pub", "0644", keys.host_public),
        "d /etc/labctl 0700 root root -",
        write("/etc/labctl/ssh_host_ed25519_key", "0600", keys.management),
        write("/etc/labctl/authorized_keys", "0600", keys.authorized),
        *(
            write(f"/etc/systemd/network/10-{interface.name}.link", "0644", render_link(interface))
            for interface in (node.management, *node.interfaces)
        ),
        write("/etc/systemd/network/10-mgmt.network", "0644", MANAGEMENT_NETWORK),
        *(
            write(f"/etc/systemd/network/20-{interface.name}.network", "0644", render_network_file(node, interface))
            for interface in node.interfaces
            if interface.address != "none"
        ),
    ]
    return "\n".join(lines) + "\n"


# No router advertisement and no other address: nothing on this link is routable, so a firewall exercise
# cannot be walked around through it. Addresses come from MACs that are unique on it: there is no duplicate to
# wait for before the address can be used.
MANAGEMENT_NETWORK = """\
# Lien de gestion de labctl : ne pas modifier, l'assistance et les vérifications passent par lui.
[Match]
Name=mgmt

[Link]
RequiredForOnline=no

[Network]
LinkLocalAddressing=ipv6
IPv6DuplicateAddressDetection=0
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
"""


def render_personalisation(node: PlannedNode, keys: Keys, now: float, seed: bytes) -> str:
    """Return the shell script that makes a clone in memory this node: its keys, the time, randomness, leases.

    `now` is in seconds since the epoch. The script is for the guest's own shell; everything in it is ours. It starts
    as few programs as it can: under emulation each costs more than all that the shell does itself.
    """
    leased = [interface.name for interface in node.interfaces if interface.address == "dhcp"]
    octal = "".join(f"\\0{byte:03o}" for byte in seed)
    lines = [
        "set -eu",
        "exec 2>&1",
        f"date --utc --set=@{now:.3f} >/dev/null",
        f"printf %b {shlex.quote(octal)} >/dev/urandom",
        # The files are there, with their owners and modes: the golden node's own.
        *(
            f"printf %s {shlex.quote(content)} >{path}"
            for path, content in (
                ("/etc/ssh/ssh_host_ed25519_key", keys.host_private),
                ("/etc/ssh/ssh_host_ed25519_key.pub", keys.host_public),
                # labctl's server reads it at each login.
                ("/etc/labctl/authorized_keys", keys.authorized),
            )
        ),
        # sshd(8): at SIGHUP it starts anew and reads its keys; sessions that are open go on.
        "read -r pid </run/sshd.pid",
        'kill -HUP "$pid"',
        *(f"networkctl reconfigure {name}" for name in leased),
    ]
    return "\n".join(lines) + "\n"


def write(path: str, mode: str, content: str) -> str:
    """Return the tmpfiles.d line that creates a file once; ``~`` says that the content is in base64."""
    return f"f~ {path} {mode} root root - {base64.b64encode(content.encode()).decode()}"


def render_hosts(node: PlannedNode) -> str:
    """Return /etc/hosts."""
    names = f"{node.member}.{node.search} {node.member}" if node.search else node.member
    return f"127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n"


def render_link(interface: PlannedInterface) -> str:
    """Return the systemd.link file that gives a card the topology's name for it."""
    return f"[Match]\nMACAddress={interface.mac}\n\n[Link]\nName={interface.name}\n"


def render_network_file(node: PlannedNode, interface: PlannedInterface) -> str:
    """Return the systemd.network file of one interface, with the routes whose router it reaches."""
    lines = ["[Match]", f"Name={interface.name}", "", "[Network]", "LinkLocalAddressing=no", "IPv6AcceptRA=no"]
    if interface.address == "dhcp":
        lines.append("DHCP=ipv4")
    else:
        lines.append(f"Address={interface.address}/{interface.prefix}")
    if interface.gateway:
        lines.append(f"Gateway={interface.gateway}")
    if interface == resolving_interface(node):
        # systemd-resolved writes them into /etc/resolv.conf.
        lines += [f"DNS={server}" for server in node.nameservers]
        lines += [f"Domains={node.search}"] if node.search else []
    if interface.address == "dhcp":
        # systemd-networkd would start systemd-hostnamed at each lease, to give the machine another name.
        lines += ["", "[DHCPv4]", "UseHostname=no"]
    if node.nameservers and interface.address == "dhcp":
        lines.append("UseDNS=no")
    for route in node.routes:
        if route.interface == interface.name:
            lines += ["", "[Route]", f"Destination={route.to}", f"Gateway={route.via}"]
    return "\n".join(lines) + "\n"


def resolving_interface(node: PlannedNode) -> PlannedInterface | None:
    """Return the interface that carries the node's DNS servers: the first with a fixed address, else by DHCP."""
    configured = [interface for interface in node.interfaces if interface.address != "none"]
    fixed = [interface for interface in configured if interface.address != "dhcp"]
    return next(iter(fixed or configured), None)
