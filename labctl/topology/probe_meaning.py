"""What the keys of one probe mean together: keys that need each other, names of nodes and cards that do not exist."""

from collections.abc import Collection, Iterator, Sequence

from labctl.language import _
from labctl.topology.directory_probes import Kerberos, Ldap, Smb
from labctl.topology.message_probes import Alert, Imap, Log, Smtp
from labctl.topology.name_probes import Dns, Http, ZoneTransfer
from labctl.topology.network_probes import Alive, Allowed, Denied, Dhcp, Flow, Protocol
from labctl.topology.parts import Parts
from labctl.topology.probes import HOST, HOST_KEYS, Probe, kind_name, node_asked
from labctl.topology.problems import Finding, Steps, listing, nearest, quoted
from labctl.topology.system_probes import Backup, BackupTool

PASSWORDS = ("password", "password_file")


def probe_findings(probe: Probe, node: str, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield what is wrong with a probe that starts from `node`; `steps` leads to it."""
    match probe:
        case Flow():
            yield from flow_findings(probe, steps, parts)
        case Dhcp():
            yield from dhcp_findings(probe, node, steps, parts)
        case Log(at=at) | Backup(at=str() as at):
            yield from node_findings(at, (*steps, "at"), parts)
        case Alert(path=path, url=url) if (path is None) == (url is None):
            yield one_of_keys(steps, ("path", "url"))
        case Kerberos() | Ldap() | Smb() | Smtp() | Imap():
            yield from login_findings(probe, steps)
        case Dns(server=str() as server) | ZoneTransfer(server=str() as server) if node != HOST:
            yield Finding((*steps, "server"), _("an IPv4 address"), quoted(server))
    if isinstance(probe, Backup) and probe.tool is not BackupTool.PLAIN and probe.repository is None:
        yield missing_key(steps, "repository")


def host_findings(probe: Probe, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield what the host may not be asked for, and a node that is not there to be asked."""
    keys = HOST_KEYS.get(type(probe))
    if keys is None:
        kinds = map(kind_name, HOST_KEYS)
        text = _(
            'a kind that the host asks ({names}), or a node in "from": '
            "a topology runs no program and reads no file on the host"
        )
        yield Finding((*steps, "type"), text.format(names=listing(kinds)), quoted(probe.type))
        return
    for key in sorted(probe.model_fields_set - {"type", *keys}):
        text = _("one of the keys that the host takes ({names})")
        yield Finding((*steps, key), text.format(names=listing(keys)), quoted(key), at_key=True)
    value, node = getattr(probe, keys[0]), node_asked(probe)
    if value is None:
        yield missing_key(steps, keys[0])
    elif node not in parts.node_names:
        plain = _("a node of this file ({names})")
        text = _("http:// and a node of this file ({names})") if isinstance(probe, Http) else plain
        names = sorted(parts.node_names)
        expected = text.format(names=listing(names) or _("none"))
        yield Finding((*steps, keys[0]), expected, quoted(str(value)), nearest(node, names))


def login_findings(probe: Kerberos | Ldap | Smb | Smtp | Imap, steps: Steps) -> Iterator[Finding]:
    """Yield passwords of which one too many or too few is given."""
    match probe:
        case Kerberos():
            yield from kerberos_findings(probe, steps)
        case Smb(rights=rights):
            for position, one in enumerate(rights):
                if (one.password is None) == (one.password_file is None):
                    yield one_of_keys((*steps, "rights", position), PASSWORDS)
        case Ldap() | Smtp() | Imap() if probe.password and probe.password_file:
            yield one_of_keys(steps, PASSWORDS)
        case Ldap() | Smtp() | Imap() if probe.user is None and (probe.password or probe.password_file):
            yield missing_key(steps, "user")


def node_findings(name: str, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield a node that the file does not have."""
    if name not in parts.node_names:
        yield unknown_name(name, steps, parts.node_names, _("a node of this file ({names})"))


def unknown_name(name: str, steps: Steps, known: Collection[str], expected: str) -> Finding:
    """Return the finding about a name that nothing has."""
    text = expected.format(names=listing(sorted(known)) or _("none"))
    return Finding(steps, text, quoted(name), nearest(name, sorted(known)))


def missing_key(steps: Steps, key: str) -> Finding:
    """Return the finding about a key that another one needs."""
    return Finding((*steps, key), _('the key "{key}"').format(key=key), at_key=True)


def one_of_keys(steps: Steps, keys: Sequence[str]) -> Finding:
    """Return the finding about keys of which exactly one must be given."""
    return Finding(steps, _("exactly one of the keys {names}").format(names=", ".join(keys)))


def flow_findings(probe: Flow, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield a matrix without flows, ports that are missing, and unknown nodes."""
    if not probe.allow and not probe.deny:
        yield Finding(steps, _("at least one flow below {names}").format(names="allow, deny"))
    for key, flows in (("allow", probe.allow), ("deny", probe.deny)):
        for position, flow in enumerate(flows):
            way = (*steps, key, position)
            yield from port_findings(flow, way)
            alive = flow.alive if isinstance(flow, Denied) else None
            if alive:
                yield from alive_findings(alive, flow, (*way, "alive"), parts)


def port_findings(flow: Allowed, steps: Steps) -> Iterator[Finding]:
    """Yield a port that is missing."""
    if flow.protocol is not Protocol.ICMP and flow.port is None:
        yield missing_key(steps, "port")


def alive_findings(alive: Alive, flow: Allowed, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield what is wrong with the proof that a target lives."""
    if alive.origin is not None:
        yield from node_findings(alive.origin, (*steps, "from"), parts)
    if alive.protocol is not Protocol.ICMP and alive.port is None and flow.port is None:
        yield missing_key(steps, "port")


def dhcp_findings(probe: Dhcp, node: str, steps: Steps, parts: Parts) -> Iterator[Finding]:
    """Yield a card that the node does not have, and a range that ends before it begins."""
    known = parts.nodes[node].interfaces if node in parts.nodes else {}
    if known and probe.interface not in known:
        yield unknown_name(probe.interface, (*steps, "interface"), known, _("a card of this node ({names})"))
    if probe.first and probe.last and probe.last < probe.first:
        text = _("an address from {first} on").format(first=probe.first)
        yield Finding((*steps, "last"), text, quoted(str(probe.last)))


def kerberos_findings(probe: Kerberos, steps: Steps) -> Iterator[Finding]:
    """Yield keys of which one too many or too few is given."""
    if (probe.principal is None) == (probe.holder is None):
        yield one_of_keys(steps, ("principal", "holder"))
    elif probe.principal is not None and [probe.password, probe.password_file, probe.keytab].count(None) != 2:  # noqa: PLR2004  of three
        yield one_of_keys(steps, (*PASSWORDS, "keytab"))
