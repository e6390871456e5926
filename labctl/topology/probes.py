"""What a check can try: the kinds of probes, told apart by their key `type`.

Each kind is a model in a module of its family (`network_probes`, `name_probes`, `directory_probes`, `message_probes`,
`system_probes`); the module of `labctl.checks` named after the family asks and judges it.
"""

from typing import Annotated

from pydantic import Field

from labctl.topology.directory_probes import Group, Kerberos, Ldap, Smb, User
from labctl.topology.message_probes import Alert, Imap, Log, Smtp
from labctl.topology.name_probes import Certificate, Dns, Http, Snmp, ZoneTransfer
from labctl.topology.network_probes import Dhcp, Flow, Ntp, Ping, Tcp, Traceroute, Udp, Vpn
from labctl.topology.system_probes import Backup, Command, File, Package, ServiceUnit

Probe = Annotated[
    Ping | Tcp | Udp | Traceroute | Flow | Vpn | Dhcp | Ntp
    | Http | Dns | ZoneTransfer | Certificate | Snmp
    | Ldap | Kerberos | Smb | User | Group
    | Smtp | Imap | Alert | Log
    | Command | File | ServiceUnit | Package | Backup,
    Field(discriminator="type"),
]  # fmt: skip
