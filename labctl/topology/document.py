"""The model and the catalogue to docs/topology.md, the page on which trainers look up the keys of a topology."""

import json
from collections.abc import Iterable, Iterator, Mapping

from pydantic.fields import FieldInfo

from labctl.language import N_, _, current_language
from labctl.topology.catalogue import Catalogue, Parameter, Service
from labctl.topology.directory_probes import Group, Kerberos, Ldap, ShareRight, Smb, User
from labctl.topology.faults import Fault, Rule
from labctl.topology.message_probes import Alert, Imap, Log, Smtp
from labctl.topology.model import Check, Interface, Internet, Node, Route, Segment, Topology
from labctl.topology.name_probes import Certificate, Dns, Http, Snmp, ZoneTransfer
from labctl.topology.network_probes import Alive, Allowed, Denied, Dhcp, Flow, Ntp, Ping, Tcp, Traceroute, Udp, Vpn
from labctl.topology.parameters import type_name
from labctl.topology.probes import HOST_KEYS, kind_name
from labctl.topology.shapes import expectation, field_shape, shape_of
from labctl.topology.system_probes import Backup, Command, File, Package, ServiceUnit
from labctl.topology.values import Model, Text
from labctl.topology.variants import (
    AccountVariant,
    AddressVariant,
    DomainVariant,
    FaultVariant,
    HostNameVariant,
    NetworkVariant,
    PortVariant,
)

EXAMPLE = """\
# yaml-language-server: $schema=topology.schema.json
---
name: first-lab
version: "1.0"
title: {en: A router and a client, fr: Un routeur et un poste}
description:
  en: A client reaches the outside through a router.
  fr: Un poste joint l'extérieur par un routeur.
competencies: [B2.2.1]

networks:
  lan: {kind: segment, cidr: 192.168.50.0/24}
  outside: {kind: internet}

nodes:
  router:
    image: debian-13
    interfaces:
      wan: {network: outside, address: dhcp}
      lan: {network: lan, address: 192.168.50.254}
  client:
    image: debian-13
    memory: 512
    interfaces:
      lan: {network: lan, address: 192.168.50.10, gateway: 192.168.50.254}
    after: [router]

checks:
  - id: client-reaches-router
    title: {en: The client reaches its router, fr: Le poste joint son routeur}
    from: client
    probe: {type: ping, to: 192.168.50.254}
    competency: B2.2.1
    pass: {en: The router answers., fr: Le routeur répond.}
    fail:
      en: The router does not answer; look at the address of the client.
      fr: Le routeur ne répond pas ; regarder l'adresse du poste.
"""

INTRODUCTION = (
    N_(
        "A topology is one YAML file that describes one lab: its networks, its machines, what each machine is for, "
        "and the checks that tell whether the work is done. `labctl validate FILE` reads it and shows every problem "
        "with its line; `labctl plan FILE` shows what would be made, and makes nothing."
    ),
    N_("A complete small topology:"),
)
RULES = (
    N_("A file is UTF-8 text of at most 256 KiB and holds one YAML 1.2 document: `yes` and `no` are texts there."),
    N_("Anchors, aliases, tags and keys given twice are refused: what is true of a machine stands where it is."),
    N_("Networks must not overlap, and an address is inside its network and given once."),
    N_("A gateway or a router of a route is an address that another node holds on a network of this node."),
    N_("The names `mgmt` and `lo` are taken: labctl and Linux use them. No node is called `host`."),
    N_("A text for people is written in English and in French."),
    N_(
        "`${variant.NAME}` stands for the value of a variant: in parameters of services, in checks, in faults and in "
        "texts, in quotes inside braces and brackets; nothing else differs between clones of one golden lab. "
        "`.reverse` after the name of an address gives the name of its PTR record, `.netmask` and `.address` those "
        "of a network, `.text` a port as a text."
    ),
)
SECTIONS: tuple[tuple[str, type[Model]], ...] = (
    (N_("The topology"), Topology),
    (N_("A text for people"), Text),
    (N_("A network inside the lab: `kind: segment`"), Segment),
    (N_("The way out: `kind: internet`"), Internet),
    (N_("A node"), Node),
    (N_("An interface of a node"), Interface),
    (N_("A route of a node"), Route),
    (N_("A check"), Check),
    (N_("A fault"), Fault),
    (N_("A rule of a fault"), Rule),
    (N_("Variant `address`: an IPv4 address"), AddressVariant),
    (N_("Variant `network`: a part of an address plan"), NetworkVariant),
    (N_("Variant `host_name`: a name without dots"), HostNameVariant),
    (N_("Variant `domain`: a domain name"), DomainVariant),
    (N_("Variant `account`: a login name"), AccountVariant),
    (N_("Variant `port`: a TCP or UDP port"), PortVariant),
    (N_("Variant `fault`: which fault is to be found"), FaultVariant),
    (N_("Probe `ping`: an ICMP echo is answered"), Ping),
    (N_("Probe `tcp`: a connection opens"), Tcp),
    (N_("Probe `udp`: a datagram is answered"), Udp),
    (N_("Probe `traceroute`: packets take the expected way"), Traceroute),
    (N_("Probe `flow`: a flow matrix"), Flow),
    (N_("A flow that must pass"), Allowed),
    (N_("A flow that must be stopped"), Denied),
    (N_("What shows that the target of a stopped flow lives"), Alive),
    (N_("Probe `vpn`: a tunnel is up"), Vpn),
    (N_("Probe `dhcp`: a server offers an address"), Dhcp),
    (N_("Probe `ntp`: the clock is right"), Ntp),
    (N_("Probe `http`: a page answers"), Http),
    (N_("Probe `dns`: a server gives an answer"), Dns),
    (N_("Probe `zone_transfer`: a server gives a whole zone"), ZoneTransfer),
    (N_("Probe `certificate`: a certificate is trusted and lasts"), Certificate),
    (N_("Probe `snmp`: an equipment gives a value"), Snmp),
    (N_("Probe `ldap`: a directory gives entries"), Ldap),
    (N_("Probe `kerberos`: a ticket is given"), Kerberos),
    (N_("Probe `smb`: a rights matrix"), Smb),
    (N_("A field of a rights matrix"), ShareRight),
    (N_("Probe `user`: an account exists"), User),
    (N_("Probe `group`: a group has its members"), Group),
    (N_("Probe `smtp`: a mail server takes a recipient"), Smtp),
    (N_("Probe `imap`: a mailbox opens"), Imap),
    (N_("Probe `alert`: an alert arrives"), Alert),
    (N_("Probe `log`: a line arrives on another node"), Log),
    (N_("Probe `command`: a program ends as expected"), Command),
    (N_("Probe `file`: a file is as expected"), File),
    (N_("Probe `service`: a systemd unit runs"), ServiceUnit),
    (N_("Probe `package`: a package is installed"), Package),
    (N_("Probe `backup`: what is restored is the same as its source"), Backup),
)
HOST_RULES = (
    N_(
        "With `from: host`, the machine that labctl runs on asks a node. A topology runs no program and reads no file "
        "there: only these kinds are asked, with these keys. The first key of each has the name of the node, such as "
        "`to: web` or `url: http://web/`."
    ),
    N_(
        "The host reaches nodes on their management link alone, which is IPv6, and labctl puts that address in the "
        "place of the name: no firewall between two networks is on the way, and what only listens on IPv4 or on "
        "another card is not reached. A web server is asked for that address, and shows its default site."
    ),
    N_(
        "It asks without root's rights, by programs of its own for `ping` (`ping`), `http` (`curl`), `dns` and "
        "`zone_transfer` (`dig`); where a program is missing, the check counts as not checked."
    ),
)


def topology_document(catalogue: Catalogue) -> str:
    """Return the page in Markdown, in the language of this process."""
    title, origin = _("The topology format"), _("Generated from the code; edit labctl/topology.")
    lines = [f"# {title}", "", f"<!-- {origin} -->", ""]
    for paragraph in INTRODUCTION:
        lines += [_(paragraph), ""]
    lines += ["```yaml", *EXAMPLE.splitlines(), "```", ""]
    lines += [f"- {_(rule)}" for rule in RULES]
    lines.append("")
    for section, model in SECTIONS:
        lines += [f"## {_(section)}", "", *model_table(model), ""]
    lines += ["## " + _("What the host may ask: `from: host`"), "", *host_section(), ""]
    lines += ["## " + _("Services"), ""]
    for name in sorted(catalogue.services):
        lines += [*service_section(catalogue.services[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def table(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yield the lines of a table of keys."""
    # One string each: Babel reads no call inside an f-string.
    head = (_("Key"), _("Value"), _("Default"), _("Meaning"))
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def model_table(model: type[Model]) -> Iterator[str]:
    """Yield the table of one model's keys."""
    fields = shape_of(model).fields
    yield from table(
        (f"`{name}`", expectation(field_shape(field)), default_text(field), meaning(field))
        for name, field in fields.items()
    )


def host_section() -> Iterator[str]:
    """Yield what is said of checks from the host: the kinds with their keys, then the rules."""
    yield from (f"- `{kind_name(kind)}`: {', '.join(f'`{key}`' for key in keys)}" for kind, keys in HOST_KEYS.items())
    for rule in HOST_RULES:
        yield from ("", _(rule))


def meaning(field: FieldInfo) -> str:
    """Return what a key is for."""
    return _(field.description) if field.description else ""


def default_text(field: FieldInfo) -> str:
    """Return a key's default, or that it must be given."""
    if field.is_required():
        return _("must be given")
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}, ""):
        return _("none")
    if isinstance(value, Model):
        return _("the defaults of its keys")
    return f"`{json.dumps(value)}`" if isinstance(value, bool | int) else f"`{value}`"


def service_section(service: Service) -> Iterator[str]:
    """Yield the section of one service: what it is, what it serves, its parameters."""
    language = current_language()
    yield f"### `{service.name}`: {service.title.pick(language)}"
    yield ""
    yield _("Competencies: {names}.").format(names=", ".join(service.competencies))
    yield ""
    if service.parameters:
        yield from table(parameter_rows(service.parameters, language))
    else:
        yield _("It takes no parameter: `{name}: {braces}`.").format(name=service.name, braces="{}")


def parameter_rows(
    parameters: Mapping[str, Parameter], language: str, prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each parameter, and below it one for each of its options."""
    for name, one in parameters.items():
        text = one.french if language == "fr" and one.french else one.description
        yield f"`{prefix}{name}`", parameter_type(one), parameter_default(one), text
        inner = f"{prefix}{name}[]." if one.type == "list" else f"{prefix}{name}."
        yield from parameter_rows(one.options, language, inner)


def parameter_type(parameter: Parameter) -> str:
    """Return what a parameter's value is."""
    if parameter.choices:
        return _("one of {names}").format(names=", ".join(parameter.choices))
    if parameter.type == "list" and parameter.elements != "raw":
        return _("a list; each item: {item}").format(item=type_name(parameter.elements))
    return type_name(parameter.type)


def parameter_default(parameter: Parameter) -> str:
    """Return a parameter's default, or that it must be given."""
    if parameter.required:
        return _("must be given")
    if parameter.default in (None, [], {}, ""):
        return _("none")
    return f"`{json.dumps(parameter.default, ensure_ascii=False)}`"
