"""What a check can try: the kinds of probes, told apart by their key `type`.

Each kind is a model in a module of its family (`network_probes`, `name_probes`, `directory_probes`, `message_probes`,
`system_probes`, `windows_probes`); the module of `labctl.checks` named after the family asks and judges it.

A few kinds may be asked of a node by the host too, which reaches it on its management link alone.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Field

from labctl.topology.directory_probes import Group, Kerberos, Ldap, Smb, User
from labctl.topology.message_probes import Alert, Imap, Log, Smtp
from labctl.topology.name_probes import Certificate, Dns, Http, Snmp, ZoneTransfer
from labctl.topology.network_probes import Dhcp, Flow, Ntp, Ping, Tcp, Traceroute, Udp, Vpn
from labctl.topology.system_probes import Backup, Command, File, Package, ServiceUnit
from labctl.topology.values import Model
from labctl.topology.windows_probes import (
    Dcdiag,
    DhcpScope,
    EventLog,
    Feature,
    FirewallRule,
    Ntfs,
    Policy,
    Registry,
    Share,
)

Probe = Annotated[
    Ping | Tcp | Udp | Traceroute | Flow | Vpn | Dhcp | Ntp
    | Http | Dns | ZoneTransfer | Certificate | Snmp
    | Ldap | Kerberos | Smb | User | Group
    | Smtp | Imap | Alert | Log
    | Command | File | ServiceUnit | Package | Backup
    | Feature | Registry | Ntfs | Share | Policy | DhcpScope | Dcdiag | EventLog | FirewallRule,
    Field(discriminator="type"),
]  # fmt: skip

HOST = "host"  # as a vantage: the machine that labctl runs on; no node has this name
HOST_URL = re.compile(r"http://([a-z][a-z0-9-]{0,30})((?::[0-9]{1,5})?(?:/.*)?)")

# What the host may ask, and with which keys; the first one has the name of the node that is asked. Whoever writes a
# topology must not run a program, read a file or reach another machine by the host: what is not here is refused, and
# so is what is added to a model later. Nothing is asked over TLS: the host trusts no authority of a lab, and a node's
# name stands in no certificate. A page shows no redirection: its server names itself as it was asked, by an address.
HOST_KEYS: Mapping[type[Model], tuple[str, ...]] = {
    Ping: ("to",),
    Tcp: ("to", "port"),
    Udp: ("to", "port", "send", "contains"),
    Ntp: ("server", "milliseconds"),
    Http: ("url", "status", "contains"),
    Dns: ("server", "name", "record", "answer", "dnssec"),
    ZoneTransfer: ("server", "zone"),
    Snmp: ("to", "port", "community", "oid", "contains"),
    Smtp: ("server", "port", "sender", "recipient", "user", "password"),
    Imap: ("server", "port", "user", "password", "contains"),
}

WINDOWS_ONLY = (Feature, Registry, Ntfs, Share, Policy, DhcpScope, Dcdiag, EventLog, FirewallRule)
# What a Windows node can be asked, with the keys that mean nothing there.
ON_WINDOWS: Mapping[type[Model], tuple[str, ...]] = {
    Ping: (),
    Tcp: (),
    Http: (),
    Dns: ("dnssec",),
    User: ("shell", "home"),
    Group: (),
    Command: (),
    File: ("mode",),
    ServiceUnit: (),
    **dict.fromkeys(WINDOWS_ONLY, ()),
}


def kind_name(kind: type[Model]) -> str:
    """Return the value of `type` that means a kind of probe."""
    return str(get_args(kind.model_fields["type"].annotation)[0])


def node_asked(probe: Probe) -> str:
    """Return the name of the node that the host asks by a probe, "" where there is none. Raises KeyError."""
    named = str(getattr(probe, HOST_KEYS[type(probe)][0]) or "")
    if isinstance(probe, Http):
        url = HOST_URL.fullmatch(named)
        return url[1] if url else ""
    return named


def asked_at(probe: Probe, address: str) -> Probe:
    """Return a probe of the host with the address of its node, and nothing of it but what the host may be told.

    Raises KeyError for a kind that the host does not ask.
    """
    target, *others = HOST_KEYS[type(probe)]
    place = address
    if isinstance(probe, Http):
        url = HOST_URL.fullmatch(probe.url)
        host = f"[{address.replace('%', '%25')}]" if ":" in address else address  # RFC 6874
        place = f"http://{host}{url[2] if url else ''}"
    told: dict[str, Any] = {"type": probe.type, target: place, **{key: getattr(probe, key) for key in others}}
    return type(probe).model_construct(**told)
