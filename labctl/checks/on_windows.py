"""Asks and judges, on Windows machines, the probes that Linux machines are asked too."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from labctl import powershell
from labctl.checks import directory, names, network, system
from labctl.checks.accounts import is_account
from labctl.checks.kind import CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, Asked, Kind
from labctl.checks.lines import last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.language import _
from labctl.topology.directory_probes import Group, User
from labctl.topology.name_probes import Dns, Http, RecordType
from labctl.topology.network_probes import Ping, Tcp
from labctl.topology.system_probes import Command, File, ServiceUnit

P = TypeVar("P")
STARTS_AT_BOOT = {"Auto", "Boot", "System"}


def ask_ping(probe: Ping) -> Asked:
    """Three echoes at most, so that one lost packet decides nothing."""
    return Asked({"do": "ping", "host": probe.to, "timeout": CONNECT_TIMEOUT}, f"ping {probe.to}")


def ask_tcp(probe: Tcp) -> Asked:
    """A connection that is closed at once."""
    task: Task = {"do": "tcp", "host": probe.to, "port": probe.port, "timeout": CONNECT_TIMEOUT}
    return Asked(task, f"Test-NetConnection {probe.to} -Port {probe.port}")


def ask_http(probe: Http) -> Asked:
    """The page without following a redirection, and below it what curl would say of it."""
    task: Task = {"do": "http", "url": probe.url, "mark": names.MARK, "timeout": HANDSHAKE_TIMEOUT}
    return Asked(task, f"Invoke-WebRequest -UseBasicParsing -MaximumRedirection 0 {powershell.quote(probe.url)}")


def ask_dns(probe: Dns) -> Asked:
    """The records of a name; an address asked for as PTR is turned round."""
    name = probe.name
    if probe.record is RecordType.PTR and names.is_address(name):
        name = ".".join(reversed(name.split("."))) + ".in-addr.arpa"
    task: Task = {"do": "dns", "name": name, "record": str(probe.record), "server": str(probe.server or "")}
    server = f" -Server {probe.server}" if probe.server else ""
    return Asked(task, f"Resolve-DnsName {powershell.quote(name)} -Type {probe.record} -DnsOnly{server}")


def ask_command(probe: Command) -> Asked:
    """The program itself, without a shell."""
    task: Task = {"do": "run", "argv": list(probe.run), "timeout": probe.seconds}
    return Asked(task, " ".join(["&", *map(powershell.quote, probe.run)]))


def ask_file(probe: File) -> Asked:
    """The owner of a file and its beginning."""
    return Asked({"do": "file", "path": probe.path}, f"Get-Acl {powershell.quote(probe.path)} | Format-List")


def judge_file(probe: File, reply: Reply) -> Verdict:
    """Judge a file's existence, owner and content."""
    if reply.code == 1:
        return Verdict(False, _("the file does not exist"))
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    facts: Mapping[str, Any] = json.loads(reply.out)
    if probe.owner and not is_account(probe.owner, facts["owner"]):
        return Verdict(False, _("owned by {found}").format(found=facts["owner"]["name"]))
    if probe.contains and probe.contains not in facts["content"]:
        return Verdict(False, _('the file does not hold "{text}"').format(text=probe.contains))
    return Verdict(True, _("owned by {found}").format(found=facts["owner"]["name"]))


def ask_service(probe: ServiceUnit) -> Asked:
    """What Windows says of the service."""
    return Asked({"do": "service", "name": probe.unit}, f"Get-Service {powershell.quote(probe.unit)} | Format-List")


def judge_service(probe: ServiceUnit, reply: Reply) -> Verdict:
    """Judge a service: running now, and started at boot unless the check says otherwise."""
    if reply.code == 1:
        return Verdict(False, _("the service does not exist"))
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    facts: Mapping[str, str] = json.loads(reply.out)
    if facts["state"] != "Running":
        return Verdict(False, _("not running ({state})").format(state=facts["state"]))
    if probe.enabled and facts["start"] not in STARTS_AT_BOOT:
        return Verdict(False, _("running, but not started at boot ({state})").format(state=facts["start"]))
    return Verdict(True, _("running, {state}").format(state=facts["start"]))


def ask_user(probe: User) -> Asked:
    """The account of the directory on a domain controller, else of the machine."""
    return Asked({"do": "account", "name": probe.name}, f"Get-ADUser {powershell.quote(probe.name)}")


def ask_group(probe: Group) -> Asked:
    """The group of the directory on a domain controller, else of the machine."""
    return Asked({"do": "group", "name": probe.name}, f"Get-ADGroupMember {powershell.quote(probe.name)}")


def answered(judge: Callable[[P, Reply], Verdict]) -> Callable[[P, Reply], Verdict]:
    """Return a judge that says nothing of what did not work at all: on Windows, code 2 and its message."""

    def judged(probe: P, reply: Reply) -> Verdict:
        return Verdict(None, last_line(reply.err)) if reply.code not in {0, 1} else judge(probe, reply)

    return judged


KINDS: tuple[Kind[Any], ...] = (
    Kind(Ping, ask_ping, network.judge_ping),
    Kind(Tcp, ask_tcp, network.judge_tcp),
    Kind(Http, ask_http, names.judge_http),
    Kind(Dns, ask_dns, names.judge_dns),
    Kind(Command, ask_command, system.judge_command),
    Kind(File, ask_file, judge_file),
    Kind(ServiceUnit, ask_service, judge_service),
    Kind(User, ask_user, answered(directory.judge_user)),
    Kind(Group, ask_group, answered(directory.judge_group)),
)
